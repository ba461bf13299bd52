"""Products in whole numbers, compiled: what integers.py defines, number for number, in the layout of the matrix.

    AMX        a panel of rows at a time, sixteen vectors at a time: each weight is read once for them all (amx.py)
    VNNI       the same of four vectors at a time
    anywhere   a row at a time, all vectors; a loop that compilers turn into products of 16-bit pairs

Scales and biases are applied without fused operations, so that results do not depend on what a processor has.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numpy as np

from . import amx, vnni
from .integers import GROUP, Matrix
from .primitives import MAGNITUDE, strictly

_F = np.float32
_HALF = _F(0.5)
_PLACE = numba.uintp  # in an array: never behind its end, so that loops need not look and become vector instructions


@strictly
def extent(values: np.ndarray) -> Any:
    """The largest of |values| (n,), none of them NaN: of their bits, which floats without a sign are ordered by."""
    high = np.int32(0)
    for k in range(len(values)):
        high = max(high, np.int32(_F(values[k]).view(np.int32) & MAGNITUDE))
    return np.int32(high).view(np.float32)


@strictly
def levels(values: np.ndarray, largest: int, shift: int, out: np.ndarray) -> Any:
    """out <- whole numbers of values (C,) float32, `shift` more than they are; their scale."""
    high = extent(values)
    inverse = _F(largest) / high if high > 0 else _F(0)
    for j in range(len(values)):
        out[j] = np.int32(np.floor(values[j] * inverse + _HALF)) + np.int32(shift)
    return high / _F(largest)


@strictly
def scaled(matrix: Matrix, bias: np.ndarray, sums: np.ndarray, first: int, step: Any, out: np.ndarray) -> None:
    """out[first ...] <- the sums (n,) int32 of these rows as numbers; those behind the last row are dropped."""
    for k in range(_PLACE(min(len(sums), len(out) - first))):
        i = _PLACE(first) + k
        out[i] = (matrix.scale[i] * step) * _F(sums[k] - matrix.correction[i]) + bias[i]


def product(matrix: Matrix, bias: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: np.ndarray) -> None:
    """out (B, R) = matrix @ vectors + bias (R,), of whole numbers (B, C), `integers.room`, with scales (B,)."""
    raise NotImplementedError("for kernels alone; below is what they compile")


@numba.extending.overload(product, strict=False)
def _product(matrix: Any, bias: Any, codes: Any, steps: Any, out: Any) -> Any:
    wide = _by_tiles_or_panels if amx.known() else _by_panels_of_64
    made = {2: _by_rows, 4: _by_panels_of_32, 5: wide}[matrix.types[0].ndim]
    return lambda matrix, bias, codes, steps, out: made(matrix, bias, codes, steps, out)


def room(matrix: Matrix, columns: int, rows: int) -> np.ndarray:
    """integers.room, not cleared: what lies behind the last column meets weights of zero."""
    raise NotImplementedError("for kernels alone; below is what they compile")


@numba.extending.overload(room, strict=False)
def _room(matrix: Any, columns: Any, rows: Any) -> Any:
    if matrix.types[0].ndim == 2:
        return lambda matrix, columns, rows: np.empty((rows, columns), np.int16)
    return lambda matrix, columns, rows: np.empty((rows, matrix.weights.shape[1] * GROUP), np.uint8)


@strictly
def products(matrix: Matrix, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out (B, R) = matrix @ vectors (B, C) of floats + bias (R,), each rounded by its own extent."""
    codes, steps = room(matrix, x.shape[1], len(x)), np.empty(len(x), np.float32)
    for b in range(len(x)):
        steps[b] = levels(x[b], matrix.largest, matrix.shift, codes[b])
    product(matrix, bias, codes, steps, out)


@strictly
def _by_rows(matrix: Matrix, bias: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: np.ndarray) -> None:
    """Rows of weights one after another: each meets all vectors while it lies in the first cache."""
    rows, columns = matrix.weights.shape
    for i in range(rows):
        weight = matrix.weights[i]
        for b in range(len(codes)):
            x, total = codes[b], np.int32(0)
            for j in range(columns):
                total = np.int32(total + np.int32(np.int32(weight[j]) * np.int32(x[j])))
            out[b, i] = (matrix.scale[i] * steps[b]) * _F(total) + bias[i]


