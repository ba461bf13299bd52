"""One step of the training recurrence in one pass over memory: what recurrence._advance and _retreat do, compiled.

A row of the batch at a time, so that its dozen vectors of H floats stay in the first cache; each short loop writes one
of them, which is what LLVM vectorises without asking whether they overlap.
"""

from __future__ import annotations

import numpy as np

from .primitives import exactly, sigmoid, tanh

_ONE = np.float32(1)


@exactly
def advance(
    table: np.ndarray,
    codes: np.ndarray,
    condition: np.ndarray,
    product: np.ndarray,
    before: np.ndarray,
    saved: np.ndarray,
    after: np.ndarray,
) -> None:
    """See recurrence._advance; float32, C order."""
    batch, width = before.shape
    for b in range(batch):
        entry, frame, p, h, out = table[codes[b]], condition[b], product[b], before[b], after[b]
        r, z, n, p_n = saved[0, b], saved[1, b], saved[2, b], saved[3, b]
        for j in range(width):
            r[j] = sigmoid(entry[j] + frame[j] + p[j])
        for j in range(width):
            z[j] = sigmoid(entry[width + j] + frame[width + j] + p[width + j])
        for j in range(width):
            p_n[j] = p[2 * width + j]
        for j in range(width):
            n[j] = tanh(entry[2 * width + j] + frame[2 * width + j] + r[j] * p_n[j])
        for j in range(width):
            out[j] = n[j] + z[j] * (h[j] - n[j])


@exactly
def retreat(
    grad: np.ndarray,
    codes: np.ndarray,
    before: np.ndarray,
    saved: np.ndarray,
    d_hidden: np.ndarray,
    through: np.ndarray,
    d_table: np.ndarray,
    d_condition: np.ndarray,
) -> None:
    """See recurrence._retreat; float32, C order."""
    batch, width = before.shape
    own = np.empty(width, np.float32)
    for b in range(batch):
        d, g, h, d_p, d_entry, d_frame = d_hidden[b], grad[b], before[b], through[b], d_table[codes[b]], d_condition[b]
        r, z, n, p_n = saved[0, b], saved[1, b], saved[2, b], saved[3, b]
        for j in range(width):
            d[j] += g[j]
        for j in range(width):
            own[j] = d[j] * (_ONE - z[j]) * (_ONE - n[j] * n[j])
        for j in range(width):
            d_p[j] = own[j] * p_n[j] * r[j] * (_ONE - r[j])
        for j in range(width):
            d_p[width + j] = d[j] * (h[j] - n[j]) * z[j] * (_ONE - z[j])
        for j in range(width):
            d_p[2 * width + j] = own[j] * r[j]
        for j in range(width):
            d[j] *= z[j]
        _add(d_p[: 2 * width], d_entry[: 2 * width], d_frame[: 2 * width])
        _add(own, d_entry[2 * width :], d_frame[2 * width :])


@exactly
def _add(values: np.ndarray, one: np.ndarray, two: np.ndarray) -> None:
    for j in range(len(values)):
        one[j] += values[j]
    for j in range(len(values)):
        two[j] += values[j]
