"""The engine: how every autoregressive vocoder here says sample after sample. A vocoder describes its step, twice.

    Cell     one sample in torch: the definition. Run by TorchLoop on any device, by Replayed (replay.py) on CUDA
    Kernel   the same compiled: kernel.py of a vocoder, its weights packed. Run by CompiledLoop, on a CPU

A loop goes on where it stopped, by whole blocks (a frame, or a unit of 64 samples), so that any split into calls gives
the same samples. A Stream feeds it the uniforms of its seeds:

    told    |  block 0  |  block 1  |  ...            what each block is told: conditions, whatever the vocoder has
    u(seed, t)   t = 0, 1, ...                        draws.py
    said    |  samples  |  samples  |  ...            Stream(loop, keys, ...)(told.cut(0, 2)) -> (B, 2 block)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .draws import LEAST_TEMPERATURE, draw, uniforms
from .streams import compile_aloud, shares, side_by_side

CHUNK = 1000  # samples a row makes between two looks at the progress bar and at Ctrl-C


class Told(Protocol):
    """What blocks of B rows are told."""

    @property
    def count(self) -> int:
        """Blocks."""

    def cut(self, first: int, last: int) -> Self:
        """Blocks first ... last - 1."""


class Cell(Protocol):
    """One sample after another, in torch. `block`: samples of a block; `draws`: labels of a sample."""

    block: int
    draws: int

    def begin(self, told: Any) -> None:
        """A block begins: what it is told (of one block)."""

    def logits(self, k: int) -> Tensor:
        """Logits (B, Q) of label k of the next sample."""

    def take(self, label: Tensor) -> None:
        """The label (B,) that was asked for last is drawn."""

    def end(self) -> Tensor:
        """What the block said (B, block)."""

    def state(self) -> list[Tensor]:
        """What is remembered between two blocks."""

    def resume(self, state: list[Tensor]) -> None:
        """Go on from such a state."""


class Kernel(Protocol):
    """B rows as kernel.py of a vocoder runs them; `block`, `draws` as of a Cell, `net`, `speak` as in loop.py."""

    block: int
    draws: int
    rows: int
    net: Any
    speak: Any

    def work(self, rows: slice) -> Any:
        """What these rows remember before their first sample, and room for one: kept by the loop."""

    def past(self) -> tuple[np.ndarray, ...]:
        """What all rows said before: the lines (B, ..., m) as they begin."""

    def told(self, told: Any, rows: slice) -> Any:
        """What these rows are told, as arrays."""

    def said(self, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        """What the loop returns (B, n) of the lines (B, ..., n) of n samples."""


class Loop(Protocol):
    """Goes on by whole blocks. uniforms (B, n, draws) float64 -> what was said (B, n)."""

    block: int
    draws: int

    def __call__(self, told: Any, uniforms: np.ndarray) -> Tensor:
        """The next blocks."""


class TorchLoop:
    """p(x[t] | what was said, told) one t after another."""

    def __init__(self, cell: Cell, temperature: float) -> None:
        self.cell, self.temperature, self.block, self.draws = cell, temperature, cell.block, cell.draws

    def __call__(self, told: Any, uniforms: np.ndarray) -> Tensor:
        """See Loop; on CUDA the host never waits."""
        drawn = torch.from_numpy(uniforms).to(where(self.cell))
        blocks = [one_block(self.cell, told.cut(i, i + 1), part, self.temperature)
                  for i, part in enumerate(drawn.split(self.block, dim=1))]  # fmt: skip
        return torch.cat(blocks, dim=1) if blocks else one_block(self.cell, told, drawn, self.temperature)


def one_block(cell: Cell, told: Any, uniforms: Tensor, temperature: float) -> Tensor:
    """What a cell says of a block (B, block), by uniforms (B, block, draws)."""
    cell.begin(told)
    for t in range(uniforms.shape[1]):
        for k in range(cell.draws):
            cell.take(draw(cell.logits(k), uniforms[:, t, k], temperature))
    return cell.end()


def where(cell: Cell) -> torch.device:
    """The device of a cell."""
    return cell.state()[0].device


class CompiledLoop:
    """The same by a compiled kernel. A row's samples depend neither on the batch nor on the number of threads.

    The rows are shared out to as many threads as torch may use; those of one share every pass over the weights.
    """

    def __init__(self, kernel: Kernel, temperature: float, device: torch.device | str = "cpu") -> None:
        self.kernel, self.device, self.block, self.draws = kernel, device, kernel.block, kernel.draws
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        self.shares = shares(kernel.rows)
        self.works = [kernel.work(rows) for rows in self.shares]
        self.lines, self.compiled = kernel.past(), False

    def __call__(self, told: Any, uniforms: np.ndarray) -> Tensor:
        """See Loop."""
        if not self.compiled:
            compile_aloud(lambda: self._say(told.cut(0, 0), uniforms[:, :0]))
            self.compiled = True
        return torch.from_numpy(self._say(told, uniforms)).to(self.device)

    def _say(self, told: Any, uniforms: np.ndarray) -> np.ndarray:
        samples, kernel = uniforms.shape[1], self.kernel
        lines = tuple(np.concatenate([x, np.zeros((*x.shape[:-1], samples), x.dtype)], axis=-1) for x in self.lines)

        def share(k: int) -> None:
            rows, own = self.shares[k], tuple(line[self.shares[k]] for line in lines)
            kernel.speak(kernel.net, self.works[k], kernel.told(told, rows), own, uniforms[rows], self.sharpness)

        side_by_side(share, len(self.shares))
        before = [x.shape[-1] for x in self.lines]
        self.lines = tuple(x[..., x.shape[-1] - m :].copy() for x, m in zip(lines, before))
        return kernel.said(tuple(x[..., m:] for x, m in zip(lines, before)))


class Stream:
    """Rows of speech that are made block by block, and remember what they said."""

    def __init__(self, loop: Loop, keys: np.ndarray) -> None:
        """keys (B,): draws.stream_keys of the rows' seeds."""
        self.loop, self.keys, self.said = loop, keys, 0

    @torch.inference_mode()
    def __call__(self, told: Any) -> Tensor:
        """What is said (B, K block) of the next K blocks."""
        last = self.said + told.count * self.loop.block
        u = uniforms(self.keys, self.loop.draws * self.said, self.loop.draws * last)
        self.said = last
        return self.loop(told, u.reshape(len(self.keys), -1, self.loop.draws))

    def pieces(self, told: Any) -> Iterator[Tensor]:
        """The same in pieces of about CHUNK samples."""
        step = max(1, CHUNK // self.loop.block)
        for first in range(0, told.count, step):
            yield self(told.cut(first, first + step))

    def all(self, told: Any, progress: bool = False, unit: str = "frames") -> Tensor:
        """The same, with a progress bar that counts blocks."""
        made = []
        with tqdm(total=told.count, unit=f" {unit}", disable=None if progress else True) as bar:
            for part in self.pieces(told):
                made.append(part)
                bar.update(part.shape[1] // self.loop.block)
        return torch.cat(made, dim=1) if made else self(told)
