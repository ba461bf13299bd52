"""The context stack for CPUs, step by step: the three convolutions and the three upper GRUs, compiled by numba.

When each is due: loops.py draws it. Products and gates: vocoder_core.recurrent.primitives. Who speaks is part of the
biases: a row has its own. Vectors lie flat, one after another.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numba.extending
import numpy as np

from vocoder_core.recurrent.integers_kernel import products
from vocoder_core.recurrent.primitives import exactly, number, ready, sigmoid, summing, tanh, update
from vocoder_core.recurrent.products import affine

_F = np.float32


class Ear(NamedTuple):
    """One of the convolutions: its two layers, and what it remembers."""

    first: np.ndarray  # (2C, 4 C_in)
    first_bias: np.ndarray  # (2C,)
    second: np.ndarray  # (2C, 4C)
    second_bias: np.ndarray
    read: np.ndarray  # (6 C_in,): the last two vectors read, and room for four
    inner: np.ndarray  # (4C,): the last two of the inner layer, and room for two
    heard: np.ndarray  # (C,): the output


class Upper(NamedTuple):
    """One of the upper GRUs, with the way to the one below."""

    own: Any  # (3R, I): entry of its convolution; of rnn0 also of the condition
    recurrent: Any  # (3R, R): floats, or a matrix of whole numbers, as own, spread and on
    recurrent_bias: np.ndarray
    spread: Any  # (4R, R)
    spread_bias: np.ndarray
    on: Any  # (E, R): entry of its vectors at the GRU below, E = 3R or 3H,
    on_bias: np.ndarray  # (E,): and all that this entry has in common
    hidden: np.ndarray  # (R,)
    vectors: np.ndarray  # (4R,)
    entries: np.ndarray  # (4E,): of the GRU below at its next four steps


@exactly
def gated(wide: np.ndarray, out: np.ndarray) -> None:
    """out = sigmoid(a) tanh(b) of (2C,) -> (C,)."""
    size = len(out)
    for j in range(size):
        out[j] = sigmoid(wide[j]) * tanh(wide[size + j])


@exactly
def listen(ear: Ear) -> None:
    """The next output of a convolution that has been given four vectors more."""
    step, size = len(ear.read) // 6, len(ear.heard)
    wide = np.empty(2 * size, np.float32)
    affine(ear.first, ear.first_bias, ear.read[: 4 * step], wide)
    gated(wide, ear.inner[2 * size : 3 * size])
    affine(ear.first, ear.first_bias, ear.read[2 * step :], wide)
    gated(wide, ear.inner[3 * size :])
    affine(ear.second, ear.second_bias, ear.inner, wide)
    gated(wide, ear.heard)
    ear.read[: 2 * step] = ear.read[4 * step :]
    ear.inner[: 2 * size] = ear.inner[2 * size :]


@summing
def four(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out[k] = weight @ x[k] + bias of four vectors at once: (R, C), (R,), (4C,) -> (4R,).

    Two rows at a time: a vector that is loaded serves twice. Of an odd number of rows the last comes alone.
    """
    rows, size = weight.shape
    y = ready(weight, x)
    x0, x1, x2, x3 = y[:size], y[size : 2 * size], y[2 * size : 3 * size], y[3 * size :]
    for i in range(0, rows, 2):
        last = min(i + 1, rows - 1)
        p, q = weight[i], weight[last]
        p0, p1, p2, p3, q0, q1, q2, q3 = _F(0), _F(0), _F(0), _F(0), _F(0), _F(0), _F(0), _F(0)
        for j in range(size):
            one, two = number(p[j]), number(q[j])
            p0 += one * x0[j]
            p1 += one * x1[j]
            p2 += one * x2[j]
            p3 += one * x3[j]
            q0 += two * x0[j]
            q1 += two * x1[j]
            q2 += two * x2[j]
            q3 += two * x3[j]
        out[i], out[last] = p0 + bias[i], q0 + bias[last]
        out[rows + i], out[rows + last] = p1 + bias[i], q1 + bias[last]
        out[2 * rows + i], out[2 * rows + last] = p2 + bias[i], q2 + bias[last]
        out[3 * rows + i], out[3 * rows + last] = p3 + bias[i], q3 + bias[last]


def fours(weight: Any, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """`four`, of weights of any kind."""
    raise NotImplementedError("for kernels alone; below is what they compile")


@numba.extending.overload(fours, strict=False)
def _fours(weight: Any, bias: Any, x: Any, out: Any) -> Any:
    if isinstance(weight, numba.types.Array):
        return lambda weight, bias, x, out: four(weight, bias, x, out)
    return lambda weight, bias, x, out: products(weight, bias, x.reshape(4, len(x) // 4), out.reshape(4, len(out) // 4))


@exactly
def advance(upper: Upper, entry: np.ndarray, x: np.ndarray, none: np.ndarray) -> None:
    """A step of an upper GRU by x (I,) and the entry (3R,) from above; its four vectors, and their entries below."""
    gates, product = np.empty(len(entry), np.float32), np.empty(len(entry), np.float32)
    affine(upper.own, none[: len(entry)], x, gates)
    affine(upper.recurrent, upper.recurrent_bias, upper.hidden, product)
    update(gates, entry, product, upper.hidden)
    affine(upper.spread, upper.spread_bias, upper.hidden, upper.vectors)
    fours(upper.on, upper.on_bias, upper.vectors, upper.entries)


@exactly
def hear(t: int, uppers: Any, ears: Any, entry: np.ndarray, vector: np.ndarray) -> None:
    """The upper GRUs due at sample t of a unit, t a multiple of 4. entry (3R,): rnn0's biases; vector (D,): told."""
    none, size = np.zeros(len(entry), np.float32), len(entry)
    if t == 0:
        advance(uppers[0], entry, np.concatenate((ears[2].heard, vector)), none)
    if t % 16 == 0:
        k = t // 16
        advance(uppers[1], uppers[0].entries[k * size : (k + 1) * size], ears[1].heard, none)
    k = t // 4 % 4
    advance(uppers[2], uppers[1].entries[k * size : (k + 1) * size], ears[0].heard, none)


@exactly
def look(t: int, ears: Any) -> None:
    """The convolutions due when t samples of a unit are said, a multiple of 4, and the last four are told to conv0."""
    listen(ears[0])
    size, k = len(ears[0].heard), t // 4 % 4
    place = (2 + (k - 1) % 4) * size
    ears[1].read[place : place + size] = ears[0].heard
    if k == 0:
        listen(ears[1])
        k = t // 16 % 4
        place = (2 + (k - 1) % 4) * size
        ears[2].read[place : place + size] = ears[1].heard
        if k == 0:
            listen(ears[2])
