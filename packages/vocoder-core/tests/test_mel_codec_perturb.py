"""Perturbation: a stretched mel is the mel of a stretched spectrum; jitter and drop touch what they say, as often."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vocoder_core.mel_codec.perturb import drop, factors, jitter, stretch


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_stretch_reads_each_band_from_its_multiple() -> None:
    """numpy's interpolation is the judge, a factor per row."""
    mel = torch.randn(3, 20, 7, generator=draw())
    factor = torch.tensor([0.8, 1.0, 1.2])
    seen = stretch(mel, factor)
    for row, by in enumerate(factor.tolist()):
        for frame in range(7):
            expected = np.interp(np.minimum(np.arange(20) * by, 19), np.arange(20), mel[row, :, frame].numpy())
            np.testing.assert_allclose(seen[row, :, frame].numpy(), expected, atol=1e-5)
    assert torch.equal(seen[1], mel[1])


def test_a_factor_above_one_lowers_a_formant() -> None:
    mel = torch.zeros(1, 40, 1)
    mel[0, 24] = 1
    assert stretch(mel, torch.tensor([1.2])).argmax(1).item() == 20
    assert stretch(mel, torch.tensor([0.8])).argmax(1).item() == 30
    assert torch.equal(stretch(torch.ones(1, 1, 2), torch.tensor([1.2])), torch.ones(1, 1, 2)), "a single band"


def test_stretch_passes_gradients_and_keeps_the_type() -> None:
    mel = torch.randn(2, 8, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda x: stretch(x, torch.tensor([0.9, 1.1])), mel)
    assert stretch(mel.bfloat16(), torch.tensor([0.9, 1.1])).dtype == torch.bfloat16


def test_factors_are_as_often_below_one_as_above() -> None:
    many = factors(10_000, 0.2, draw()).log()
    assert many.abs().max() <= 0.2 and abs(many.mean()) < 0.01
    assert abs(many.std() - 0.4 / 12**0.5) < 0.005, "uniform in the logarithm"


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_jitter_takes_neighbours_as_often_as_told(probability: float) -> None:
    vectors = torch.arange(2000.0).repeat(2, 1, 1)
    moved = (jitter(vectors, probability, draw()) - vectors)[:, 0]
    assert set(moved.unique().tolist()) <= {-1.0, 0.0, 1.0}, "at the ends, too"
    for step in (-1, 1):
        assert abs(float((moved == step).float().mean()) - probability / 2) < 0.03


def test_jitter_stays_inside_and_moves_whole_vectors() -> None:
    vectors = torch.randn(1, 3, 1)
    assert torch.equal(jitter(vectors, 1.0, draw()), vectors)
    vectors = torch.arange(40.0).view(1, 2, 20)
    seen = jitter(vectors, 0.5, draw())
    assert torch.equal(seen[0, 1] - seen[0, 0], torch.full((20,), 20.0))


def test_drop_silences_whole_vectors_as_often_as_told() -> None:
    seen = drop(torch.ones(3, 4, 4000), 0.2, draw())
    assert torch.equal(seen[:, :1].expand_as(seen), seen) and abs(float(seen.mean()) - 0.8) < 0.02


def test_a_generator_gives_the_same_again() -> None:
    vectors = torch.randn(2, 3, 50)
    for do in (jitter, drop):
        assert torch.equal(do(vectors, 0.5, draw(3)), do(vectors, 0.5, draw(3)))
        assert not torch.equal(do(vectors, 0.5, draw(3)), do(vectors, 0.5, draw(4)))
