#!/usr/bin/env python3
"""Make shared-audio/golden/pase.npz: what the public PASE and PASE+ encoders compute, for our tests to meet.

    mkdir ORACLES && cd ORACLES
    git clone https://github.com/santi-pdp/pase                  # commit 2a41e63
    git clone https://github.com/salesforce/pytorch-qrnn         # commit 1634991
    python tools/golden_pase.py --oracles ORACLES

Their encoders at the published size, with weights that a seed makes, on real speech; the names and shapes of all their
tensors; a recurrent layer alone, with its gradients. Nothing of ours is imported here, and none of their code is kept.
Same versions, same bytes.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch

from make_golden import ROOT, clip

Arrays = dict[str, np.ndarray]


@contextmanager
def projects(oracles: Path) -> Iterator[tuple[Any, Any]]:
    """Their modules `pase.models.frontend` and `torchqrnn`, on a CPU: what they import for GPUs only is a stub."""
    stubs = {name: types.ModuleType(name) for name in ("torchvision", "torchvision.models", "cupy", "cupy.cuda",
                                                      "pynvrtc", "pynvrtc.compiler")}  # fmt: skip
    stubs["torchvision"].models = stubs["torchvision.models"]  # type: ignore[attr-defined]
    stubs["cupy.cuda"].function = stubs["pynvrtc.compiler"].Program = None  # type: ignore[attr-defined]
    places = [str(oracles / name) for name in ("pase", "pytorch-qrnn")]
    with mock.patch.dict(sys.modules, stubs), mock.patch.object(sys, "path", [*places, *sys.path]):
        qrnn = importlib.import_module("torchqrnn")
        with mock.patch("builtins.print"):
            yield importlib.import_module("pase.models.frontend"), qrnn


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights that anyone can make again, float32, from the CRC-32 of the name: about as large as learned ones."""
    draw = 2 * np.random.default_rng(zlib.crc32(name.encode())).random(shape) - 1
    if name.endswith("running_var"):
        return (1 + 0.5 * draw).astype(np.float32)
    if name.endswith("norm.weight"):
        return (1 + 0.2 * draw).astype(np.float32)
    if name.endswith(("bias", "running_mean", "act.weight")):
        return (0.3 * draw).astype(np.float32)
    return (draw * (3 / int(np.prod(shape[1:]))) ** 0.5).astype(np.float32)


@torch.no_grad()
def filled(model: Any) -> Any:
    """All its tensors drawn but SincNet's, whose bands keep their order: each is moved by less than a tenth."""
    for name, tensor in model.state_dict().items():
        if name.endswith("_hz_"):
            tensor.mul_(1 + 0.1 * torch.from_numpy(drawn(name, tuple(tensor.shape)).clip(-1, 1)))
        elif tensor.is_floating_point():
            tensor.copy_(torch.from_numpy(drawn(name, tuple(tensor.shape))))
    return model.eval()


def encoder(frontend: Any, oracles: Path, name: str, wav: np.ndarray) -> Arrays:
    """Features (F, D) of a wave by one of their settings, in float64, and the names and shapes of its tensors."""
    made = filled(frontend.wf_builder(str(oracles / "pase" / "cfg" / "frontend" / f"{name}.cfg"))).double()
    sinc = made.blocks[0].conv
    sinc.n_, sinc.window_ = sinc.n_.double(), sinc.window_.double()
    with torch.no_grad():
        features = made(torch.from_numpy(wav / 32768)[None, None])[0].T.numpy()
    tensors = [f"{key} {tuple(tensor.shape)}" for key, tensor in made.state_dict().items()]
    return {f"{name}_features": features.astype(np.float32), f"{name}_tensors": np.array(tensors)}


def recurrence(qrnn: Any) -> Arrays:
    """A narrow recurrent layer, 33 steps of 2 rows, in float64, and gradients of a weighted sum of what it says."""
    layer = filled(qrnn.QRNN(5, 4, 1, window=2)).double()
    rng = np.random.default_rng(0)
    heard = torch.from_numpy(rng.normal(size=(33, 2, 5))).requires_grad_()
    weight = rng.normal(size=(33, 2, 4))
    said, _ = layer(heard)
    (said * torch.from_numpy(weight)).sum().backward()
    found = {"said": said.detach(), "heard": heard.detach(), "weight": torch.from_numpy(weight), "gradient": heard.grad,
             "linear_gradient": layer.layers[0].linear.weight.grad}  # fmt: skip
    return {f"qrnn_{name}": value.numpy() for name, value in found.items()}


def main() -> None:
    """Make the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the two checkouts")
    parser.add_argument("--out", type=Path, default=ROOT / "shared-audio" / "golden" / "pase.npz")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    oracles, wav = arguments.oracles.resolve(), clip("slt/arctic_a0007", 16000, 1.0, 0.3)
    arrays: Arrays = {"wav": wav}
    with projects(oracles) as (frontend, qrnn):
        for name in ("PASE", "PASE+"):
            arrays |= encoder(frontend, oracles, name, wav)
        arrays |= recurrence(qrnn)
    np.savez_compressed(arguments.out, **arrays)  # type: ignore[arg-type]
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1024:.0f} KiB, {len(arrays)} arrays")


if __name__ == "__main__":
    main()
