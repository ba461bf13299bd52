"""Products in whole numbers: what is rounded by closed forms, and every kernel number for number the slow product."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np
import pytest
import torch

from vocoder_core.recurrent import amx, integers, integers_kernel, vnni
from vocoder_core.recurrent.integers import Matrix, Tier
from vocoder_core.recurrent.streams import choose, shares

TILES = -16  # lanes, and tiles from one vector on
LAYOUTS: list[tuple[Tier, int]] = [("int8", TILES), ("int8", 16), ("int8", 8), ("int8", 0), ("int16", 0)]


@numba.njit(nogil=True)
def product(matrix: Matrix, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    integers_kernel.products(matrix, bias, x, out)


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def matrix_of(weight: np.ndarray, signed: bool, tier: Tier, lanes: int) -> Matrix:
    if abs(lanes) > vnni.lanes():
        pytest.skip(f"this processor has no products of bytes in {lanes} lanes")
    if lanes == TILES and not amx.granted():
        pytest.skip("this processor has no tiles, or its system lends none")
    (made,) = integers.matrices([(torch.from_numpy(weight), signed)], tier, abs(lanes), int(lanes == TILES))
    return made


def multiplied(matrix: Matrix, bias: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """matrix @ each of the vectors (B, C) + bias, rounded by the kernel: (B, R)."""
    out = np.full((len(vectors), len(bias)), np.nan, np.float32)
    product(matrix, bias, vectors, out)
    return out


# ---- what is rounded


def test_whole_numbers_are_the_nearest_and_reach_to_the_ends() -> None:
    whole, scale = integers.rounded(np.array([[1.0, -0.5, 0.26], [0, 0, 0], [-2, 1.99, 2]], np.float32), 4)
    np.testing.assert_array_equal(whole, [[4, -2, 1], [0, 0, 0], [-4, 4, 4]])
    np.testing.assert_allclose(scale, [0.25, 0, 0.5])


@pytest.mark.parametrize("largest", [127, 255, 4095, 32767])
def test_no_number_is_moved_by_more_than_half_a_step(largest: int) -> None:
    x = numbers(10_000)
    whole, step = integers.levels(x, largest)
    assert np.abs(whole).max() == largest
    assert np.abs(whole * np.float64(step) - x).max() <= 0.502 * step


@pytest.mark.parametrize(("dtype", "shift"), [(np.int16, 0), (np.uint8, 128), (np.uint8, 0)])
def test_the_kernel_rounds_as_the_definition_does(dtype: Any, shift: int) -> None:
    x = numbers(1001) if shift or dtype == np.int16 else np.abs(numbers(1001))
    largest = 255 if dtype == np.uint8 and not shift else 127
    out = np.zeros(1001, dtype)
    step = integers_kernel.levels(x, largest, shift, out)
    expected, expected_step = integers.levels(x, largest)
    np.testing.assert_array_equal(out.astype(np.int64) - shift, expected)
    assert step == expected_step


def test_a_vector_of_zeros_is_zeros() -> None:
    out = np.full(7, 9, np.uint8)
    assert integers_kernel.levels(np.zeros(7, np.float32), 127, 128, out) == 0
    assert (out == 128).all()


# ---- products


@pytest.mark.parametrize(("tier", "lanes"), LAYOUTS)
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (70, 37), (64, 256), (200, 1024)])
def test_a_product_is_the_slow_one_to_the_last_bit(
    tier: Tier, lanes: int, signed: bool, rows: int, columns: int
) -> None:
    """Of one vector and of several at a time, rows and columns that fill no register."""
    weight, bias = numbers(rows, columns), numbers(rows, seed=1)
    matrix = matrix_of(weight, signed, tier, lanes)
    vectors = numbers(7, columns, seed=2) if signed else np.abs(numbers(7, columns, seed=2))
    whole, scale = integers.rounded(weight, integers.LARGEST[tier])
    expected = [integers.product(whole, scale, bias, *integers.levels(x, matrix.largest)) for x in vectors]
    for count in (1, 2, 3, 7):
        np.testing.assert_array_equal(multiplied(matrix, bias, vectors[:count]), expected[:count])
    error = np.abs(np.array(expected) - (vectors @ weight.T + bias)).max()
    assert error < {"int8": 0.12, "int16": 0.012}[tier] * columns**0.5


@pytest.mark.parametrize(("tier", "lanes"), LAYOUTS)
@pytest.mark.parametrize(("rows", "columns"), [(70, 37), (130, 192), (31, 250)])
def test_so_many_vectors_at_once_are_as_many_one_after_another(tier: Tier, lanes: int, rows: int, columns: int) -> None:
    """Passes of 16, 4, 2 and 1 vectors, and those that such passes leave."""
    weight, bias, vectors = numbers(rows, columns), numbers(rows, seed=1), numbers(40, columns, seed=2)
    matrix = matrix_of(weight, True, tier, lanes)
    whole, scale = integers.rounded(weight, integers.LARGEST[tier])
    expected = np.stack([integers.product(whole, scale, bias, *integers.levels(x, matrix.largest)) for x in vectors])
    for count in range(1, 41):
        np.testing.assert_array_equal(multiplied(matrix, bias, vectors[:count]), expected[:count])


@pytest.mark.parametrize(("tier", "lanes"), LAYOUTS)
@pytest.mark.parametrize("signed", [True, False])
def test_the_largest_sums_there_are_fit(tier: Tier, lanes: int, signed: bool) -> None:
    """All weights and all of the vector at their ends."""
    weight, vector = np.ones((3, 2048), np.float32), np.ones((1, 2048), np.float32)
    weight[1] = -1
    weight[2, ::2] = -1
    found = multiplied(matrix_of(weight, signed, tier, lanes), np.zeros(3, np.float32), vector)
    np.testing.assert_allclose(found, [[2048, -2048, 0]], rtol=1e-5, atol=1e-3)


def test_matrices_of_one_sign_can_share_a_vector() -> None:
    parts = [(torch.from_numpy(numbers(rows, 900)), rows < 50) for rows in (9, 20, 90)]
    first, second, features = integers.matrices(parts, "int16", 0)
    assert first.largest == second.largest and first.largest < 4096
    sums = max(np.abs(m.weights.astype(np.int64)).sum(1).max() for m in (first, second))
    assert sums * first.largest < 2**31 <= sums * (first.largest + 1)
    assert [matrix.weights.ctypes.data % 64 for matrix in (first, second, features)] == [0, 0, 0]


def test_threads_have_tiles_of_their_own() -> None:
    """Of different shapes at the same time, on threads that never had any."""
    matrix = matrix_of(numbers(300, 700), True, "int8", TILES)
    bias, vectors = numbers(300, seed=1), numbers(16, 700, seed=2)
    expected = multiplied(matrix, bias, vectors)

    def often(count: int) -> bool:
        return all((multiplied(matrix, bias, vectors[:count]) == expected[:count]).all() for _ in range(200))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(often, (16, 1, 5, 9)))


@pytest.mark.parametrize("refused", [True, False])
def test_tiles_are_for_processes_that_may_use_them(refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is the same where the system refuses, so that one kept on disk serves both."""
    monkeypatch.setattr(amx, "known", lambda: True)
    monkeypatch.setattr(amx.ctypes, "CDLL", lambda *_, **__: SimpleNamespace(syscall=lambda *_: -int(refused)))
    monkeypatch.setattr(amx, "granted", amx.granted.__wrapped__)
    assert amx.granted() is (not refused and sys.platform == "linux" and platform.machine() == "x86_64")
    tiles = [integers.matrices([(torch.ones(7, 7), True)], tier, lanes)[0].tiles for tier, lanes in LAYOUTS[1:]]
    assert tiles == [amx.FEWEST if amx.granted() else 0, 0, 0, 0]


