#!/usr/bin/env python3
"""Make shared-audio/golden/vq.npz: what vector-quantize-pytorch computes, for the tests of vocoder_core.vq to meet.

    pip install vector-quantize-pytorch==1.32.0
    python tools/golden_vq.py

Moving averages over five batches, without restarts; commitment loss and gradients of both estimators; finite scalars.
Nothing of ours is imported here, and none of its code is kept. Same version, same bytes.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

import numpy as np
import torch

from make_golden import ROOT

SIZE, DIM, LEVELS = 12, 6, [8, 5, 4]


def main() -> None:
    """Compute all arrays, write."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    public = importlib.import_module("vector_quantize_pytorch")
    path = ROOT / "shared-audio" / "golden" / "vq.npz"
    arrays: dict[str, Any] = averages(public) | scalars(public)
    np.savez(path, **arrays)
    print(f"{path}: {path.stat().st_size} bytes")


def averages(public: Any) -> dict[str, np.ndarray]:
    """ema_*: input (5, 2, D, N), first table; of each batch codes, loss, straight and turned gradient; last table."""
    draw = torch.Generator().manual_seed(0)
    x, wanted = torch.randn(2, 5, 2, DIM, 40, generator=draw)
    table = torch.randn(SIZE, DIM, generator=draw)
    arrays: dict[str, np.ndarray] = {"ema_x": x.numpy(), "ema_wanted": wanted.numpy(), "ema_first": table.numpy()}
    for name in ("straight_through", "rotation"):
        layer = public.VectorQuantize(
            DIM, SIZE, decay=0.9, commitment_weight=0.25, rotation_trick=name == "rotation", accept_3d_fmap=False,
            channel_last=False, threshold_ema_dead_code=0,
        )  # fmt: skip
        book = layer._codebook
        book.embed.data.copy_(table[None])
        book.embed_avg.data.copy_(table[None])
        codes, losses, gradients = [], [], []
        for batch, direction in zip(x, wanted):
            entered = batch.clone().requires_grad_()
            quantized, code, loss = layer(entered)
            (quantized * direction).sum().backward()
            codes.append(code.numpy())
            losses.append(loss.detach().numpy())
            gradients.append(entered.grad.numpy())
        arrays[f"ema_gradient_{name}"] = np.stack(gradients)
    arrays |= {"ema_codes": np.stack(codes), "ema_loss": np.stack(losses).ravel()}
    return arrays | {"ema_last": book.embed[0].numpy(), "ema_counts": book.cluster_size[0].numpy()}


def scalars(public: Any) -> dict[str, np.ndarray]:
    """fsq_*: input (1, channels, N), quantised and codes."""
    x = 2 * torch.randn(1, len(LEVELS), 200, generator=torch.Generator().manual_seed(1))
    quantized, codes = public.FSQ(LEVELS, channel_first=True)(x)
    return {"fsq_x": x.numpy(), "fsq_quantized": quantized.numpy(), "fsq_codes": codes.numpy()}


if __name__ == "__main__":
    main()
