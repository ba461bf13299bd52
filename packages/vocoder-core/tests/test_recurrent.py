"""Draws and the arithmetic of compiled loops, against scipy, numpy and the generator as its authors write it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent.draws import draw, stream_keys, uniforms
from vocoder_core.recurrent.streams import pack

LARGEST = 1 - 2**-24  # of float32's numbers below 1


def draws_of(way: str, logits: Tensor, u: Tensor, temperature: float) -> Tensor:
    """Labels (n,) drawn from one distribution (Q,) at the uniforms (n,)."""
    if way == "torch":
        return draw(logits.expand(len(u), -1), u, temperature)
    from vocoder_core.recurrent import primitives

    sharpness = np.float32(1 / temperature)
    return torch.tensor([primitives.draw(logits.numpy().copy(), sharpness, value) for value in u.tolist()])


@pytest.mark.parametrize("way", ["torch", "numba"])
def test_draws_follow_the_softmax(way: str) -> None:
    stats = pytest.importorskip("scipy.stats")
    logits = torch.randn(40, generator=torch.Generator().manual_seed(4))
    u = torch.from_numpy(uniforms(stream_keys(9, 1), 0, 20_000)[0])
    counts = draws_of(way, logits, u, 0.7).bincount(minlength=40)
    assert stats.chisquare(counts, (logits.double() / 0.7).softmax(0) * 20_000).pvalue > 0.01


@pytest.mark.parametrize("way", ["torch", "numba"])
@pytest.mark.parametrize("classes", [64, 100, 1024])
def test_steps_are_those_of_torch_distributions(way: str, classes: int) -> None:
    """A uniform just below and just above each step of the cumulative distribution gives the classes on its sides."""
    logits = 2 * torch.randn(classes, generator=torch.Generator().manual_seed(5))
    probabilities = torch.distributions.Categorical(logits=logits.double() / 1.5).probs
    step = probabilities.cumsum(0)[:-1]
    likely = (probabilities[:-1] > 3e-6) & (probabilities[1:] > 3e-6)
    below, above = (draws_of(way, logits, step + shift, 1.5) for shift in (-1e-6, 1e-6))
    assert torch.equal(below[likely], torch.arange(classes - 1)[likely])
    assert torch.equal(above[likely], torch.arange(1, classes)[likely])


@pytest.mark.parametrize("way", ["torch", "numba"])
def test_a_step_belongs_to_the_class_above_it(way: str) -> None:
    steps = torch.tensor([0.0, 0.25, 0.5, 0.75], dtype=torch.float64)
    assert draws_of(way, torch.zeros(4), steps, 1.0).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("way", ["torch", "numba"])
@pytest.mark.parametrize("scale", [0.0, 1.0, 300.0])
def test_extreme_uniforms_give_a_class_that_exists(way: str, scale: float) -> None:
    """At 0 and at the least and largest u there are, with classes of probability 0 at both ends and sums that round."""
    logits = scale * torch.randn(100, generator=torch.Generator().manual_seed(6))
    zero, low, high = draws_of(way, logits, torch.tensor([0.0, 2**-24, LARGEST], dtype=torch.float64), 1.0).tolist()
    assert 0 <= zero <= low <= high < 100
    if scale == 0:
        assert (zero, low, high) == (0, 0, 99)
    if scale == 300:
        assert low == high == logits.argmax()


def test_uniforms_are_splitmix64() -> None:
    """Against the generator as its authors write it, with Python's integers, and its published first output."""

    def outputs(state: int, count: int) -> list[int]:
        mask, found = 2**64 - 1, []
        for _ in range(count):
            state = (state + 0x9E3779B97F4A7C15) & mask
            z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
            found.append(z ^ (z >> 31))
        return found

    assert outputs(1234567, 1) == [6457827717110365317]
    assert stream_keys(1234567, 2).tolist() == [6457827717110365317] * 2
    expected = [(2 * (z >> 41) + 1) / 2**24 for z in outputs(6457827717110365317, 50)]
    assert uniforms(stream_keys(1234567, 1), 0, 50)[0].tolist() == expected


def test_uniforms_are_uniform_exact_and_addressable() -> None:
    stats = pytest.importorskip("scipy.stats")
    keys = stream_keys([0, 1, -1, 2**64 - 1], 4)
    values = uniforms(keys, 0, 50_000)
    assert 0 < values.min()
    assert values.max() < 1
    assert np.array_equal(values.astype(np.float32), values)
    assert np.array_equal(values[2], values[3])  # seeds count modulo 2^64
    assert np.array_equal(uniforms(keys[1:2], 1234, 1300)[0], values[1, 1234:1300])
    for row in values[:3]:
        assert stats.kstest(row, "uniform").pvalue > 0.01
    sides = np.corrcoef([values[0], values[1], np.roll(values[0], 1), np.roll(values[0], 200)])
    assert np.abs(sides - np.eye(4)).max() < 4 / math.sqrt(50_000)


