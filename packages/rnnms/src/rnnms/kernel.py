"""The exact fp32 kernel for CPUs: one stream of samples on one core, compiled by numba when it is first used.

The decoder of model.py, one sample at a time, its embedding folded into the input weights (Decoder.folded). The same in
ten lines of torch: loops.TorchLoop. Given the same uniforms the two draw the same labels, up to rounding.

What one sample reads, for H = 896, L = Q = 1024 (float32, row-major, one block of memory on large pages):

    codes[t-1] --> table         (Q, 3H)   one row               11 KB   embedding and input weights, folded
    frame      --> conditioning  (3H, 2C)  once in hop samples   14 KB   input weights of the mel: 2.8 MB / 200
    h[t-1]     --> recurrent     (3H, H)   every row, in order  9.6 MB   three gates: reset, update, candidate
    h[t]       --> first         (L, H)    every row, in order  3.7 MB   ReLU: about half of the L features are 0,
               --> second        (L, Q)    rows of the others   2.1 MB   (of 4.2) fc2 transposed; softmax, draw
                                                         sum:  15.4 MB a sample

Each weight is used once a sample, so the speed is that at which one core reads its last-level cache: 70 GB/s are 4,500
samples/s. The same in one byte a weight: integers_kernel.py. What the kernel is made of, and why so:
vocoder_core.recurrent.primitives.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from vocoder_core.recurrent.primitives import affine, affine_of_active, draw, exactly, update

Float = Any  # a float32, as numba infers it


@exactly
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
    sharpness: Float,
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
    active = np.empty(len(first_bias), np.int64)
    logits = np.empty(len(second_bias), np.float32)
    none = np.zeros(len(recurrent_bias), np.float32)
    hop = len(uniforms) // max(len(latents), 1)
    for t in range(len(uniforms)):
        if t % hop == 0:
            affine(conditioning, none, latents[t // hop], condition)
        affine(recurrent, recurrent_bias, hidden, product)
        update(table[codes[t]], condition, product, hidden)
        affine(first, first_bias, hidden, features)
        affine_of_active(second, second_bias, features, active, logits)
        codes[t + 1] = draw(logits, sharpness, uniforms[t])
