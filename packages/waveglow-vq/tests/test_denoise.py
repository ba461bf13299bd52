"""denoise: the constant tones of a flow go, speech stays; against librosa's STFT and against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from math import pi

import librosa
import numpy as np
import pytest
import torch

from vocoder_core.mel import silence_level
from vocoder_core.mel_presets import PRESETS
from vocoder_core.vq import QuantizerConfig
from waveglow_vq import WaveGlowVQ, WaveGlowVQConfig
from waveglow_vq.condition import ConditionConfig
from waveglow_vq.denoise import N_FFT, bias_spectrum, comb, subtract
from waveglow_vq.flow import FlowConfig
from waveglow_vq.whiten import WhitenConfig

RATE, GROUP = 16_000, 16
Speech = Callable[..., torch.Tensor]


def tone(hz: float, samples: int = 16_000) -> torch.Tensor:
    return 0.1 * torch.sin(2 * pi * hz / RATE * torch.arange(samples))[None]


def test_subtraction_is_magnitudes_less_the_bias_with_the_phases_kept(speech: Speech) -> None:
    """As NVIDIA's denoiser says: |X| - strength * bias, not below 0, back with the phases of X."""
    wav = speech(PRESETS["asr16"]).float()
    bias = torch.rand(N_FFT // 2 + 1, generator=torch.Generator().manual_seed(0))
    spectrum = librosa.stft(wav[0].numpy(), n_fft=N_FFT, hop_length=256, window="hann", pad_mode="reflect")
    magnitude = np.maximum(np.abs(spectrum) - 0.3 * bias.numpy()[:, None], 0)
    expected = librosa.istft(magnitude * np.exp(1j * np.angle(spectrum)), hop_length=256, length=wav.shape[1])
    torch.testing.assert_close(subtract(wav, bias, 0.3)[0].numpy(), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("samples", [0, 1, 300, 513, 5000])
def test_nothing_taken_off_leaves_a_wave_of_any_length_as_it_was(samples: int) -> None:
    wav = torch.randn(2, samples, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(subtract(wav, torch.ones(N_FFT // 2 + 1), 0.0), wav, atol=2e-6, rtol=0)
    with pytest.raises(ValueError, match="strength is -1"):
        subtract(wav, torch.ones(N_FFT // 2 + 1), -1)


def vocoder() -> WaveGlowVQ:
    """A small flow whose films shift one channel, whatever the mel says: tones at multiples of RATE / GROUP."""
    torch.manual_seed(0)
    flow = FlowConfig(flows=2, layers=2, channels=8, early_every=2, early_size=2, prenet=8)
    model = WaveGlowVQ(WaveGlowVQConfig(flow=flow, whiten=WhitenConfig(order=0))).eval()
    assert model.flow.films is not None
    with torch.no_grad():
        for film in model.flow.films:
            film.project.bias[3] = 0.05
    return model


@pytest.mark.parametrize("mel", ["zeros", "silence"])
def test_the_bias_of_a_network_lies_at_multiples_of_the_group_rate(mel: str) -> None:
    bias = bias_spectrum(vocoder(), mel)  # type: ignore[arg-type]
    bins = torch.arange(len(bias)) * RATE / N_FFT
    near = (bins % (RATE / GROUP) < 40) | (bins % (RATE / GROUP) > RATE / GROUP - 40)
    assert bias[near].square().sum() > 0.99 * bias.square().sum() > 0


def test_a_network_that_hears_codes_of_the_wave_has_a_bias_too() -> None:
    small = FlowConfig(group=8, flows=2, layers=2, channels=8, cond="group", prenet=0, subframes=1, film=False)
    config = WaveGlowVQConfig(
        flow=small,
        whiten=WhitenConfig(order=0),
        condition=ConditionConfig(source="wav", channels=8),
        quantizer=QuantizerConfig(size=16, dim=8),
    )
    torch.manual_seed(0)
    model = WaveGlowVQ(config).eval()
    torch.nn.init.constant_(model.flow.couplings[1].end.bias, 0.01)  # type: ignore[union-attr, arg-type]
    assert bias_spectrum(model).isfinite().all()
    assert bias_spectrum(model).max() > 0.1


def test_both_ways_take_the_tones_of_a_network_out_of_its_wave() -> None:
    model = vocoder()
    silence = torch.full((1, 80, 60), silence_level(model.config.mel))
    wav = model.synthesize(silence, sigma=0.0, settle=0)
    inner = slice(1024, -1024)
    assert subtract(wav, bias_spectrum(model, "silence"), 1.0)[:, inner].std() < 0.1 * wav[:, inner].std()
    assert comb(wav, GROUP, RATE)[:, inner].std() < 0.01 * wav[:, inner].std()


@pytest.mark.parametrize("hz", [0.0, 3.0, 100.0, 440.0, 1000.0, 1010.0, 3000.0])
def test_the_comb_has_the_gain_of_one_less_the_mean_of_a_phase(hz: float) -> None:
    """|H(f)| = |1 - sin(n pi f G / R) / (n sin(pi f G / R))|, n samples of a phase: 0 at multiples of R / G."""
    n = 51  # 50 ms of one phase at 16 kHz / 16, odd
    turn = pi * hz * GROUP / RATE
    mean = 1.0 if abs(np.sin(turn)) < 1e-9 else np.sin(n * turn) / (n * np.sin(turn))
    wav = tone(hz) if hz else torch.full((1, 16_000), 0.1)
    inner = slice(2000, -2000)
    expected = abs(1 - mean) * wav[:, inner].std() if hz else wav.new_zeros(())
    torch.testing.assert_close(comb(wav, GROUP, RATE)[:, inner].std(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [0, 1, 15, 16, 1003])
def test_the_comb_takes_a_constant_of_any_length_off_to_its_very_ends(samples: int) -> None:
    assert comb(torch.ones(2, samples), GROUP, RATE).abs().sum() < 1e-3


def test_speech_is_hardly_touched_by_the_comb(speech: Speech) -> None:
    wav = speech(PRESETS["asr16"]).float()
    lost = (comb(wav, GROUP, RATE) - wav).square().sum() / wav.square().sum()
    assert lost < 0.05
