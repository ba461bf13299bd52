"""The smallest vocoder that the engine can run: two labels a sample, the second by the first; blocks of 4 samples.

hidden <- hidden / 2 + table[label 1 before] + told of the block       label 0: softmax(W hidden)
hidden <- hidden / 2 + table[label 0]                                  label 1: softmax(W hidden)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK, WIDTH, CLASSES = 4, 5, 16


@dataclass(frozen=True)
class Told:
    """Of K blocks: (B, K, WIDTH)."""

    values: Tensor

    @property
    def count(self) -> int:
        return self.values.shape[1]

    def cut(self, first: int, last: int) -> Told:
        return Told(self.values[:, first:last])


def weights(seed: int = 0) -> tuple[Tensor, Tensor]:
    """table (CLASSES, WIDTH) and W (CLASSES, WIDTH)."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randn(CLASSES, WIDTH, generator=generator) for _ in range(2))  # type: ignore[return-value]


class Cell:
    """In torch."""

    block, draws = BLOCK, 2

    def __init__(self, rows: int) -> None:
        self.table, self.weight = weights()
        self.hidden, self.last = torch.zeros(rows, WIDTH), torch.zeros(rows, dtype=torch.int64)

    def begin(self, told: Told) -> None:
        self.told, self.said = told.values.sum(1), list[Tensor]()

    def logits(self, k: int) -> Tensor:
        self.hidden = self.hidden / 2 + self.table[self.last] + (0 if k else self.told)
        return self.hidden @ self.weight.t()

    def take(self, label: Tensor) -> None:
        self.last = label
        self.said.append(label)

    def end(self) -> Tensor:
        pairs = torch.stack(self.said, 1) if self.said else self.last.new_zeros(len(self.last), 0)
        return pairs[:, ::2] * CLASSES + pairs[:, 1::2]

    def state(self) -> list[Tensor]:
        return [self.hidden, self.last]

    def resume(self, state: list[Tensor]) -> None:
        self.hidden, self.last = state


class Net(NamedTuple):
    table: np.ndarray
    weight: np.ndarray
    none: np.ndarray


class Work(NamedTuple):
    hidden: np.ndarray
    logits: np.ndarray


class Kernel:
    """Compiled: toy_kernel.py."""

    block, draws = BLOCK, 2

    def __init__(self, rows: int) -> None:
        import toy_kernel

        self.net = Net(*(each.numpy() for each in weights()), np.zeros(CLASSES, np.float32))
        self.rows, self.speak = rows, toy_kernel.speak

    def work(self, rows: slice) -> Work:
        count = rows.stop - rows.start
        return Work(np.zeros((count, WIDTH), np.float32), np.zeros((count, CLASSES), np.float32))

    def past(self) -> tuple[np.ndarray, ...]:
        return (np.zeros((self.rows, 2, 1), np.int64),)

    def told(self, told: Told, rows: slice) -> Any:
        return told.values[rows].contiguous().numpy()

    def said(self, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        return lines[0][:, 0] * CLASSES + lines[0][:, 1]
