"""The envelope, the filter and its inverse: against their definitions in float64, scipy, closed forms, real speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from specgrad.shaping import (
    ShapingConfig,
    amplitude,
    blurred,
    envelope,
    fitted,
    interpolated,
    liftered,
    liftered_onesided,
    shape,
    transfer,
    unshape,
    window_gain,
)
from specgrad.transform import grid_of, stft
from vocoder_core.mel import MelConfig, filterbank, log_mel
from vocoder_core.mel_presets import PRESETS

signal = pytest.importorskip("scipy.signal")

Speech = Callable[..., Tensor]
PAPER = ShapingConfig()
SMALL = MelConfig(16_000, 64, 64, 16, 8, 0.0, None, mel_norm="slaney", preemphasis=0, log="ln", offset=0, scale=1)
DIALECTS = PRESETS | {
    "power in dB": MelConfig(power=2.0),
    "log10 of HTK": replace(PRESETS["asr16"], log="log10", mel_scale="htk", offset=0.5, scale=3.0, preemphasis=0.9),
}
FRONT_ENDS = pytest.mark.parametrize("config", [PRESETS["asr16"], PRESETS["specgrad24"]], ids=["asr16", "specgrad24"])


def white(samples: int, rows: int = 1, seed: int = 0) -> Tensor:
    return torch.randn(rows, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def decibel(upper: Tensor, lower: Tensor) -> float:
    return float(10 * (upper.square().mean() / lower.square().mean()).log10())


# ---- from the mel to the amplitude


@pytest.mark.parametrize("config", DIALECTS.values(), ids=DIALECTS)
def test_the_amplitude_has_the_mel_it_was_made_from(config: MelConfig, speech: Speech) -> None:
    """Every dialect is undone: log, scale, power or amplitude, filters, pre-emphasis."""
    bank = filterbank(config)
    mel = log_mel(speech(config), config)[..., 10:40]
    found = amplitude(mel, config)[0].numpy()
    response = np.abs(signal.freqz([1, -config.preemphasis], [1], config.n_fft // 2 + 1, include_nyquist=True)[1])
    spectrum = found * response[:, None]
    logs = {"ln": np.log, "log10": np.log10, "db": lambda x: 20 / config.power * np.log10(x)}[config.log]
    again = (logs(np.maximum(bank @ spectrum**config.power, config.floor)) - config.offset) / config.scale
    # where least squares would go below zero it is cut off, which leaves a little too much
    assert np.abs(again - mel[0].numpy()).mean() < 0.02 * mel.std()


@FRONT_ENDS
def test_the_amplitude_is_the_pseudo_inverse_of_the_filters_librosa_has(config: MelConfig, speech: Speech) -> None:
    """Defects 5 and 6: a power mel taken for an amplitude, filters of another norm."""
    librosa = pytest.importorskip("librosa")
    kinds = {"n_mels": config.n_mels, "fmin": config.fmin, "fmax": config.top, "dtype": np.float64}
    bank = librosa.filters.mel(sr=config.sample_rate, n_fft=config.n_fft, norm="slaney", **kinds)
    mel = log_mel(speech(config, frames=20), config)
    expected = np.maximum(np.linalg.pinv(bank) @ np.exp(mel[0].numpy()), 1e-5)
    assert np.allclose(amplitude(mel, config)[0].numpy(), expected, rtol=1e-6, atol=1e-9)


@FRONT_ENDS
def test_the_amplitude_is_that_of_the_speech(config: MelConfig, speech: Speech) -> None:
    """Within half a dB on average in every octave: filters that differ from the mel's were 13 to 18 dB off."""
    wav = speech(config)
    truth = stft(wav, grid_of(config)).abs()[0, :, 5:95]
    found = amplitude(log_mel(wav, config), config)[0, :, 5:95]
    edges = (np.array([250, 500, 1000, 2000, 4000, 7000]) / config.sample_rate * config.n_fft).astype(int)
    for low, high in pairwise(edges):
        assert abs(20 * torch.log10(found[low:high].sum() / truth[low:high].sum())) < 0.5


