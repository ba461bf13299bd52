"""Spectral and cepstral distances against auraloss, librosa, closed forms, and noise of known level on real speech."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vocoder_core.audio import load
from vocoder_core.metrics import cepstral, score, spectral

RATE = 16_000
DISTANCES = ["mr_stft", "log_mel_mae", "lsd", "mcd"]


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> np.ndarray:
    return load(shared_audio / "austen" / "austen_64kb-0880.flac", RATE)[0]


@pytest.fixture(scope="module")
def hiss() -> np.ndarray:
    """White noise: every bin of every frame far above any floor."""
    return (0.1 * np.random.default_rng(0).normal(size=2 * RATE)).astype(np.float32)


def noisy(wav: np.ndarray, snr: float) -> np.ndarray:
    noise = np.random.default_rng(1).normal(size=len(wav))
    return (wav + noise * wav.std() * 10 ** (-snr / 20)).astype(np.float32)


def test_mr_stft_equals_auraloss(speech: np.ndarray) -> None:
    auraloss = pytest.importorskip("auraloss")
    import torch

    for snr in (40, 10):
        gen = noisy(speech, snr)
        theirs = auraloss.freq.MultiResolutionSTFTLoss()(
            torch.from_numpy(gen)[None, None], torch.from_numpy(speech)[None, None]
        )
        assert spectral.mr_stft(speech, gen, RATE) == pytest.approx(float(theirs), rel=1e-4)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100])
def test_log_mel_mae_is_that_of_librosas_mel(speech: np.ndarray, rate: int) -> None:
    import librosa

    def mel(wav: np.ndarray) -> np.ndarray:
        n_fft, top = {8_000: 1024, 44_100: 4096}.get(rate, 2048), min(12_000, rate / 2)
        bands = librosa.feature.melspectrogram(
            y=wav.astype(np.float64), sr=rate, n_fft=n_fft, win_length=round(rate / 20), hop_length=round(rate / 80),
            n_mels=128, fmin=20, fmax=top, power=1, pad_mode="reflect",
        )  # fmt: skip
        return np.log(np.maximum(bands, 1e-5))[:, : len(wav) // round(rate / 80)]

    gen = noisy(speech, 20)  # the same samples, said to be of each rate
    expected = np.abs(mel(speech) - mel(gen)).mean()
    assert spectral.log_mel_mae(speech, gen, rate) == pytest.approx(expected, rel=1e-5)


def test_a_gain_costs_its_logarithm(hiss: np.ndarray) -> None:
    """Halving the wave is ln 2 in log-mel, 6.02 dB in LSD, nothing in MCD (c0 is left out)."""
    half = hiss / 2
    assert spectral.log_mel_mae(hiss, half, RATE) == pytest.approx(np.log(2), rel=1e-4)
    assert spectral.lsd(hiss, half, RATE) == pytest.approx(20 * np.log10(2), rel=1e-3)
    assert cepstral.mcd(hiss, half, RATE) == pytest.approx(0, abs=1e-3)


def test_lsd_is_that_of_librosas_spectra(speech: np.ndarray) -> None:
    import librosa

    gen = noisy(speech, 20)
    ref, other = (
        np.abs(librosa.stft(wav.astype(np.float64), n_fft=512, hop_length=128, pad_mode="reflect")) ** 2
        for wav in (speech, gen)
    )
    floor = ref.max() * 1e-8
    difference = 10 * np.log10(np.maximum(ref, floor)) - 10 * np.log10(np.maximum(other, floor))
    assert spectral.lsd(speech, gen, RATE) == pytest.approx(np.sqrt((difference**2).mean(axis=0)).mean(), rel=1e-6)


def test_mel_cepstrum_is_the_cosine_series_on_the_warped_axis() -> None:
    """Against the definition: resample ln|H| where the all-pass phase is uniform, then take its cosine series."""
    alpha, bins = 0.42, 513
    omega = np.linspace(0, np.pi, bins)
    cepstrum = np.random.default_rng(2).normal(size=12) * 0.6 ** np.arange(12)
    power = np.exp(2 * cepstrum @ np.cos(np.outer(np.arange(12), omega)))
    warped = np.linspace(0, np.pi, 4097)  # w~; the phase of the inverse all-pass gives w
    linear = warped - 2 * np.arctan2(alpha * np.sin(warped), 1 + alpha * np.cos(warped))
    series = np.fft.irfft(cepstrum @ np.cos(np.outer(np.arange(12), linear)))[:25]
    series[1:] *= 2
    got = cepstral.mel_cepstrum(power[None], 24, alpha)[0]
    np.testing.assert_allclose(got, series, atol=1e-9)


def test_all_pass_constants_follow_the_mel_scale() -> None:
    """Each constant is within 0.015 of the one whose warping fits 1000 log2(1 + f / 1000) best."""
    for rate, constant in cepstral.ALPHA:
        omega = np.linspace(0, np.pi, 1000)
        mel = np.log1p(omega / np.pi * rate / 2000)
        candidates = np.arange(0.2, 0.7, 0.001)[:, None]
        warp = omega + 2 * np.arctan2(candidates * np.sin(omega), 1 - candidates * np.cos(omega))
        best = candidates[np.square(warp / np.pi - mel / mel[-1]).mean(axis=1).argmin(), 0]
        assert constant == pytest.approx(best, abs=0.015), f"{rate} Hz"


def test_mcd_of_a_filter_is_its_mel_cepstrum(hiss: np.ndarray) -> None:
    """The one-pole 1 / (1 - a / z) has the cepstrum a^n / n; a smooth filter survives the smoothing."""
    from scipy.signal import lfilter

    a = 0.5
    wav = np.tile(hiss, 4)
    filtered = lfilter([1], [1, -a], wav).astype(np.float32)
    omega = np.linspace(0, np.pi, 2049)
    power = 1 / np.abs(1 - a * np.exp(-1j * omega)) ** 2
    cepstrum = cepstral.mel_cepstrum(power[None], 24, 0.42)
    expected = 10 / np.log(10) * np.sqrt(2 * (cepstrum[0, 1:] ** 2).sum())
    assert cepstral.mcd(wav, filtered, RATE) == pytest.approx(expected, rel=0.02)


def test_smoothing_is_a_convolution_with_a_triangle(speech: np.ndarray) -> None:
    power, _ = spectral.power_spectra(speech, speech, 1024, 80, 400)
    power, reach = np.maximum(power[100:103], 1e-9), 13
    triangle = np.concatenate([np.arange(1, reach), np.arange(reach, 0, -1)]) / reach**2
    mirrored = np.concatenate([power[:, reach - 1 : 0 : -1], power, power[:, -2 : -reach - 1 : -1]], axis=1)
    expected = [np.convolve(row, triangle, mode="valid") for row in mirrored]
    np.testing.assert_allclose(cepstral._smooth(power, reach), expected, rtol=1e-6)


def test_mcd_world_is_the_formula_on_cheaptrick_envelopes(speech: np.ndarray) -> None:
    pyworld = pytest.importorskip("pyworld")
    gen = noisy(speech, 30)
    cepstra = []
    for wav in (speech.astype(np.float64), gen.astype(np.float64)):
        f0, times = pyworld.dio(wav, RATE)
        envelope = pyworld.cheaptrick(wav, pyworld.stonemask(wav, f0, times, RATE), times, RATE)
        cepstra.append(cepstral.mel_cepstrum(envelope, 24, 0.42)[:, 1:])
    frames = [np.sqrt(2 * np.sum((a - b) ** 2)) for a, b in zip(*cepstra)]
    assert cepstral.mcd_world(speech, gen, RATE) == pytest.approx(10 / np.log(10) * np.mean(frames), rel=1e-9)


@pytest.mark.parametrize("name", DISTANCES)
def test_distance_is_zero_for_the_same_wave_and_grows_with_noise(speech: np.ndarray, name: str) -> None:
    values = [score(speech, noisy(speech, snr), RATE, [name])[name] for snr in (40, 30, 20, 10)]
    assert score(speech, speech, RATE, [name])[name] == 0
    assert 0 < values[0] < values[1] < values[2] < values[3]


@pytest.mark.parametrize("name", DISTANCES)
def test_silence_has_a_finite_distance(speech: np.ndarray, name: str) -> None:
    silence = np.zeros_like(speech)
    assert np.isfinite(score(speech, silence, RATE, [name])[name])
    assert score(silence, silence, RATE, [name])[name] == 0
