"""Settling piece by piece: griffinlim.settled of a wave that is still being made.

What lies further from a piece than its context changes nothing in it that is heard; see the vocoders' READMEs for what
a shorter context costs, and how long one waits for a longer one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..griffinlim import PIECE, griffin_lim
from ..mel import MelConfig
from .pieces import Grid, windows


def whole_grid(config: MelConfig, steps: int) -> Grid:
    """The pieces of griffinlim.settled."""
    context = (steps + 1) * -(-config.n_fft // config.hop_length)
    return Grid(max(PIECE, 4 * context), context, context)


def settled_pieces(
    made: Iterable[tuple[Tensor, Tensor]], config: MelConfig, steps: int, grid: Grid
) -> Iterator[Tensor]:
    """Waves (B, n * hop) of (waves (B, n * hop), their mels (B, M, n)), brought to these; steps 0: as they are.

    Row by row: in a batch sums round otherwise.
    """
    if not steps:
        for wav, _ in made:
            yield wav
        return
    hop = config.hop_length
    frames = (torch.cat([wav.unflatten(1, (-1, hop)).transpose(1, 2), mel.to(wav)], dim=1) for wav, mel in made)
    for window in windows(frames, grid):
        rows = []
        for row in window.frames.split(1):
            wav = row[:, :hop].transpose(1, 2).flatten(1)
            rows.append(window.own(griffin_lim(row[:, hop:], config, steps - 1, start=wav), hop))
        yield torch.cat(rows)
