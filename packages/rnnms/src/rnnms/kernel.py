"""The decoder of model.py for CPUs, one sample at a time, its embedding folded into the input weights (Decoder.folded).

The same in ten lines of torch: cell.py. Given the same uniforms the two draw the same labels, up to rounding. The loop
around it is vocoder_core.recurrent.loop; the products, in floats or in whole numbers, vocoder_core.recurrent.products.

What one sample reads, for H = 896, L = Q = 1024 (row-major, one block of memory on large pages):

                                                                       float32     int8
    codes[t-1] --> table         (Q, 3H)   one row                       11 KB    11 KB   embedding and input weights
    frame      --> conditioning  (3H, 2C)  once in hop samples           14 KB    14 KB   2.8 MB / 200
    h[t-1]     --> recurrent     (3H, H)   every row, in order          9.6 MB   2.4 MB   three gates
    h[t]       --> first         (L, H)    every row, in order          3.7 MB   0.9 MB   ReLU: about half are 0
               --> second        (L, Q)    in floats rows of the others 2.1 MB   1.0 MB   softmax, draw
                                                             sum:      15.4 MB   4.4 MB   a sample

Each weight is used once a sample and stream, so the speed is that at which one core reads its caches; several streams
on a core share what is read. A stream says the same samples whatever streams are beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.loop import loop_of
from vocoder_core.recurrent.primitives import exactly, update
from vocoder_core.recurrent.products import affine, affine_of_active


class Net(NamedTuple):
    """The decoder's weights; the large ones are floats or matrices of whole numbers."""

    table: np.ndarray  # (Q, 3H): embedding and input weights, folded
    conditioning: np.ndarray  # (3H, 2C)
    recurrent: Any  # (3H, H)
    recurrent_bias: np.ndarray
    first: Any  # (L, H)
    first_bias: np.ndarray
    second: Any  # (L, Q); of whole numbers (Q, L)
    second_bias: np.ndarray
    hop_length: int


class Work(NamedTuple):
    """What B streams remember, `hidden`, and room for one sample of each."""

    hidden: np.ndarray  # (B, H)
    condition: np.ndarray  # (B, 3H)
    product: np.ndarray  # (B, 3H)
    features: np.ndarray  # (B, L)
    logits: np.ndarray  # (B, Q)
    active: np.ndarray  # (L,) int64


@exactly
def advance(net: Net, work: Work, latents: np.ndarray, lines: Any, t: int, k: int) -> None:
    """work.logits of sample t. latents (B, F, 2C) float32; lines: codes (B, 1 + n) int64."""
    (codes,) = lines
    if t % net.hop_length == 0:
        none = np.zeros(work.condition.shape[1], np.float32)
        affine(net.conditioning, none, np.ascontiguousarray(latents[:, t // net.hop_length]), work.condition)
    affine(net.recurrent, net.recurrent_bias, work.hidden, work.product)
    for b in range(len(codes)):
        update(net.table[codes[b, t]], work.condition[b], work.product[b], work.hidden[b])
    affine(net.first, net.first_bias, work.hidden, work.features)
    affine_of_active(net.second, net.second_bias, work.features, work.active, work.logits)


@exactly
def take(net: Net, work: Work, latents: np.ndarray, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """Stream b says a code."""
    lines[0][b, t + 1] = label


speak = loop_of(advance, take)
