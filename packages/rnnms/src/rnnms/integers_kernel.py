"""The kernel in whole numbers for CPUs: weights of one byte (or two), read once a sample for all streams of a core.

kernel.py's network, its three large matrices by vocoder_core.recurrent.integers. What one sample of all streams reads,
for H = 896, L = Q = 1024 and the tier int8:

    once for all    recurrent (3H, H)  2.4 MB  +  first (L, H)  0.9 MB  +  second (Q, L)  1.0 MB        = 4.4 MB
    each stream     table: one row 11 KB; state and features: 0.9 and 1.0 KB; gates, logits             fp32

    h (fp32) --levels--> bytes --> recurrent --> product --+--> gates (fp32) --> h --levels--> bytes --> first
    codes[t-1] --> table -------------------> entry -------'                                              |
    codes[t] <-- draw (fp64 sums) <-- logits <-- second <-- bytes <--levels-- ReLU(features) <------------'

A stream says the same samples whatever streams are beside it: its sums are whole numbers, all else is its own.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.integers import Matrix, room
from vocoder_core.recurrent.integers_kernel import levels, product
from vocoder_core.recurrent.primitives import affine, draw, exactly, update


class Net(NamedTuple):
    """The decoder's weights."""

    table: np.ndarray  # (Q, 3H): embedding and input weights, folded
    conditioning: np.ndarray  # (3H, 2C)
    recurrent: Matrix  # (3H, H)
    recurrent_bias: np.ndarray
    first: Matrix  # (L, H)
    first_bias: np.ndarray
    second: Matrix  # (Q, L)
    second_bias: np.ndarray


class Work(NamedTuple):
    """What B streams remember, `hidden`, and room for one sample of each."""

    hidden: np.ndarray  # (B, H)
    state: np.ndarray  # (B, ...) whole numbers of it, integers.room
    state_step: np.ndarray  # (B,) and their scale
    condition: np.ndarray  # (B, 3H)
    product: np.ndarray  # (B, 3H)
    features: np.ndarray  # (B, L)
    levels: np.ndarray  # (B, ...) whole numbers of these
    level_step: np.ndarray  # (B,)
    logits: np.ndarray  # (B, Q)


def silent(net: Net, rows: int) -> Work:
    """What so many streams remember before their first sample."""
    gates, linear, classes = len(net.conditioning), len(net.first_bias), len(net.second_bias)
    hidden, condition, product, features, logits = (
        np.zeros((rows, size), np.float32) for size in (gates // 3, gates, gates, linear, classes)
    )
    state, levels = room(net.first, gates // 3, rows), room(net.second, linear, rows)
    state += net.first.shift
    steps = np.zeros((2, rows), np.float32)
    return Work(hidden, state, steps[0], condition, product, features, levels, steps[1], logits)


@exactly
def hear(net: Net, work: Work, latents: np.ndarray) -> None:
    """Begin a frame: its part of the gates, of latents (B, 2C)."""
    none = np.zeros(work.condition.shape[1], np.float32)
    for b in range(len(latents)):
        affine(net.conditioning, none, latents[b], work.condition[b])


@exactly
def advance(net: Net, work: Work, before: np.ndarray) -> None:
    """work.logits (B, Q) of the next sample of each stream, after the codes (B,)."""
    product(net.recurrent, net.recurrent_bias, work.state, work.state_step, work.product)
    for b in range(len(before)):
        update(net.table[before[b]], work.condition[b], work.product[b], work.hidden[b])
        work.state_step[b] = levels(work.hidden[b], net.first.largest, net.first.shift, work.state[b])
    product(net.first, net.first_bias, work.state, work.state_step, work.features)
    for b in range(len(before)):
        features = work.features[b]
        for j in range(len(features)):
            features[j] = max(features[j], np.float32(0))
        work.level_step[b] = levels(features, net.second.largest, net.second.shift, work.levels[b])
    product(net.second, net.second_bias, work.levels, work.level_step, work.logits)


@exactly
def generate(
    net: Net, work: Work, latents: np.ndarray, uniforms: np.ndarray, sharpness: Any, codes: np.ndarray
) -> None:
    """The next samples of B streams: codes[:, 1:] (B, n + 1) int64, codes[:, 0] being those before them.

    latents (B, F, 2C) float32: the frames of these n samples, n a multiple of F. uniforms (B, n) float64. sharpness:
    1 / temperature, float32. What is remembered is carried on in `work`.
    """
    hop = uniforms.shape[1] // max(latents.shape[1], 1)
    for t in range(uniforms.shape[1]):
        if t % hop == 0:
            hear(net, work, latents[:, t // hop])
        advance(net, work, codes[:, t])
        for b in range(len(codes)):
            codes[b, t + 1] = draw(work.logits[b], sharpness, uniforms[b, t])
