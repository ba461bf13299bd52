"""From latents to codes: backend, chunks. The loops themselves: loops.py; the CPU kernel: kernel.py.

How samples are drawn, and what a seed promises: vocoder_core.recurrent.draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder_core.recurrent.draws import check_temperature, stream_keys, uniforms
from vocoder_core.recurrent.streams import TIERS, Backend, choose

from .loops import IntegerLoop, NumbaLoop, TorchLoop

if TYPE_CHECKING:
    from .model import Decoder

CHUNK = 1000  # samples a row makes between two looks at the progress bar and at Ctrl-C


@torch.inference_mode()
def generate_codes(
    decoder: Decoder,
    latents: Tensor,
    seed: int | Sequence[int] | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
    progress: bool = False,
) -> Tensor:
    """Codes (B, F * hop_length) int64 drawn from the decoder, given latents (B, F, 2C).

    seed: one for all rows, one per row, or None for fresh ones. temperature: 0 takes the likeliest class every time.
    backend: "torch", "numba" (CPU), "int8" or "int16" (CPU, weights in whole numbers), or "auto": numba on a CPU that
    has it.
    Raises ValueError for a wrong seed, temperature or backend.
    """
    batch, frames = latents.shape[:2]
    hop = decoder.hop_length
    keys = stream_keys(seed, batch)
    check_temperature(temperature)
    kind = choose(backend, latents.device, TIERS)
    loop = _loop(kind, decoder, batch, temperature) if batch and frames else None
    codes = torch.empty(batch, frames * hop, dtype=torch.int64, device=latents.device)
    step = max(1, CHUNK // hop)
    with tqdm(total=frames, unit=" frames", disable=None if progress else True) as bar:
        for start in range(0, frames if loop else 0, step):
            part = latents[:, start : start + step]
            here = slice(start * hop, (start + part.shape[1]) * hop)
            assert loop is not None, "frames without a loop"
            codes[:, here] = loop(part, uniforms(keys, here.start, here.stop))
            bar.update(part.shape[1])
    return codes


def _loop(kind: Backend, decoder: Decoder, batch: int, temperature: float) -> TorchLoop | NumbaLoop | IntegerLoop:
    if kind == "int8" or kind == "int16":
        return IntegerLoop(decoder, batch, temperature, kind)
    return (TorchLoop if kind == "torch" else NumbaLoop)(decoder, batch, temperature)