@pytest.mark.parametrize("config", DIALECTS.values(), ids=DIALECTS)
def test_interpolation_gives_back_a_flat_spectrum(config: MelConfig) -> None:
    level = 0.7
    bank = torch.from_numpy(filterbank(config))
    logs = {"ln": torch.log, "log10": torch.log10, "db": lambda x: 20 / config.power * torch.log10(x)}[config.log]
    sums = bank.sum(1, keepdim=True)
    mel = ((logs(level**config.power * sums) - config.offset) / config.scale).expand(-1, 3)[None]
    found = interpolated(mel, replace(config, preemphasis=0.0))
    assert (found[:, bank.sum(0) > 1e-6] - level).abs().max() < 1e-6
    assert (found / level).log().abs().max() < 1e-6, "bins outside all filters take their neighbour's level"


# ---- from the amplitude to the envelope


@pytest.mark.parametrize("lifter", [3, 24, 40])
def test_the_smoothed_spectrum_is_the_cosine_series_of_its_first_cepstral_coefficients(lifter: int) -> None:
    """Defect 3, and the halved envelope of three public implementations (they lose the factor 2)."""
    n_fft = 256
    spectrum = np.exp(np.random.default_rng(0).normal(0, 2, n_fft // 2 + 1))
    whole = np.log(np.concatenate([spectrum, spectrum[-2:0:-1]]))  # all n_fft bins
    bins = np.arange(n_fft)
    expected = np.zeros(n_fft // 2 + 1)
    for q in range(lifter + 1):
        coefficient = (whole * np.cos(2 * np.pi * q * bins / n_fft)).mean()
        expected += (1 if q == 0 else 2) * coefficient * np.cos(2 * np.pi * q * bins[: n_fft // 2 + 1] / n_fft)
    found = liftered(torch.from_numpy(spectrum)[None, :, None], lifter)[0, :, 0]
    assert np.abs(found.log().numpy() - expected).max() < 1e-12


def test_the_papers_envelope_is_the_smoothed_amplitude_and_the_floor(speech: Speech) -> None:
    config = PRESETS["specgrad24"]
    mel = log_mel(speech(config, frames=20), config)
    expected = liftered(amplitude(mel, config), 24) + 0.01
    assert torch.equal(envelope(mel, config, PAPER), expected)
    louder = envelope(mel, config, replace(PAPER, noise_gain_db=-6.0))
    assert torch.allclose(louder, expected * 10 ** (-6 / 20), rtol=1e-12)


def test_silence_is_shaped_like_the_floor() -> None:
    config = PRESETS["specgrad24"]
    mel = log_mel(torch.zeros(1, 30_000, dtype=torch.float64), config)
    for smoothing in ("cepstrum", "power", "interpolate", "none"):
        smooth = envelope(mel, config, replace(PAPER, smoothing=smoothing))
        assert (smooth - 0.01).abs().max() < 2e-4
    # -66 dBFS of white noise in the units of the wave, before the noise's own gain over the speech
    assert 20 * np.log10(0.01 / window_gain(grid_of(config))) == pytest.approx(-66.5, abs=0.1)


@pytest.mark.parametrize("width", [0.5, 4.0, 8.0])
def test_power_smoothing_is_scipys_gaussian(width: float) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    spectrum = np.random.default_rng(0).exponential(size=(2, 129, 5))
    expected = ndimage.gaussian_filter1d(spectrum, width, axis=1, mode="mirror", truncate=4.0)
    assert np.abs(blurred(torch.from_numpy(spectrum), width).numpy() - expected).max() < 1e-12


def test_the_one_sided_smoothing_is_the_public_ports(speech: Speech) -> None:
    """Teysir-B's, for weights trained there: the transform of half a log spectrum, its first 24 values kept."""
    spectrum = np.exp(np.random.default_rng(0).normal(0, 2, (1, 129, 3)))
    cepstrum = np.fft.ifft(np.log(spectrum), axis=1)
    cepstrum[:, 24:] = 0
    expected = np.exp(np.fft.fft(cepstrum, axis=1).real)
    assert np.allclose(liftered_onesided(torch.from_numpy(spectrum), 24).numpy(), expected, rtol=1e-12)


def test_the_energy_prior_is_the_one_of_priorgrads_public_weights(speech: Speech) -> None:
    """sigma = max((min(sqrt(sum exp c), 4) - least) / (4 - least), 0.1), the same at all frequencies."""
    config = PRESETS["hifi22"]
    mel = log_mel(speech(config, frames=60), config)
    mel[..., 20:40] -= 6  # a pause
    mel[..., 40:] += 1  # a shout
    energy = np.minimum(np.sqrt(np.exp(mel[0].numpy()).sum(0)), 4.0)
    expected = np.maximum((energy - 0.03) / (4.0 - 0.03), 0.1)
    found = envelope(mel, config, replace(PAPER, prior="energy", floor=0.1, energies=(0.03, 4.0)))[0].numpy()
    assert np.abs(found - expected).max() < 1e-9 and 0.1 == expected.min() and expected.max() == 1


def test_the_prior_of_priorgrad_has_each_frames_energy_and_no_spectrum(speech: Speech) -> None:
    config = PRESETS["asr16"]
    wav = speech(config)
    smooth = envelope(log_mel(wav, config), config, replace(PAPER, prior="priorgrad", floor=1e-6))
    assert torch.equal(smooth, smooth[:, :1].expand_as(smooth))
    truth = stft(wav, grid_of(config)).abs().square().mean(1)[0, 5:95].sqrt()
    difference = 20 * (smooth[0, 0, 5:95] / truth).log10()
    # the bands' mean amplitudes lose what a harmonic has above its neighbours
    assert -4 < difference.mean() < 0 and difference.std() < 2


# ---- from the envelope to the filter


def test_minimum_phase_is_that_of_known_filters() -> None:
    """|H| of a minimum-phase filter gives back H itself: scipy's freqz of poles and zeros inside the unit circle."""
    for zeros, poles in (([], [0.9]), ([0.5, -0.7], [0.8]), ([], [0.9 * np.exp(0.7j), 0.9 * np.exp(-0.7j)])):
        response = signal.freqz(np.poly(zeros), np.poly(poles).real, 513, include_nyquist=True)[1]
        found = transfer(torch.from_numpy(np.abs(response))[None, :, None], "minimum")[0, :, 0].numpy()
        assert np.abs(found - response).max() < 1e-9 * np.abs(response).max()


@FRONT_ENDS
def test_minimum_phase_on_speech_is_the_hilbert_transform_of_the_log_envelope(
    config: MelConfig, speech: Speech
) -> None:
    smooth = envelope(log_mel(speech(config, frames=40), config)[..., 20:24], config, PAPER)
    found = transfer(smooth, "minimum")[0].numpy()
    logs = np.log(smooth[0].numpy())
    whole = np.concatenate([logs, logs[-2:0:-1]])
    phase = -np.imag(signal.hilbert(whole, axis=0))[: len(logs)]
    assert np.abs(found - np.exp(logs + 1j * phase)).max() < 1e-9 * np.abs(found).max()


@FRONT_ENDS
def test_minimum_phase_keeps_the_envelope_and_answers_at_once(config: MelConfig, speech: Speech) -> None:
    """|M| = E exactly; of all filters with that |M|, its energy comes first."""
    smooth = envelope(log_mel(speech(config, frames=40), config)[..., 20:30], config, PAPER)
    found = transfer(smooth, "minimum")
    assert torch.allclose(found.abs(), smooth, rtol=1e-10)
    response = torch.fft.irfft(found[0], n=config.n_fft, dim=0).square()
    assert (response[: config.n_fft // 2].sum(0) / response.sum(0)).min() > 0.9999
    still = torch.fft.irfft(smooth[0], n=config.n_fft, dim=0).roll(config.n_fft // 2, dims=0).square()
    assert (response.cumsum(0) - still.cumsum(0)).min() > -1e-9 * response.sum()


def test_zero_phase_is_the_envelope_itself() -> None:
    smooth = torch.rand(2, 33, 4) + 0.1
    assert transfer(smooth, "zero") is smooth


def test_a_batch_is_filtered_as_each_of_its_rows(speech: Speech) -> None:
    """(b), and defects 2 and 4: no row knows of another, nor of how many there are."""
    config, grid = PRESETS["asr16"], grid_of(PRESETS["asr16"])
    clips = [speech(config, clip, 12) for clip in ("slt/arctic_a0007", "austen/austen_64kb-0870", "ru_nsh/ru_0003")]
    mel = torch.cat([log_mel(wav * gain, config) for wav, gain in zip(clips, (1.0, 0.01, 0.1))])
    noise = white(12 * 256, rows=3)
    for shaping in (PAPER, replace(PAPER, prior="priorgrad"), replace(PAPER, smoothing="interpolate", phase="zero")):
        together = transfer(envelope(mel, config, shaping), shaping.phase)
        shaped = shape(noise, together, grid)
        for row in range(3):
            own = slice(row, row + 1)
            alone = transfer(envelope(mel[own], config, shaping), shaping.phase)
            assert torch.allclose(alone, together[own], rtol=1e-10, atol=0)
            assert torch.allclose(shape(noise[own], alone, grid), shaped[own], rtol=0, atol=1e-12)


# ---- the filtered noise


@pytest.mark.parametrize("name", ["asr16", "specgrad24", "hifi22"])
def test_one_response_in_all_frames_filters_as_scipy_does(name: str) -> None:
    """L with an M that never changes is that filter: the noise's spectrum is |M|^2, away from the ends sample-exact."""
    config = PRESETS[name]
    grid = grid_of(config)
    taps = signal.firwin2(31, [0, 0.2, 0.5, 1], [1, 3, 0.2, 0.5])
    response = signal.freqz(taps, [1], grid.bins, include_nyquist=True)[1]
    noise = white(20 * config.hop_length)
    filters = torch.from_numpy(response)[None, :, None].expand(-1, -1, 20)
    found = shape(noise, filters, grid)[0].numpy()
    expected = signal.lfilter(taps, [1], noise[0].numpy())
    inside = slice(grid.n_fft, -grid.n_fft)
    # time aliasing inside a frame and the window's slope over the 30 samples of delay
    assert np.abs(found - expected)[inside].max() < 0.05 * expected.std()
    undone = unshape(torch.from_numpy(expected)[None], filters, grid) - noise
    assert undone[0, inside].abs().max() < 0.25


def test_shaping_is_the_definition_frame_by_frame(speech: Speech) -> None:
    """G+ M G with scipy's stft and istft; the frame behind the last one holds its filter on."""
    config, grid = PRESETS["asr16"], grid_of(PRESETS["asr16"])
    filters = transfer(envelope(log_mel(speech(config, frames=20), config), config, PAPER), "minimum")
    noise = white(20 * 256)
    kinds = {"nperseg": 1024, "noverlap": 768, "window": "hann"}
    spectrum = signal.stft(noise[0].numpy(), **kinds, boundary="zeros", padded=False)[2]
    wide = np.concatenate([filters[0].numpy(), filters[0, :, -1:].numpy()], axis=1)
    expected = signal.istft(wide * spectrum, **kinds, boundary=True)[1]
    assert np.abs(shape(noise, filters, grid)[0].numpy() - expected).max() < 1e-10 * np.abs(expected).max()
    inverse = signal.istft(spectrum / wide, **kinds, boundary=True)[1]
    assert np.abs(unshape(noise, filters, grid)[0].numpy() - inverse).max() < 1e-10 * np.abs(inverse).max()


def test_the_last_filter_holds_on_where_a_frame_is_missing() -> None:
    filters = torch.randn(1, 513, 4)
    assert torch.equal(fitted(filters, grid_of(PRESETS["asr16"]), 1024)[..., 3:], filters[..., 3:].expand(-1, -1, 2))
    assert fitted(filters, grid_of(PRESETS["hifi22"]), 1024) is filters


@FRONT_ENDS
def test_the_white_prior_leaves_noise_as_it_is(config: MelConfig) -> None:
    mel = torch.zeros(2, config.n_mels, 12)
    filters = transfer(envelope(mel, config, replace(PAPER, prior="white")), "minimum")
    noise = torch.randn(2, 12 * config.hop_length)
    assert (shape(noise, filters, grid_of(config)) - noise).abs().max() < 1e-5


@FRONT_ENDS
def test_noise_is_as_loud_as_the_speech_it_stands_for(config: MelConfig, speech: Speech) -> None:
    """(c), defect 2: speech scaled by 0.3 has noise scaled by 0.3, as far as the floor lets it."""
    wav, noise, grid = speech(config), white(100 * config.hop_length), grid_of(config)
    mels = [log_mel(wav * gain, config) for gain in (1.0, 0.3)]
    loud, soft = (shape(noise, transfer(envelope(mel, config, PAPER), "minimum"), grid) for mel in mels)
    assert soft.std() / loud.std() == pytest.approx(0.3, rel=0.03)
    # in the paper's units some 12 dB above the speech
    assert 9 < decibel(loud, wav) < 18


@pytest.mark.parametrize("clip", ["slt/arctic_a0007", "austen/austen_64kb-0870"])
@FRONT_ENDS
def test_noise_follows_the_spectrum_of_speech(config: MelConfig, clip: str, speech: Speech) -> None:
    """(e), defects 3, 5, 6, 10: white noise is 17 dB off, a halved envelope 11 to 13 dB with a slope of 0.4 to 0.5."""
    grid, wav = grid_of(config), speech(config, clip, 80)
    filters = transfer(envelope(log_mel(wav, config), config, PAPER), "minimum")
    noise = shape(white(wav.shape[1], rows=4), filters, grid)
    heard = int(7000 / config.sample_rate * config.n_fft)
    power = stft(noise, grid).abs().square().mean(0)[:heard]
    own = stft(wav, grid)[0, :heard].abs().square().clamp(min=1e-10)
    assert (10 * (own / power).log10()).std() < 10.5
    x, y = (torch.nn.functional.avg_pool2d(p[None], (33, 3), 1)[0].log10().flatten().numpy() for p in (own, power))
    assert np.polyfit(x, y, 1)[0] > 0.6 and np.corrcoef(x, y)[0, 1] > 0.9


@pytest.mark.parametrize("phase", ["minimum", "zero"])
@pytest.mark.parametrize(("name", "least"), [("asr16", 4.0), ("specgrad24", 7.0)])
def test_the_inverse_is_nearly_one(name: str, least: float, phase: str, speech: Speech) -> None:
    """Defects 8, 9, 10: rectangular windows, a gain of 1/45, -24 dB. Exact for filters that change slowly only."""
    config = PRESETS[name]
    wav, grid = speech(config, frames=80), grid_of(config)
    filters = transfer(envelope(log_mel(wav, config), config, PAPER), phase)
    noise = white(wav.shape[1])
    again = unshape(shape(noise, filters, grid), filters, grid)
    assert decibel(noise, again - noise) > least
    assert abs(float((again * noise).mean() / noise.square().mean()) - 1) < 0.3


def test_single_precision_is_enough(speech: Speech) -> None:
    config, grid = PRESETS["asr16"], grid_of(PRESETS["asr16"])
    mel, noise = log_mel(speech(config), config), white(100 * 256)
    pairs = ((mel, noise), (mel.float(), noise.float()))
    exact, single = (shape(n, transfer(envelope(m, config, PAPER), "minimum"), grid) for m, n in pairs)
    assert single.dtype == torch.float32
    assert decibel(exact, single - exact) > 80


WRONG = [{"lifter": 0}, {"floor": 0.0}, {"power_width": -1.0}, {"energies": (4.0, 4.0)}, {"iterations": -1}]


@pytest.mark.parametrize("wrong", WRONG)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"shaping.{next(iter(wrong))} is"):
        ShapingConfig(**wrong)
