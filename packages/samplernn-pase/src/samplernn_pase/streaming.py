"""Speaking while the mel, or the recording, is still coming, or of one too long to be held: window by window.

    mel (and wave)   ...|<before>|<- piece ->|<- look-ahead ->|        windows of a fixed grid (core: streaming.pieces):
    told                         |<- piece ->|                         the pitch of a window, conditions, predictors
    said                         |.|.|.|.|.|.|                         frame by frame, by a stream that remembers
    settled             |<before>|<- piece ->|<- look-ahead ->|        Griffin-Lim on windows of what was said

`look_ahead` None is what `synthesize` does: windows of LONG frames, so that up to a minute is one window, the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core.pitch import track
from vocoder_core.recurrent.engine import CHUNK
from vocoder_core.recurrent.folds import together
from vocoder_core.speakers import Who, vectors
from vocoder_core.streaming.pieces import Grid, Source, portions, windows
from vocoder_core.streaming.settling import settled_pieces, whole_grid

from .generate import Stream, told_of
from .speaking import Sampling, checked_settle, pitch_of_mel, raw
from .tellers import Frames

if TYPE_CHECKING:
    from .model import SampleRNNPASE

LONG, AROUND = 12_288, 256  # frames of a piece, 61 s, and of its context
PIECE, BEFORE = 32, 96  # of a piece of a stream, 160 ms, and of what is before it
LOOK_AHEAD = 64  # frames, 320 ms; see the README


def grids(model: SampleRNNPASE, look_ahead: int | None, settle: int) -> tuple[Grid, Grid]:
    """Of what is told, and of settling. Raises ValueError for a look-ahead below one frame."""
    if look_ahead is None:
        return Grid(LONG, AROUND, AROUND), whole_grid(model.config.mel, settle)
    if look_ahead < 1:
        raise ValueError(f"look_ahead is {look_ahead}; expected 1 or more frames")
    return Grid(PIECE, BEFORE, look_ahead), Grid(PIECE, look_ahead, look_ahead)


@torch.inference_mode()
def spoken(
    model: SampleRNNPASE, rows: Sequence[Iterable[Tensor] | Source], speaker: Who | None, how: Sampling,
    look_ahead: int | None, normal: Tensor | None = None,
) -> Iterator[Tensor]:  # fmt: skip
    """Waves (B, n * hop) of mels in portions (M, f), or of (hop + M, f): with the recording's frames before them.

    normal (B, 2, C): statistics of the content, None: the speaker's. Raises ValueError for content that is no mel.
    """
    if model.config.content.kind != "mel80":
        raise ValueError(
            f"a stream of content {model.config.content.kind}; expected mel80, which is heard piece by piece"
        )
    like = next(model.parameters()).new_zeros(len(rows), 1)
    who = vectors(speaker, model.speaker_size, model.voices, like)
    normal = model.normal(speaker, like) if normal is None else normal
    checked_settle(model, how)
    grid, settling = grids(model, look_ahead, how.settle)
    stream, step = Stream(model, len(rows), how), CHUNK // model.config.mel.hop_length if look_ahead is None else 1

    def said() -> Iterator[tuple[Tensor, Tensor]]:
        each = (
            _told(model, row, None if who is None else who[b : b + 1], normal[b : b + 1], grid)
            for b, row in enumerate(rows)
        )
        for pieces in zip(*each):
            frames = together([told for told, _ in pieces])
            mels = torch.cat([mel for _, mel in pieces])
            for k in range(0, frames.count, step):
                yield stream(frames.cut(k, k + step)), mels[..., k : k + step]

    return settled_pieces(said(), model.config.mel, how.settle, settling)


def _told(
    model: SampleRNNPASE, row: Iterable[Tensor] | Source, who: Tensor | None, normal: Tensor, grid: Grid
) -> Iterator[tuple[Frames, Tensor]]:
    """What the frames of each piece are told, and their mels (1, M, n)."""
    config = model.config.mel
    for window in windows(portions(row, grid.piece) if isinstance(row, Source) else row, grid):
        content = raw(model, window.frames[-config.n_mels :][None])
        pitch = None
        if model.config.labels.pitch and len(window.frames) > config.n_mels:
            wav = window.frames[: config.hop_length].t().flatten()
            pitch = torch.stack(track(wav[None], config.sample_rate, config.hop_length), dim=2).to(content)
        elif model.config.labels.pitch:
            pitch = pitch_of_mel(model, content)
        told = told_of(model, content, who, pitch, normal)
        yield told.cut(window.before, window.before + window.count), window.own(content.transpose(1, 2))
