"""Products of kernels with whatever their weights are: arrays of floats, or matrices in whole numbers.

A kernel written with these runs in every tier: which products it makes is decided when it is compiled, by the types of
its weights. Floats: floats.py and primitives.py; whole numbers: integers_kernel.py.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numpy as np

from . import floats, integers_kernel, primitives
from .primitives import exactly


def affine(weight: Any, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out (R,) = weight (R, C) @ x (C,) + bias (R,); or of B vectors at once, x (B, C), out (B, R)."""
    raise NotImplementedError("for kernels alone; below is what they compile")


def affine_of_active(weight: Any, bias: np.ndarray, x: np.ndarray, active: np.ndarray, out: np.ndarray) -> None:
    """out (Q,) = W max(x, 0) + bias, x (L,): weight is W transposed (L, Q) in floats, W (Q, L) in whole numbers.

    Or of B vectors at once: x (B, L), out (B, Q). active: (L,) int64, room for the places where x > 0, of whose floats
    alone anything is read. x is overwritten.
    """
    raise NotImplementedError("for kernels alone; below is what they compile")


@numba.extending.overload(affine, strict=False)
def _affine(weight: Any, bias: Any, x: Any, out: Any) -> Any:
    if x.ndim == 1:
        made = floats.affine if isinstance(weight, numba.types.Array) else _one
    else:
        made = floats.affine_of_rows if isinstance(weight, numba.types.Array) else integers_kernel.products
    return lambda weight, bias, x, out: made(weight, bias, x, out)


@numba.extending.overload(affine_of_active, strict=False)
def _affine_of_active(weight: Any, bias: Any, x: Any, active: Any, out: Any) -> Any:
    if isinstance(weight, numba.types.Array):
        made = primitives.affine_of_active if x.ndim == 1 else primitives.affine_of_active_rows
        return lambda weight, bias, x, active, out: made(weight, bias, x, active, out)
    if x.ndim == 1:
        return lambda weight, bias, x, active, out: _one(weight, bias, np.maximum(x, np.float32(0)), out)
    return lambda weight, bias, x, active, out: _positive(weight, bias, x, out)


@exactly
def _one(matrix: Any, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    integers_kernel.products(matrix, bias, x.reshape(1, len(x)), out.reshape(1, len(out)))


@exactly
def _positive(matrix: Any, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    for b in range(len(x)):
        for j in range(x.shape[1]):
            x[b, j] = max(x[b, j], np.float32(0))
    integers_kernel.products(matrix, bias, x, out)


@exactly
def repeated(weight: Any, bias: np.ndarray, x: np.ndarray, out: np.ndarray, times: int) -> None:
    """`affine` so many times, to be timed."""
    for _ in range(times):
        affine(weight, bias, x, out)
