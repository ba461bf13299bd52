"""From latents to codes: seeds, temperature, backend. One sample: cell.py, kernel.py; loops: vocoder_core.recurrent.

How samples are drawn, and what a seed promises: vocoder_core.recurrent.draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.recurrent.draws import check_temperature, fold_seeds, stream_keys
from vocoder_core.recurrent.engine import CompiledLoop, Loop, Stream, TorchLoop
from vocoder_core.recurrent.folds import plan
from vocoder_core.recurrent.narrow import Precision, check_precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.streams import TIERS, Backend, choose

from .cell import Cell, Frames
from .packed import Packed

if TYPE_CHECKING:
    from .model import RNNMS, Decoder

LEAD_SECONDS = 0.15  # of what is before a fold, which it says to itself first


@torch.inference_mode()
def generate_codes(
    decoder: Decoder,
    latents: Tensor,
    seed: int | Sequence[int] | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
    progress: bool = False,
    precision: Precision = "fp32",
) -> Tensor:
    """Codes (B, F * hop_length) int64 drawn from the decoder, given latents (B, F, 2C).

    seed: one for all rows, one per row, or None for fresh ones. temperature: 0 takes the likeliest class every time.
    backend: "torch", "graph" (CUDA), "numba" (CPU), "int8" or "int16" (CPU, weights in whole numbers), or "auto": numba
    on a CPU that has it, graph on CUDA. precision: of the weights there, "fp32", "bf16" or "fp16".
    Raises ValueError for a wrong seed, temperature, backend or precision.
    """
    batch, frames = latents.shape[:2]
    speech = stream(decoder, batch, seed, temperature, backend, precision)
    if not batch or not frames:
        return torch.empty(batch, frames * decoder.hop_length, dtype=torch.int64, device=latents.device)
    return speech.all(Frames(latents), progress)


@torch.inference_mode()
def generate_folded(
    model: RNNMS,
    latents: Tensor,
    loud: Tensor,
    folds: int,
    seed: int | Sequence[int] | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
    progress: bool = False,
) -> Tensor:
    """Waves (B, F * hop_length) of latents (B, F, 2C), row after row, each as so many folds; loud (B, F): to cut by."""
    stream_keys(seed, len(latents))  # raises where their number is another
    rows, seeds = [], seed if isinstance(seed, Sequence) else [seed] * len(latents)
    lead = round(LEAD_SECONDS * model.sample_rate / model.decoder.hop_length)
    for told, level, own in zip(latents.split(1), loud, seeds):
        way = plan(level, folds, lead)
        count = len(way.starts)
        speech = stream(model.decoder, count, fold_seeds(own, count), temperature, backend)
        codes = speech.all(way.split(Frames(told)), progress, f"frames of {count} folds")
        rows.append(way.join(model.waves(codes), model.decoder.hop_length))
    return torch.stack(rows) if rows else latents.new_zeros(0, latents.shape[1] * model.decoder.hop_length)


def stream(
    decoder: Decoder, batch: int, seed: int | Sequence[int] | None, temperature: float, backend: Backend,
    precision: Precision = "fp32",
) -> Stream:  # fmt: skip
    """Rows that begin in silence; the rest as in generate_codes."""
    keys, device = stream_keys(seed, batch), decoder.fc2.weight.device
    check_temperature(temperature)
    kind = choose(backend, device, TIERS)
    check_precision(precision, kind)
    loop: Loop
    if kind == "torch" or not batch:
        loop = TorchLoop(Cell(decoder, batch), temperature)
    elif kind == "graph":
        loop = Replayed(Cell(decoder, batch), temperature, precision)
    else:
        packed = Packed(decoder, batch, kind if kind == "int8" or kind == "int16" else None)
        loop = CompiledLoop(packed, temperature, device)
    return Stream(loop, keys)
