"""Arithmetic of kernels that make streams of samples on one core, compiled by numba when it is first used.

Each weight of such a network is used once a sample, so one stream is as fast as the core reads its caches.
Hence dot products over whole rows (floats.py), and beside them nothing that costs more than 1 %: exp, sigmoid and tanh
are polynomials without a branch or a call, so they are vectorised with the loop around them. The same in torch:
draws.draw, torch.nn.GRU.

No threads inside a stream. The arithmetic of a row does not depend on the batch it is in.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba.core.registry import cpu_target

from .compiled import compiled

# "reassoc" lets LLVM split a sum over vector lanes. Not for exp, whose two-part ln 2 it would simplify away.
summing = compiled("reassoc", "contract", "nsz")
exactly = compiled("contract")
strictly = compiled()  # every operation rounds, also where a processor could do two at once

PART = 128  # rows of weights that several vectors meet in turn
BLOCK = 32  # classes per partial sum of the draw

_F = np.float32
Float = Any  # a float32, as numba infers it
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)  # high: 9 bits, so n * high is exact
_C2, _C3, _C4, _C5, _C6, _C7 = (_F(1 / math.factorial(k)) for k in range(2, 8))  # Taylor: 5e-9 at |r| = ln 2 / 2
_ONE, _TWO, _HALF, _LOWEST, _HIGHEST = _F(1), _F(2), _F(0.5), _F(-87), _F(88)  # exp within float32's normal range


MAGNITUDE = np.int32(2**31 - 1)  # all bits of a float but its sign
_FACTOR = _F(2.0**112)
FIELDS = np.int32(-0x70002000)  # of a sign-extended 16-bit float, moved up by 13 bits: its sign, exponent and fraction


@exactly
def _split(x: Float) -> tuple[Float, Float]:
    """(2^n, exp(r) - 1) with x = n ln 2 + r, |r| <= ln 2 / 2."""
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    power = np.int32(np.int32(n) + np.int32(127)) << np.int32(23)
    tail = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    return np.int32(power).view(np.float32), r + r * r * tail


@exactly
def exp(x: Float) -> Float:
    """e^x to 1e-7 of itself for -87 <= x <= 88; beyond, the value at that end."""
    scale, rest = _split(x)
    return scale + scale * rest


@exactly
def sigmoid(x: Float) -> Float:
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp(-x))


@exactly
def tanh(x: Float) -> Float:
    """Hyperbolic tangent through e^-2|x| - 1, which loses nothing near 0."""
    scale, rest = _split(-_TWO * abs(x))
    minus = scale * rest + (scale - _ONE)
    return math.copysign(-minus / (_TWO + minus), x)


def number(stored: Any) -> Any:
    """A weight as it is multiplied: float32 as it is; of the bits of a 16-bit float (int16) its value.

    Half the memory, the same value: streams.pack stores 16 bits where nothing is lost. Processors without F16C get
    2^-112 of it, in two steps; the factor is the difference of the exponents' biases, and `ready` puts it right once
    for a whole product. Below 2^-14 that is a subnormal number, over which processors are slow.
    """
    raise NotImplementedError("for kernels alone; below is what they compile")


def ready(weight: np.ndarray, x: Any) -> Any:
    """x as products with such weights want it: without F16C, of int16 ones, times 2^112, which is exact."""
    raise NotImplementedError("for kernels alone; below is what they compile")


# numba keeps kernels apart by the processor's features, this one among them
HALVES = "+f16c" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")


@numba.extending.intrinsic
def _half(typing: Any, stored: Any) -> Any:
    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fpext(builder.bitcast(arguments[0], ir.HalfType()), ir.FloatType())

    return numba.float32(numba.int16), generated


@numba.extending.overload(number, inline="always", strict=False)
def _number(stored: Any) -> Any:
    if stored == numba.int16 and HALVES:
        return lambda stored: _half(stored)  # type: ignore[call-arg]
    if stored == numba.int16:
        return lambda stored: np.int32((np.int32(stored) << np.int32(13)) & FIELDS).view(np.float32)
    return lambda stored: stored


@numba.extending.overload(ready, inline="always", strict=False)
def _ready(weight: Any, x: Any) -> Any:
    if weight.dtype == numba.int16 and not HALVES:
        return lambda weight, x: x * _FACTOR
    return lambda weight, x: x


@exactly
def affine_of_active(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, active: np.ndarray, out: np.ndarray) -> None:
    """out = max(x, 0) @ weight + bias; (L, Q), (Q,), (L,) -> (Q,). Reads only the rows whose x is positive.

    active: (L,) int64, room for their indices. Four rows at a time: a quarter of the loads and stores of `out`.
    """
    out[:] = bias
    _add_active(weight, x, active, out)


@exactly
def affine_of_active_rows(
    weight: np.ndarray, bias: np.ndarray, x: np.ndarray, active: np.ndarray, out: np.ndarray
) -> None:
    """The same of B vectors, x (B, L), out (B, Q): PART rows of weights meet them all in the second cache."""
    for b in range(len(x)):
        out[b] = bias
    for first in range(0, len(weight), PART):
        last = min(first + PART, len(weight))
        for b in range(len(x)):
            _add_active(weight[first:last], x[b, first:last], active, out[b])


@exactly
def _add_active(weight: np.ndarray, x: np.ndarray, active: np.ndarray, out: np.ndarray) -> None:
    count = 0
    for i in range(len(x)):
        if x[i] > 0:
            active[count] = i
            count += 1
    whole = count - count % 4
    for k in range(0, whole, 4):
        i0, i1, i2, i3 = active[k], active[k + 1], active[k + 2], active[k + 3]
        x0, x1, x2, x3 = ready(weight, x[i0]), ready(weight, x[i1]), ready(weight, x[i2]), ready(weight, x[i3])
        row0, row1, row2, row3 = weight[i0], weight[i1], weight[i2], weight[i3]
        for j in range(len(out)):
            out[j] += x0 * number(row0[j]) + x1 * number(row1[j]) + x2 * number(row2[j]) + x3 * number(row3[j])
    for k in range(whole, count):
        x0, row0 = ready(weight, x[active[k]]), weight[active[k]]
        for j in range(len(out)):
            out[j] += x0 * number(row0[j])


@exactly
def update(entry: np.ndarray, condition: np.ndarray, product: np.ndarray, hidden: np.ndarray) -> None:
    """One GRU step in place: gates (3H,) in three summands, of which the product stays apart in the candidate."""
    width = len(hidden)
    for j in range(width):
        reset = sigmoid(entry[j] + condition[j] + product[j])
        keep = sigmoid(entry[width + j] + condition[width + j] + product[width + j])
        fresh = tanh(entry[2 * width + j] + condition[2 * width + j] + reset * product[2 * width + j])
        hidden[j] = fresh + keep * (hidden[j] - fresh)


@exactly
def largest(values: np.ndarray) -> Float:
    """Maximum of (n,), none NaN: of whole numbers in the order of the floats, for LLVM compares those in vectors."""
    high = np.int32(-(2**31))
    for k in range(len(values)):
        high = max(high, _ordered(_F(values[k]).view(np.int32)))
    return np.int32(_ordered(high)).view(np.float32)


@exactly
def _ordered(bits: Any) -> Any:
    """Of a float's bits: all but the sign turned round where it is negative; and back."""
    return np.int32(bits ^ ((bits >> np.int32(31)) & MAGNITUDE))


