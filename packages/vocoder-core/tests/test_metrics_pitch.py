"""Pitch scores against arithmetic by hand, F0 shifted by a known interval, and noise of known level on real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vocoder_core.audio import load
from vocoder_core.metrics import pitch

RATE = 16_000
nan = np.nan


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return load(shared_audio / "austen" / "austen_64kb-0880.flac", RATE)[0]


def test_scores_of_two_tracks_by_hand() -> None:
    """Two frames voiced in both, 100 and -300 cents apart; 3 and 3 voiced frames, 2 shared; periodicity 0.1 apart."""
    f0 = np.array([100.0, 200.0, 150.0, nan])
    gen = np.array([100 * 2 ** (1 / 12), 200 * 2 ** (-1 / 4), nan, 90.0])
    periodicity = np.array([0.9, 0.8, 0.5, 0.1])
    got = pitch.compare_tracks((f0, ~np.isnan(f0), periodicity), (gen, ~np.isnan(gen), periodicity + 0.1))
    assert got["f0_rmse"] == pytest.approx(np.sqrt((100**2 + 300**2) / 2))
    assert got["vuv_f1"] == pytest.approx(2 * 2 / (3 + 3))
    assert got["periodicity_rmse"] == pytest.approx(0.1)


def test_nothing_voiced_gives_nan_and_not_a_number() -> None:
    silent = (np.full(4, nan), np.zeros(4, bool), np.zeros(4))
    got = pitch.compare_tracks(silent, silent)
    assert np.isnan(got["f0_rmse"])
    assert np.isnan(got["vuv_f1"])
    assert got["periodicity_rmse"] == 0


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_a_detuned_buzz_costs_its_detuning(rate: int) -> None:
    """Harmonics of 120 Hz against the same 50 cents higher: F0-RMSE 50, within one step of the 10-cent grid."""
    time = np.arange(rate) / rate

    def buzz(f0: float) -> np.ndarray:
        return sum(np.cos(2 * np.pi * f0 * k * time) / k for k in range(1, 20)).astype(np.float32) * 0.2

    got = pitch.pitch_scores(buzz(120), buzz(120 * 2 ** (50 / 1200)), rate)
    assert got["f0_rmse"] == pytest.approx(50, abs=6)
    assert got["vuv_f1"] == 1


def test_f0_rmse_measures_the_shift_of_real_speech(speech: np.ndarray) -> None:
    """WORLD copies with F0 multiplied by a known factor: the RMSE grows with it and lies near it."""
    pyworld = pytest.importorskip("pyworld")
    wav = speech.astype(np.float64)
    f0, times = pyworld.harvest(wav, RATE)
    envelope, aperiodicity = pyworld.cheaptrick(wav, f0, times, RATE), pyworld.d4c(wav, f0, times, RATE)

    def copy(cents: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        out = pyworld.synthesize(f0 * 2 ** (cents / 1200), envelope, aperiodicity, RATE)
        return pitch.track(out[: len(wav)].astype(np.float32), RATE)

    plain = copy(0)
    errors = [pitch.compare_tracks(plain, copy(cents))["f0_rmse"] for cents in (50, 200)]
    assert errors[0] == pytest.approx(50, abs=25)
    assert errors[1] == pytest.approx(200, abs=40)


def test_voicing_scores_fall_with_noise(speech: np.ndarray) -> None:
    noise = np.random.default_rng(0).normal(size=len(speech)).astype(np.float32) * speech.std()
    tracks = [pitch.track(wav, RATE) for wav in (speech, speech + 0.1 * noise, speech + noise)]
    same, mild, harsh = (pitch.compare_tracks(tracks[0], track) for track in tracks)
    assert same == {"f0_rmse": 0, "vuv_f1": 1, "periodicity_rmse": 0}
    assert 1 > mild["vuv_f1"] > harsh["vuv_f1"]
    assert 0 < mild["periodicity_rmse"] < harsh["periodicity_rmse"]