def test_exp_sigmoid_and_tanh_are_accurate() -> None:
    import numba

    from vocoder_core.recurrent import primitives

    @numba.njit
    def each(x: np.ndarray, out: np.ndarray) -> None:
        for i in range(len(x)):
            out[0, i], out[1, i], out[2, i] = primitives.exp(x[i]), primitives.sigmoid(x[i]), primitives.tanh(x[i])

    small = np.logspace(-12, 1, 20_001)
    x = np.concatenate([np.linspace(-86, 86, 100_001), small, -small, [0.0]]).astype(np.float32)
    found, precise = np.empty((3, len(x)), np.float32), x.astype(np.float64)
    each(x, found)
    for values, expected in zip(found, (np.exp(precise), 1 / (1 + np.exp(-precise)), np.tanh(precise))):
        np.testing.assert_allclose(values, expected, rtol=2e-7)
    each(np.array([-1e30, 1e30], np.float32), ends := np.empty((3, 2), np.float32))
    np.testing.assert_allclose(ends[1:], [[0, 1], [-1, 1]], atol=1e-37)


@pytest.mark.parametrize("offset", [-100.0, 0.0, 100.0])
@pytest.mark.parametrize("count", [1, 7, 1001])
def test_the_largest_is_numpys(offset: float, count: int) -> None:
    """Of floats of either sign, compared as whole numbers."""
    from vocoder_core.recurrent import integers_kernel, primitives

    values = np.random.default_rng(count).standard_normal(count).astype(np.float32) + np.float32(offset)
    assert primitives.largest(values) == values.max()
    assert integers_kernel.extent(values) == np.abs(values).max()
    values[:] = -np.inf
    assert primitives.largest(values) == -np.inf
    values[-1] = -0.0
    assert primitives.largest(values) == integers_kernel.extent(values[-1:]) == 0


@pytest.mark.parametrize("offset", [-100.0, 0.0, 100.0])
def test_products_are_numpys(offset: float) -> None:
    """Also when every feature is off, and when every one is on."""
    from vocoder_core.recurrent import floats, primitives

    rng = np.random.default_rng(0)
    weight, bias, x = (rng.standard_normal(shape).astype(np.float32) for shape in ((43, 101), 101, 43))
    out = np.empty(101, np.float32)
    primitives.affine_of_active(weight, bias, x + np.float32(offset), np.empty(43, np.int64), out)
    expected = np.maximum(x + np.float32(offset), 0).astype(np.float64) @ weight + bias
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    floats.affine(np.ascontiguousarray(weight.T), bias, x, out)
    np.testing.assert_allclose(out, x.astype(np.float64) @ weight + bias, rtol=1e-5, atol=1e-5)


def test_pack_copies_to_cache_lines() -> None:
    tensors = [torch.randn(5, 7), torch.randn(3).bfloat16(), torch.randn(4, 6).t(), torch.randn(600, 900)]
    for array, tensor in zip(pack(*tensors), tensors, strict=True):
        assert array.dtype == np.float32
        assert array.ctypes.data % 64 == 0
        assert array.flags.c_contiguous
        assert np.array_equal(array, tensor.float().numpy())


def test_products_of_16_bit_weights_are_those_of_the_floats_they_hold() -> None:
    """Of every finite 16-bit float, subnormal and negative ones, and of both products."""
    from vocoder_core.recurrent import floats, primitives

    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    weight = every[np.isfinite(every)].reshape(-1, 1)
    out = np.empty(len(weight), np.float32)
    floats.affine(weight.view(np.int16), np.zeros(len(weight), np.float32), np.array([0.5], np.float32), out)
    np.testing.assert_array_equal(out, weight[:, 0].astype(np.float32) / 2)
    rng = np.random.default_rng(0)
    halves = rng.standard_normal((43, 101)).astype(np.float16)
    bias, x = (rng.standard_normal(size).astype(np.float32) for size in (101, 43))
    found, active = np.empty(101, np.float32), np.empty(43, np.int64)
    primitives.affine_of_active(halves.view(np.int16), bias, x, active, found)
    np.testing.assert_allclose(found, np.maximum(x, 0).astype(np.float64) @ halves + bias, rtol=1e-5, atol=1e-5)
    floats.affine(np.ascontiguousarray(halves.T).view(np.int16), bias, x, found)
    np.testing.assert_allclose(found, x.astype(np.float64) @ halves + bias, rtol=1e-5, atol=1e-5)


def test_pack_takes_16_bits_only_where_nothing_is_lost() -> None:
    exact = [torch.randn(5, 7).half().float(), torch.randn(600, 900).half().float()]
    for array, tensor in zip(pack(*exact, halves=True), exact):
        assert array.dtype == np.int16
        assert array.ctypes.data % 64 == 0
        assert np.array_equal(array.view(np.float16), tensor.numpy())
    for other in (torch.tensor([0.1]), torch.tensor([1e-9]), torch.tensor([1e6])):
        assert all(array.dtype == np.float32 for array in pack(*exact, other, halves=True))
    assert pack(exact[0])[0].dtype == np.float32