@summing
def total(values: np.ndarray) -> float:
    """Sum of (n,) in float64: a label must not hang on the order of the additions."""
    result = 0.0
    for k in range(len(values)):
        result += values[k]
    return result


@exactly
def exponentials(logits: np.ndarray, high: Float, sharpness: Float) -> None:
    """logits <- e^((logits - high) * sharpness)."""
    for k in range(len(logits)):
        logits[k] = exp((logits[k] - high) * sharpness)


@exactly
def draw(logits: np.ndarray, sharpness: Float, u: float) -> int:
    """The label at which the running sum of softmax(logits * sharpness) passes u in [0, 1). Overwrites the logits.

    Sums of BLOCK classes are kept while they are made, so that the search reads few of the exponentials again.
    """
    exponentials(logits, largest(logits), sharpness)
    blocks = (len(logits) + BLOCK - 1) // BLOCK
    sums = np.empty(blocks)
    running = 0.0
    for b in range(blocks):
        running += total(logits[b * BLOCK : (b + 1) * BLOCK])
        sums[b] = running
    target = u * running
    b = 0
    while sums[b] <= target:  # ends: u < 1
        b += 1
    running = sums[b - 1] if b else 0.0
    label = b * BLOCK
    for k in range(b * BLOCK, min((b + 1) * BLOCK, len(logits))):
        if logits[k] > 0:  # never a label of probability 0, whatever rounding does
            label = k
        running += logits[k]
        if running > target:
            break
    return label
