"""PESQ, ESTOI, ViSQOL and the neural scores: the true packages on real speech, skipped where they are absent."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from vocoder_core.audio import load, resample
from vocoder_core.metrics import neural, perceptual, scores

RATE = 16_000


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return load(shared_audio / "austen" / "austen_64kb-0880.flac", RATE)[0]


def noisy(wav: np.ndarray, snr: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=len(wav))
    return (wav + noise * wav.std() * 10 ** (-snr / 20)).astype(np.float32)


def need(name: str) -> None:
    _, missing = scores.select([name])
    if missing:
        pytest.skip(f"{name} {missing[name]}")


def test_pesq_is_the_packages_own_and_survives_another_rate(speech: np.ndarray) -> None:
    need("pesq")
    import pesq

    gen = noisy(speech, 20)
    direct = pesq.pesq(RATE, speech, gen, "wb")
    assert perceptual.pesq_wb(speech, gen, RATE) == pytest.approx(direct, abs=1e-6)
    pair = [resample(wav, RATE, 48_000) for wav in (speech, gen)]
    assert perceptual.pesq_wb(*pair, 48_000) == pytest.approx(direct, abs=0.15)


def test_pesq_gives_the_ceiling_of_p862_2_for_the_same_wave(speech: np.ndarray) -> None:
    """0.999 + 4 / (1 + exp(-1.3669 * 4.5 + 3.8224)): P.862.2's mapping of the raw maximum 4.5."""
    need("pesq")
    ceiling = 0.999 + 4 / (1 + np.exp(-1.3669 * 4.5 + 3.8224))
    assert perceptual.pesq_wb(speech, speech, RATE) == pytest.approx(ceiling, abs=1e-3)


def test_estoi_is_the_packages_extended_measure(speech: np.ndarray) -> None:
    need("estoi")
    from pystoi import stoi

    gen = noisy(speech, 10)
    assert perceptual.estoi(speech, gen, RATE) == pytest.approx(stoi(speech, gen, RATE, extended=True), abs=1e-6)
    assert perceptual.estoi(speech, speech, RATE) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", ["pesq", "estoi", "visqol"])
def test_quality_falls_with_noise(speech: np.ndarray, name: str) -> None:
    need(name)
    values = [scores.score(speech, wav, RATE, [name])[name] for wav in (speech, noisy(speech, 30), noisy(speech, 10))]
    assert values[0] > values[1] > values[2]


@pytest.mark.parametrize("name", ["pesq", "estoi", "visqol"])
def test_silence_and_clips_too_short_to_judge_are_nan(name: str) -> None:
    need(name)
    silence, blip = np.zeros(RATE * 2, np.float32), 0.1 * np.random.default_rng(0).normal(size=RATE // 4 - 100)
    assert np.isnan(scores.score(blip, blip, RATE, [name])[name])
    if name != "estoi":  # which calls two silences alike
        assert np.isnan(scores.score(silence, silence, RATE, [name])[name])


def test_edit_distance_by_hand() -> None:
    assert neural.edit_distance(list("kitten"), list("sitting")) == 3
    assert neural.edit_distance([], list("abc")) == neural.edit_distance(list("abc"), []) == 3
    assert neural.edit_distance(list("abc"), list("abc")) == 0


def test_edit_distance_equals_the_recursive_definition() -> None:
    def slow(a: str, b: str) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(slow(a[1:], b) + 1, slow(a, b[1:]) + 1, slow(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(0)
    for _ in range(30):
        a, b = ("".join(rng.choice(list("abc"), size=rng.integers(0, 6))) for _ in range(2))
        assert neural.edit_distance(list(a), list(b)) == slow(a, b)


def test_the_stub_of_torchaudio_leaves_nothing_behind() -> None:
    before = sys.modules.get("torchaudio")
    with neural._torchaudio_or_stub():
        import torchaudio  # noqa: F401
    assert sys.modules.get("torchaudio") is before


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("distill_mos_drop", 0),
        ("dnsmos_drop", 0),
        ("dnsmos_p808_drop", 0),
        ("speaker_cosine", 1),
        ("phone_error_rate", 0),
    ],
)
def test_neural_score_of_the_same_wave_is_perfect_and_noise_is_worse(
    speech: np.ndarray, name: str, same: float
) -> None:
    need(name)
    assert scores.score(speech, speech, RATE, [name])[name] == pytest.approx(same, abs=1e-5)
    assert abs(scores.score(speech, noisy(speech, 10), RATE, [name])[name] - same) > 0.1


def test_dnsmos_is_what_its_package_says_of_each_wave(speech: np.ndarray) -> None:
    """Also when one recording is compared with one copy after another: its own score is kept, theirs are not mixed."""
    need("dnsmos_p808")
    from speechmos import dnsmos

    direct = {level: dnsmos.run(np.clip(noisy(speech, level), -1, 1), sr=RATE) for level in (20, 5)}
    own = dnsmos.run(speech, sr=RATE)
    for level in (20, 5, 20):
        found = scores.score(speech, noisy(speech, level), RATE, ["dnsmos", "dnsmos_p808", "dnsmos_p808_drop"])
        assert found["dnsmos"] == pytest.approx(direct[level]["ovrl_mos"], abs=1e-3)
        assert found["dnsmos_p808"] == pytest.approx(direct[level]["p808_mos"], abs=1e-3)
        assert found["dnsmos_p808_drop"] == pytest.approx(own["p808_mos"] - direct[level]["p808_mos"], abs=1e-3)
