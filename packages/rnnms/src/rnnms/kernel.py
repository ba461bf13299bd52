"""The exact fp32 kernel for CPUs: one stream of samples on one core, compiled by numba when it is first used.

The decoder of model.py, one sample at a time, its embedding folded into the input weights (Decoder.folded). The same in
ten lines of torch: loops.TorchLoop. Given the same uniforms the two draw the same labels, up to rounding.

What one sample reads, for H = 896, L = Q = 1024 (all arrays row-major float32 in one block; every row starts where a
cache line does when the sizes are multiples of 16):

    codes[t-1] --> table      (Q, 3H)   one row              11 KB   | embedding and input weights, folded
    (once a frame) conditioning (3H, 2C)  every row          2.8 MB / 200   | frame's part of the input gates
    h[t-1]     --> recurrent  (3H, H)   every row, in order  9.6 MB  | 3 gates: reset, update, candidate
    h[t]       --> first      (L, H)    every row, in order  3.7 MB  | ReLU
               --> second     (Q, L)    every row, in order  4.2 MB  | softmax, draw
                                                     sum:   17.5 MB a sample

Each weight is used once per sample, so the speed is that at which a core reads its last-level cache: 70 GB/s are 4,000
samples/s. Hence the shape of the code: plain dot products over whole rows, which LLVM turns into four independent
vector accumulators and no stores, and nothing in the loop that is not such a dot product costs more than 1 % of them:
exp, sigmoid and tanh are polynomials without a branch or a call, so they are vectorised with the loop around them.

No threads inside a stream. The arithmetic of a row does not depend on the batch it is in.
"""

from __future__ import annotations

import math

import numba
import numpy as np

# "reassoc" lets LLVM split a sum over vector lanes. Not for exp, whose two-part ln 2 it would simplify away.
_sum = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
_largest = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"nnan", "nsz"})
_exact = numba.njit(nogil=True, cache=True, error_model="numpy", fastmath={"contract"})

BLOCK = 32  # classes per partial sum of the draw

_F = np.float32
_LOG2E, _LN2_HIGH, _LN2_LOW = _F(1.44269504), _F(0.693359375), _F(-2.12194440e-4)  # high: 9 bits, so n * high is exact
_C2, _C3, _C4, _C5, _C6, _C7 = (_F(1 / math.factorial(k)) for k in range(2, 8))  # Taylor: 5e-9 at |r| = ln 2 / 2
_ONE, _TWO, _HALF, _LOWEST, _HIGHEST = _F(1), _F(2), _F(0.5), _F(-87), _F(88)  # exp within float32's normal range


@_exact
def _split(x: float) -> tuple[float, float]:
    """(2^n, exp(r) - 1) with x = n ln 2 + r, |r| <= ln 2 / 2."""
    x = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(x * _LOG2E + _HALF)
    r = x - n * _LN2_HIGH - n * _LN2_LOW
    power = np.int32(np.int32(n) + np.int32(127)) << np.int32(23)
    tail = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    return np.int32(power).view(np.float32), r + r * r * tail


@_exact
def exp(x: float) -> float:
    """e^x to 1e-7 of itself for -87 <= x <= 88; beyond, the value at that end."""
    scale, rest = _split(x)
    return scale + scale * rest


@_exact
def sigmoid(x: float) -> float:
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp(-x))


@_exact
def tanh(x: float) -> float:
    """Hyperbolic tangent through e^-2|x| - 1, which loses nothing near 0."""
    scale, rest = _split(-_TWO * abs(x))
    minus = scale * rest + (scale - _ONE)
    return math.copysign(-minus / (_TWO + minus), x)


@_sum
def affine(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out = weight @ x + bias; (R, C), (R,), (C,) -> (R,)."""
    rows, columns = weight.shape
    for i in range(rows):
        total = _F(0)
        for j in range(columns):
            total += weight[i, j] * x[j]
        out[i] = total + bias[i]


@_exact
def update(entry: np.ndarray, condition: np.ndarray, product: np.ndarray, hidden: np.ndarray) -> None:
    """One GRU step in place: gates (3H,) in three summands, of which the product stays apart in the candidate."""
    width = len(hidden)
    for j in range(width):
        reset = sigmoid(entry[j] + condition[j] + product[j])
        keep = sigmoid(entry[width + j] + condition[width + j] + product[width + j])
        fresh = tanh(entry[2 * width + j] + condition[2 * width + j] + reset * product[2 * width + j])
        hidden[j] = fresh + keep * (hidden[j] - fresh)


@_largest
def largest(values: np.ndarray) -> float:
    """Maximum of (n,), none of them NaN."""
    high = values[0]
    for k in range(1, len(values)):
        high = max(high, values[k])
    return high


@_sum
def total(values: np.ndarray) -> float:
    """Sum of (n,) in float64: a label must not hang on the order of the additions."""
    result = 0.0
    for k in range(len(values)):
        result += values[k]
    return result


@_exact
def exponentials(logits: np.ndarray, high: float, sharpness: float) -> None:
    """logits <- e^((logits - high) * sharpness)."""
    for k in range(len(logits)):
        logits[k] = exp((logits[k] - high) * sharpness)


@_exact
def draw(logits: np.ndarray, sharpness: float, u: float) -> int:
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


@_exact
def generate(
    table: np.ndarray,
    conditioning: np.ndarray,
    recurrent: np.ndarray,
    recurrent_bias: np.ndarray,
    first: np.ndarray,
    first_bias: np.ndarray,
    second: np.ndarray,
    second_bias: np.ndarray,
    latents: np.ndarray,
    uniforms: np.ndarray,
    sharpness: float,
    hidden: np.ndarray,
    codes: np.ndarray,
) -> None:
    """The next samples of one stream: codes[1:] (n + 1,) int64, codes[0] being the sample before them.

    The weights as drawn above. latents (F, 2C) float32: the frames of these n samples, n a multiple of F. uniforms (n,)
    float64. sharpness: 1 / temperature, float32. hidden (H,) float32 is carried on in place.
    """
    condition = np.zeros(len(recurrent_bias), np.float32)
    product = np.empty(len(recurrent_bias), np.float32)
    features = np.empty(len(first_bias), np.float32)
    logits = np.empty(len(second_bias), np.float32)
    none = np.zeros(len(recurrent_bias), np.float32)
    hop = len(uniforms) // max(len(latents), 1)
    for t in range(len(uniforms)):
        if t % hop == 0:
            affine(conditioning, none, latents[t // hop], condition)
        affine(recurrent, recurrent_bias, hidden, product)
        update(table[codes[t]], condition, product, hidden)
        affine(first, first_bias, hidden, features)
        for k in range(len(features)):
            features[k] = max(features[k], _F(0))
        affine(second, second_bias, features, logits)
        codes[t + 1] = draw(logits, sharpness, uniforms[t])
