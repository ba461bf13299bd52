"""Products in whole numbers, for kernels that wait for their weights: one or two bytes a weight in place of four.

Every row of a matrix W (R, C) has a scale of its own, and so has every vector X (C,) that it meets:

    W[i, j] ~ scale[i] w[i, j]      X[j] ~ s x[j]      y[i] = scale[i] s sum_j w[i, j] x[j] + bias[i]

w and x are whole numbers, rounded to the nearest. Their sums are exact in any order, so that a stream says the same
samples alone and in a batch, by any instructions, on any machine. Here is the definition in NumPy; what runs is
integers_kernel.py, which the tests hold against it number for number.

    tier     w                x of a state           x of features >= 0     what a product reads
    int8     -127 ... 127     -127 ... 127           0 ... 255              C bytes a row
    int16    -4095 ... 4095   as far as no sum can leave 32 bits            2 C bytes a row

Weights as processors with VNNI read them (one instruction multiplies four bytes of each lane and adds them up):

    (R, C) -> [panel of 4 registers][group of 4 columns][register][lane: a row][4 bytes: its columns]

    x[4g ... 4g + 3], in all lanes      panel 0: rows 0 ... 63 (lanes 16) or 0 ... 31 (lanes 8)
               |                        group 0 | group 1 | group 2 | ...           in memory in this order: a product
               v                        r0 r1 r2 r3 | r0 r1 r2 r3 | ...             reads it once from end to end
    sum[lane] += w[lane, 4g] x[4g] + ... + w[lane, 4g + 3] x[4g + 3]

There x is a byte without sign: of a state 128 more than it is, which `correction` = 128 sum_j w[i, j] takes off again.
Several vectors meet the same layout in tiles, sixteen at a time, where a processor has AMX (amx.py).
Elsewhere rows lie one after another, w in 8 or 16 bits, x in 16: instructions that multiply pairs of those and add them
up are in every x86 since 2013 (AVX2), and compilers find them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from .streams import in_one_block

Tier = Literal["int8", "int16"]
LARGEST: dict[Tier, int] = {"int8": 127, "int16": 4095}  # of weights
REGISTERS = 4  # of a panel: so many sums are under way at once
GROUP = 4  # columns
SHIFT = 128  # of signed vectors where bytes have no sign
_HALF = np.float32(0.5)


class Matrix(NamedTuple):
    """A matrix as the kernels read it, for vectors with a sign (states) or without (features after a ReLU)."""

    weights: np.ndarray  # int8 (P, G, 4, 16, 4) or (P, G, 32, 4), or (R, C) int8 or int16; see above
    scale: np.ndarray  # (R,) float32
    correction: np.ndarray  # (R,) int32
    largest: int  # whole number in a vector
    shift: int  # of its bytes: 128 or 0
    tiles: int  # so many vectors or more meet it in tiles (amx.py); 0: never


def rounded(weight: np.ndarray, largest: int) -> tuple[np.ndarray, np.ndarray]:
    """Whole numbers (R, C) int16 in -largest ... largest, and their scales (R,) float32; 0 of a row of zeros."""
    extent = np.abs(weight).max(axis=1, initial=0).astype(np.float32)
    scale = extent / np.float32(largest)
    inverse = np.divide(np.float32(largest), extent, out=np.zeros_like(extent), where=extent > 0)
    return np.floor(weight.astype(np.float32) * inverse[:, None] + _HALF).astype(np.int16), scale


def levels(x: np.ndarray, largest: int) -> tuple[np.ndarray, np.float32]:
    """The same of a vector (C,) float32: whole numbers (C,) int16 and their scale."""
    whole, scale = rounded(x[None], largest)
    return whole[0], scale[0]


def product(weight: np.ndarray, scale: np.ndarray, bias: np.ndarray, x: np.ndarray, step: np.float32) -> np.ndarray:
    """y (R,) float32 of whole numbers (R, C) and (C,): the slow one, in 64 bits."""
    sums = weight.astype(np.int64) @ x.astype(np.int64)
    assert np.abs(sums).max(initial=0) < 2**31, "kernels add up in 32 bits"
    made: np.ndarray = (scale * step) * sums.astype(np.float32) + bias
    return made


def largest_level(whole: list[np.ndarray], signed: bool, tier: Tier) -> int:
    """The largest whole number that a vector which meets these w (R, C) may hold."""
    if tier == "int8":
        return LARGEST["int8"] if signed else 255
    sums = (np.abs(w).sum(axis=1, dtype=np.int64).max(initial=1) for w in whole)
    return min(2**15 - 1, *((2**31 - 1) // int(total) for total in sums))


def matrices(parts: Sequence[tuple[Tensor, bool]], tier: Tier, lanes: int, tiles: int | None = None) -> list[Matrix]:
    """Matrices of weights (R, C), each with whether its vectors have a sign, together on large pages.

    lanes: 16 or 8 for the layout of VNNI, int8 alone; 0 for rows. Those of one sign can share a vector.
    tiles: see Matrix, of 16 lanes; None where they are faster and this process may use them.
    """
    if tiles is None:
        tiles = _tiles() if lanes == 16 and tier == "int8" else 0
    whole = [rounded(weight.detach().float().cpu().numpy(), LARGEST[tier]) for weight, _ in parts]
    arrays = in_one_block([laid_out(w, tier, lanes) for w, _ in whole])
    of_sign = {sign: [w for (w, _), (_, signed) in zip(whole, parts) if signed == sign] for sign in (True, False)}
    largest = {sign: largest_level(ws, sign, tier) for sign, ws in of_sign.items() if ws}
    made = []
    for weights, (w, scale), (_, signed) in zip(arrays, whole, parts):
        shift = SHIFT if signed and weights.ndim > 2 else 0
        correction = (shift * w.sum(axis=1, dtype=np.int32)).astype(np.int32)
        made.append(Matrix(weights, scale, correction, largest[signed], shift, tiles))
    return made


def _tiles() -> int:
    from . import amx  # imports numba

    return amx.FEWEST if amx.granted() else 0


def laid_out(whole: np.ndarray, tier: Tier, lanes: int) -> np.ndarray:
    """w (R, C) as it is read; zeros where there is no row or column."""
    if not lanes or tier == "int16":
        return whole.astype(np.int8 if tier == "int8" else np.int16)
    (rows, columns), panel = whole.shape, REGISTERS * lanes
    full = np.zeros((-(-rows // panel) * panel, -(-columns // GROUP) * GROUP), np.int8)
    full[:rows, :columns] = whole
    split = full.reshape(-1, panel, full.shape[1] // GROUP, GROUP).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(split.reshape(*split.shape[:2], REGISTERS, lanes, GROUP) if lanes == 16 else split)


def room(matrix: Matrix, columns: int, rows: int) -> np.ndarray:
    """Where `rows` vectors (rows, columns) for a matrix are kept as whole numbers: 0 where there is no column."""
    if matrix.weights.ndim == 2:
        return np.zeros((rows, columns), np.int16)
    return np.zeros((rows, matrix.weights.shape[1] * GROUP), np.uint8)
