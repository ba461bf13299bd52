"""Pieces: frames that come in any portions, cut along a fixed grid; the same windows however they came.

    frames    0        n        2n       3n
              |--------|--------|--------|--           n: `piece` frames are worked on at a time,
    window         |<b>|--------|<- a ->|              with b <= `before` frames ahead of them and a <= `after` behind

Before the first frame and after the last nothing is made up: windows are shorter there. A frame is worked on once
`after` frames behind its piece have come, or the end: piece - 1 + after frames after it at most, `latency`.

What a network or a transform makes of a frame may depend, in its last bit, on how many frames it is given at once. On a
grid that begins at frame 0 that number is always the same: this is why what is streamed equals what is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class Grid:
    """Frames of a piece, and of the context that it is given."""

    piece: int
    before: int = 0
    after: int = 0

    def __post_init__(self) -> None:
        if self.piece < 1 or self.before < 0 or self.after < 0:
            raise ValueError(f"{self}; expected a piece of 1 or more frames, 0 or more before and after it")

    @property
    def latency(self) -> int:
        """Frames that have to come after a frame until it is worked on, at most."""
        return self.piece - 1 + self.after


@dataclass(frozen=True)
class Window:
    """A piece of a grid and its context."""

    frames: Tensor  # (..., before + count + after)
    before: int
    count: int

    def own(self, made: Tensor, each: int = 1) -> Tensor:
        """Of what was made of the window (..., frames * each) the piece's part (..., count * each)."""
        return made[..., self.before * each : (self.before + self.count) * each]


@runtime_checkable
class Source(Protocol):
    """Frames that can be read anywhere: a mel in memory, in a file, or of a wave."""

    @property
    def frames(self) -> int:
        """How many."""

    def cut(self, first: int, last: int) -> Tensor:
        """Frames first ... last - 1, (M, last - first)."""


@dataclass(frozen=True)
class InMemory:
    """A Source: a mel (M, F)."""

    mel: Tensor

    @property
    def frames(self) -> int:
        """F."""
        return self.mel.shape[1]

    def cut(self, first: int, last: int) -> Tensor:
        """Frames first ... last - 1."""
        return self.mel[:, first:last]


def windows(portions: Iterable[Tensor], grid: Grid) -> Iterator[Window]:
    """Portions (..., f) of any f, 0 too, as the windows of a grid; each as soon as its frames are there."""
    held: Tensor | None = None  # frames from `first` on
    first = start = 0
    for portion in portions:
        held = portion if held is None else torch.cat([held, portion], dim=-1)
        while first + held.shape[-1] >= start + grid.piece + grid.after:
            yield _window(held, first, start, grid)
            start += grid.piece
            gone = max(0, start - grid.before) - first
            held, first = held[..., gone:].clone(), first + gone
    while held is not None and start < first + held.shape[-1]:
        yield _window(held, first, start, grid)
        start += grid.piece


def _window(held: Tensor, first: int, start: int, grid: Grid) -> Window:
    """The window of the piece that begins at `start`, of frames held from `first` on."""
    low = max(0, start - grid.before)
    frames = held[..., low - first : start + grid.piece + grid.after - first]
    return Window(frames, start - low, min(grid.piece, low + frames.shape[-1] - start))


def portions(source: Source, size: int) -> Iterator[Tensor]:
    """A source in portions of `size` frames."""
    for first in range(0, source.frames, size):
        yield source.cut(first, min(first + size, source.frames))