def _panels(lanes: int, panels: dict[int, Any]) -> Any:
    """The loop over panels of 4 `lanes` rows; panels: how many vectors at a time -> the instruction's loop."""
    one, two, four = panels[1], panels[2], panels.get(4, panels[1])
    size, most = 4 * lanes, max(panels)

    @strictly
    def by_panels(matrix: Matrix, bias: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: np.ndarray) -> None:
        groups, stride = matrix.weights.shape[1], codes.strides[0]
        sums = np.empty((most, size), np.int32)
        place, bytes_of_panel = numba.uintp(matrix.weights.ctypes.data), groups * size * 4
        vectors, made = numba.uintp(codes.ctypes.data), numba.uintp(sums.ctypes.data)
        for p in range(len(matrix.weights)):
            weights, b = place + numba.uintp(p * bytes_of_panel), 0
            while b < len(codes):
                x, left = vectors + numba.uintp(b * stride), len(codes) - b
                if most >= 4 and left >= 4:
                    four(weights, x, stride, groups, made)
                    count = 4
                elif left >= 2:
                    two(weights, x, stride, groups, made)
                    count = 2
                else:
                    one(weights, x, stride, groups, made)
                    count = 1
                for k in range(count):
                    scaled(matrix, bias, sums[k], p * size, steps[b + k], out[b + k])
                b += count

    return by_panels


_by_panels_of_64 = _panels(16, {1: vnni.panel_16_1, 2: vnni.panel_16_2, 4: vnni.panel_16_4})
_by_panels_of_32 = _panels(8, {1: vnni.panel_8_1, 2: vnni.panel_8_2})


@strictly
def _by_tiles_or_panels(
    matrix: Matrix, bias: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: np.ndarray
) -> None:
    """Compiled for a processor with tiles; whether this process may use them is in the matrix."""
    if 0 < matrix.tiles <= len(codes):
        _by_tiles(matrix, bias, codes, steps, out)
    else:
        _by_panels_of_64(matrix, bias, codes, steps, out)


@strictly
def _by_tiles(matrix: Matrix, bias: np.ndarray, codes: np.ndarray, steps: np.ndarray, out: np.ndarray) -> None:
    """Passes of equally many vectors, 16 at most: of one shape, so that some may be met twice."""
    panels, groups, stride, rows = len(matrix.weights), matrix.weights.shape[1], codes.strides[0], len(codes)
    passes = (rows + amx.MOST - 1) // amx.MOST
    count = (rows + passes - 1) // passes
    shapes, sums = _shapes(count, groups), np.empty((count, 64), np.int32)
    weights, vectors = numba.uintp(matrix.weights.ctypes.data), numba.uintp(codes.ctypes.data)
    made = numba.uintp(sums.ctypes.data)
    amx.shape(numba.uintp(shapes.ctypes.data))
    for p in range(panels):
        for n in range(passes):
            first = min(n * count, rows - count)
            amx.panel(weights, vectors + numba.uintp(first * stride), stride, groups, made)
            for k in range(count):
                scaled(matrix, bias, sums[k], p * 64, steps[first + k], out[first + k])
        weights += numba.uintp(groups * 256)
    amx.release()


@strictly
def _shapes(vectors: int, groups: int) -> np.ndarray:
    """What amx.shape reads, (64,) bytes: from 16 on two for the bytes of a tile's rows, from 48 on how many it has."""
    shapes, left = np.zeros(64, np.uint8), groups % amx.DEEP or amx.DEEP
    shapes[0] = 1  # the kind of table
    for tile in range(8):
        shapes[16 + 2 * tile], shapes[48 + tile] = 64, vectors
    shapes[48 + 5] = amx.DEEP
    shapes[16 + 2 * 6], shapes[48 + 7] = GROUP * left, left
    return shapes