def test_processors_without_the_instruction_are_not_given_it() -> None:
    program = "from vocoder_core.recurrent import amx, vnni; print(vnni.lanes(), amx.known())"
    for name, (features, expected) in PROCESSORS.items():
        told = os.environ | {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features}
        run = subprocess.run([sys.executable, "-c", program], env=told, capture_output=True, text=True, check=True)
        assert run.stdout.strip() == expected, name


CASCADE_LAKE = "+avx2,+avx512f,+avx512bw,+avx512vnni"
PROCESSORS = {
    "haswell": ("+avx2", "0 False"),
    "alderlake": ("+avx2,+avxvnni", "8 False"),
    "cascadelake": (CASCADE_LAKE, "16 False"),
    "sapphirerapids": (CASCADE_LAKE + ",+amx-tile,+amx-int8", "16 True"),
}


# ---- which loop


def test_tiers_are_offered_where_they_are() -> None:
    cpu, cuda = torch.device("cpu"), torch.device("cuda")
    assert choose("int8", cpu, ("int8", "int16")) == "int8"
    assert choose("auto", cpu, ("int8",)) == "numba", "what is exact is the default"
    with pytest.raises(ValueError, match="expected 'auto', 'torch' or 'numba'"):
        choose("int8", cpu)
    with pytest.raises(ValueError, match="'int8' on cuda; expected 'torch' there"):
        choose("int8", cuda, ("int8",))


@pytest.mark.parametrize(("rows", "threads"), [(1, 2), (5, 2), (3, 3), (2, 8)])
def test_rows_are_shared_among_threads(rows: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    parts = [list(range(rows)[part]) for part in shares(rows)]
    assert [row for part in parts for row in part] == list(range(rows))
    assert len(parts) == min(rows, threads) and max(map(len, parts)) - min(map(len, parts)) <= 1
