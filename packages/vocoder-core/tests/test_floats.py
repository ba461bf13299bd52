"""Products in floats: exact where numbers are whole, near NumPy's in float64, and of a vector whatever is beside it."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from vocoder_core.recurrent import floats, products
from vocoder_core.recurrent.floats import LANES

SHAPES = [(1, 1), (3, 16), (70, 37), (13, 15), (64, 256), (9, 130)]  # (R, C)


@numba.njit
def product(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    products.affine(weight, bias, x, out)


def multiplied(weight: np.ndarray, bias: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(B, R)."""
    out = np.full((len(vectors), len(bias)), np.nan, np.float32)
    product(weight, bias, vectors, out)
    return out


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("halves", [False, True])
def test_whole_numbers_are_added_up_exactly(rows: int, columns: int, halves: bool) -> None:
    """Nothing left out, nothing twice, all in its place: of one vector and of up to eleven at once."""
    rng = np.random.default_rng(rows)
    weight, bias, vectors = (rng.integers(-99, 100, shape) for shape in ((rows, columns), rows, (11, columns)))
    expected = vectors @ weight.T + bias
    stored = weight.astype(np.float16).view(np.int16) if halves else weight.astype(np.float32)
    for count in range(1, 12):
        found = multiplied(stored, bias.astype(np.float32), vectors[:count].astype(np.float32))
        np.testing.assert_array_equal(found, expected[:count])


@pytest.mark.parametrize(("rows", "columns"), SHAPES)
@pytest.mark.parametrize("halves", [False, True])
def test_a_vector_s_product_does_not_hang_on_the_others(rows: int, columns: int, halves: bool) -> None:
    rng = np.random.default_rng(0)
    weight, bias, vectors = (rng.standard_normal(shape) for shape in ((rows, columns), rows, (11, columns)))
    stored = weight.astype(np.float16).view(np.int16) if halves else weight.astype(np.float32)
    bias, vectors = bias.astype(np.float32), vectors.astype(np.float32)
    alone = np.concatenate([multiplied(stored, bias, vector[None]) for vector in vectors])
    for count in range(2, 12):
        np.testing.assert_array_equal(multiplied(stored, bias, vectors[:count]), alone[:count])
    exact = weight.astype(np.float16 if halves else np.float32).astype(np.float64)
    np.testing.assert_allclose(alone, vectors.astype(np.float64) @ exact.T + bias, rtol=1e-5, atol=1e-5)
    single = np.empty(rows, np.float32)
    floats.affine(stored, bias, vectors[3], single)
    np.testing.assert_array_equal(single, alone[3])


def test_every_16_bit_float_is_itself_in_every_lane() -> None:
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    weight = np.zeros((2**16, LANES), np.float16)
    weight[np.arange(2**16), np.arange(2**16) % LANES] = np.where(np.isfinite(every), every, 1)
    found = multiplied(weight.view(np.int16), np.zeros(2**16, np.float32), np.full((1, LANES), 0.5, np.float32))[0]
    np.testing.assert_array_equal(found, weight.sum(axis=1, dtype=np.float32) / 2)


def test_vectors_need_not_lie_side_by_side() -> None:
    """Columns of an array as vectors, and as what is made."""
    rng = np.random.default_rng(0)
    weight, bias, x = (rng.integers(-9, 9, shape).astype(np.float32) for shape in ((5, 20), 5, (20, 3)))
    out = np.zeros((5, 3), np.float32)
    product(weight, bias, x.T, out.T)
    np.testing.assert_array_equal(out, weight @ x + bias[:, None])
    floats.affine(weight, bias, x[:, 1], out[:, 2])
    np.testing.assert_array_equal(out[:, 2], out[:, 1])
