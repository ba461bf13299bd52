"""The context stack for CPUs, step by step: the three convolutions and the three upper GRUs, compiled by numba.

When each is due: cell.py draws it. Products and gates: vocoder_core.recurrent. B streams go together, so that each
matrix is read once for them all. Who speaks is part of the biases: a stream has its own, added behind the products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.primitives import exactly, sigmoid, tanh, update
from vocoder_core.recurrent.products import affine


class Ear(NamedTuple):
    """Weights of one of the convolutions: its two layers."""

    first: np.ndarray  # (2C, 4 C_in)
    second: np.ndarray  # (2C, 4C)


class Heard(NamedTuple):
    """What it remembers of B streams."""

    first_bias: np.ndarray  # (B, 2C)
    second_bias: np.ndarray
    read: np.ndarray  # (B, 6 C_in): the last two vectors read, and room for four
    inner: np.ndarray  # (B, 4C): the last two of the inner layer, and room for two
    heard: np.ndarray  # (B, C): the output


class Upper(NamedTuple):
    """Weights of one of the upper GRUs, with the way to the one below."""

    own: Any  # (3R, I): entry of its convolution; of rnn0 also of the condition
    recurrent: Any  # (3R, R): floats, or a matrix of whole numbers, as own, spread and on
    recurrent_bias: np.ndarray
    spread: Any  # (4R, R)
    spread_bias: np.ndarray
    on: Any  # (E, R): entry of its vectors at the GRU below, E = 3R or 3H


class Carried(NamedTuple):
    """What it remembers of B streams, and tells the one below."""

    hidden: np.ndarray  # (B, R)
    on_bias: np.ndarray  # (B, E): all that entries below have in common
    entries: np.ndarray  # (B, 4, E): of the GRU below at its next four steps


@exactly
def gated(wide: np.ndarray, bias: np.ndarray, out: np.ndarray) -> None:
    """out = sigmoid(a) tanh(b) of wide + bias (2C,) -> (C,)."""
    size = len(out)
    for j in range(size):
        out[j] = sigmoid(wide[j] + bias[j]) * tanh(wide[size + j] + bias[size + j])


@exactly
def copy(x: np.ndarray, out: np.ndarray) -> None:
    """out (n,) = x (n,), from the first on: a loop, which compiles sooner than a slice that is assigned to."""
    for j in range(len(out)):
        out[j] = x[j]


@exactly
def listen(ear: Ear, work: Heard, none: np.ndarray) -> None:
    """The next output of a convolution that has been given four vectors more."""
    (rows, size), step = work.heard.shape, work.read.shape[1] // 6
    windows, wide = np.empty((2 * rows, 4 * step), np.float32), np.empty((2 * rows, 2 * size), np.float32)
    for b in range(rows):
        copy(work.read[b], windows[2 * b])
        copy(work.read[b, 2 * step :], windows[2 * b + 1])
        copy(work.read[b, 4 * step :], work.read[b, : 2 * step])
    affine(ear.first, none[: 2 * size], windows, wide)
    for b in range(rows):
        gated(wide[2 * b], work.first_bias[b], work.inner[b, 2 * size : 3 * size])
        gated(wide[2 * b + 1], work.first_bias[b], work.inner[b, 3 * size :])
    affine(ear.second, none[: 2 * size], work.inner, wide[:rows])
    for b in range(rows):
        gated(wide[b], work.second_bias[b], work.heard[b])
        copy(work.inner[b, 2 * size :], work.inner[b, : 2 * size])


@exactly
def pass_on(t: int, heard: np.ndarray, read: np.ndarray) -> None:
    """What a convolution has heard (B, C), once in t samples so far, to the next one's `read`, behind what is there."""
    rows, size = heard.shape
    place = (2 + (t - 1) % 4) * size
    for b in range(rows):
        copy(heard[b], read[b, place : place + size])


@exactly
def carry(upper: Upper, work: Carried, above: np.ndarray, k: int, x: np.ndarray, none: np.ndarray) -> None:
    """A step of an upper GRU by x (B, I) and entry k of those (B, K, 3R) from above; the next four entries below."""
    rows, size = work.hidden.shape
    gates, product = np.empty((rows, 3 * size), np.float32), np.empty((rows, 3 * size), np.float32)
    vectors = np.empty((rows, 4, size), np.float32)
    affine(upper.own, none[: 3 * size], x, gates)
    affine(upper.recurrent, upper.recurrent_bias, work.hidden, product)
    for b in range(rows):
        update(gates[b], above[b, k], product[b], work.hidden[b])
    affine(upper.spread, upper.spread_bias, work.hidden, vectors.reshape(rows, 4 * size))
    size_below = work.on_bias.shape[1]
    entries = work.entries.reshape(4 * rows, size_below)
    affine(upper.on, none[:size_below], vectors.reshape(4 * rows, size), entries)
    for i in range(4 * rows):
        entry, bias = entries[i], work.on_bias[i // 4]
        for j in range(len(bias)):
            entry[j] += bias[j]


@exactly
def hear(t: int, uppers: Any, work: Any, ears: Any, entry: np.ndarray, vectors: np.ndarray, none: np.ndarray) -> None:
    """The upper GRUs due at sample t, a multiple of 4, of units whose vectors (B, K, D) are told.

    entry (B, 1, 3R): the biases of rnn0's.
    """
    if t % 64 == 0:
        (rows, size), told = ears[2].heard.shape, vectors.shape[2]
        x = np.empty((rows, size + told), np.float32)
        for b in range(rows):
            copy(ears[2].heard[b], x[b, :size])
            copy(vectors[b, t // 64], x[b, size:])
        carry(uppers[0], work[0], entry, 0, x, none)
    if t % 16 == 0:
        carry(uppers[1], work[1], work[0].entries, t // 16 % 4, ears[1].heard, none)
    carry(uppers[2], work[2], work[1].entries, t // 4 % 4, ears[0].heard, none)


@exactly
def look(t: int, ears: Any, work: Any, none: np.ndarray) -> None:
    """The convolutions due when t samples are said, a multiple of 4, and the last four are told to conv0."""
    listen(ears[0], work[0], none)
    pass_on(t // 4, work[0].heard, work[1].read)
    if t % 16 == 0:
        listen(ears[1], work[1], none)
        pass_on(t // 16, work[1].heard, work[2].read)
        if t % 64 == 0:
            listen(ears[2], work[2], none)
