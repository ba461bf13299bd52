"""From latents to codes: seeds, temperature, backend. One sample: cell.py, kernel.py; loops: vocoder_core.recurrent.

How samples are drawn, and what a seed promises: vocoder_core.recurrent.draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.recurrent.draws import check_temperature, stream_keys
from vocoder_core.recurrent.engine import CompiledLoop, Loop, Stream, TorchLoop
from vocoder_core.recurrent.streams import TIERS, Backend, choose

from .cell import Cell, Frames
from .packed import Packed

if TYPE_CHECKING:
    from .model import Decoder


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
    speech = stream(decoder, batch, seed, temperature, backend)
    if not batch or not frames:
        return torch.empty(batch, frames * decoder.hop_length, dtype=torch.int64, device=latents.device)
    return speech.all(Frames(latents), progress)


def stream(
    decoder: Decoder, batch: int, seed: int | Sequence[int] | None, temperature: float, backend: Backend
) -> Stream:
    """Rows that begin in silence; the rest as in generate_codes."""
    keys, device = stream_keys(seed, batch), decoder.fc2.weight.device
    check_temperature(temperature)
    kind = choose(backend, device, TIERS)
    loop: Loop
    if kind == "torch" or not batch:
        loop = TorchLoop(Cell(decoder, batch), temperature)
    else:
        packed = Packed(decoder, batch, kind if kind == "int8" or kind == "int16" else None)
        loop = CompiledLoop(packed, temperature, device)
    return Stream(loop, keys)
