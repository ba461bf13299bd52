"""The speaker probe: scikit-learn's ridge regression, and what it says of codes that do and do not betray a speaker."""

from __future__ import annotations

import numpy as np
import pytest

from vocoder_core.vq.speaker_probe import RIDGE, speaker_probe

SPEAKERS, CODES = 6, 40


def pieces(betrayal: float, each: int = 30) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Histograms of 120 codes; each speaker prefers some codes as much as `betrayal` says."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(SPEAKERS), each)
    habits = rng.dirichlet(np.ones(CODES), SPEAKERS) * betrayal + (1 - betrayal) / CODES
    counts = np.array([rng.multinomial(120, habits[speaker]) for speaker in who])
    return counts, who, np.arange(len(who)) % 3 == 0


def test_it_is_ridge_regression_on_the_roots_of_shares() -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    counts, who, asked = pieces(0.15)
    x = np.hstack([np.sqrt(counts / counts.sum(1, keepdims=True)), np.ones((len(who), 1))])
    fit = ~asked
    model = linear_model.Ridge(alpha=RIDGE * fit.sum(), fit_intercept=False).fit(x[fit], np.eye(SPEAKERS)[who[fit]])
    expected = (model.predict(x[asked]).argmax(1) == who[asked]).mean()
    assert speaker_probe(counts, who, asked) == pytest.approx(expected) and 0.3 < expected < 1


def test_it_names_speakers_with_habits_and_guesses_those_without() -> None:
    assert speaker_probe(*pieces(1.0)) > 0.95
    assert speaker_probe(*pieces(0.0, each=120)) < 2 / SPEAKERS


def test_without_pieces_to_fit_or_to_ask_about_it_has_no_answer() -> None:
    counts, who, asked = pieces(1.0)
    assert np.isnan(speaker_probe(counts, who, np.ones_like(asked)))
    assert np.isnan(speaker_probe(counts, who, np.zeros_like(asked)))


def test_a_piece_without_codes_is_no_error() -> None:
    counts, who, asked = pieces(1.0)
    counts[0] = 0
    assert 0 <= speaker_probe(counts, who, asked) <= 1
