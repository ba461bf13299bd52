"""The learned spectrum: starts as the one that fits the mel, ends fitted to it, and its loss is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from specgrad.shaping import bands, detailed, mel_density
from specgrad.spectrum import SpectrumNet
from vocoder_core import audio
from vocoder_core.griffinlim import spectrum_of_mel
from vocoder_core.mel import MelConfig, filterbank, log_mel
from vocoder_core.mel_presets import PRESETS

MEL = PRESETS["asr16"]
SPEECH = Path(__file__).parents[3] / "shared-audio"


def speech(seconds: float = 1.0) -> torch.Tensor:
    wav, _ = audio.load(SPEECH / "slt" / "arctic_a0009.flac", 16_000)
    samples = int(seconds * 16_000) // 256 * 256
    return torch.from_numpy(wav[8000 : 8000 + samples])[None]


def small(mel: MelConfig = MEL) -> SpectrumNet:
    torch.manual_seed(0)
    return SpectrumNet(mel, width=16, layers=2, kernel=7, floor=0.03)


def test_an_untrained_network_gives_the_spectrum_that_fits_the_mel() -> None:
    mel = log_mel(speech(), MEL)
    made = small()(mel, mel)
    torch.testing.assert_close(made.logarithm, (spectrum_of_mel(mel, MEL, 10) + 0.03).log(), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("preset", ["asr16", "rnnms16"])
def test_whatever_the_network_says_its_spectrum_comes_near_the_bands_of_the_mel(preset: str) -> None:
    """rnnms16 has pre-emphasis and a floor that hides quiet bands: only the audible ones can agree."""
    config = PRESETS[preset]
    net = small(config)
    torch.nn.init.normal_(net.refine.weight, std=0.5)
    mel = log_mel(speech()[:, : 16_000 // config.hop_length * config.hop_length], config)
    made = net(mel, mel)
    wanted = bands(mel, config)[0].double().numpy()
    loud = wanted > np.quantile(wanted, 0.3)

    def off(amplitude: torch.Tensor) -> float:
        spectrum = amplitude[0].detach().double().numpy()
        if config.preemphasis:
            angle = np.linspace(0, np.pi, len(spectrum))[:, None]
            spectrum = spectrum * np.abs(1 - config.preemphasis * np.exp(-1j * angle))
        return float(np.median(np.abs(np.log(filterbank(config) @ spectrum + 1e-9) - np.log(wanted))[loud]))

    said = (made.logarithm.exp() - 0.03).clamp(min=1e-5)
    assert off(said) > 0.5, "the network has to say something else"
    assert off(made.amplitude) < 0.15 * off(said)


def test_more_updates_bring_a_wrong_start_nearer_to_the_mel() -> None:
    mel = log_mel(speech(), MEL)
    start = torch.rand(1, 513, mel.shape[2], generator=torch.Generator().manual_seed(0)) + 0.1
    filters = torch.from_numpy(filterbank(MEL)).float()
    errors = [
        float(((filters @ detailed(mel, MEL, updates, start)) - bands(mel, MEL)).abs().mean()) for updates in (0, 2, 20)
    ]
    assert errors[0] > 5 * errors[1] > 10 * errors[2]


def test_the_loss_is_the_mean_distance_of_logarithms() -> None:
    net, wav = small(), speech()
    mel = log_mel(wav, MEL)
    made = net(mel, mel)
    window = np.hanning(1025)[:-1]
    padded = np.pad(wav[0].numpy().astype(np.float64), 512)
    frames = np.stack([padded[i * 256 : i * 256 + 1024] * window for i in range(mel.shape[2])])
    true = np.log(np.abs(np.fft.rfft(frames)) + 0.03).T
    distance = np.abs(true - made.logarithm[0].detach().numpy())
    torch.testing.assert_close(net.loss(made, wav).item(), distance.mean(), atol=1e-4, rtol=1e-4)
    density = mel_density(513, 16_000, wav)
    weighted = (distance * density.numpy()[:, None]).mean()
    torch.testing.assert_close(net.loss(made, wav, density).item(), weighted, atol=1e-4, rtol=1e-4)


def test_mel_density_is_the_slope_of_slaneys_scale() -> None:
    librosa = pytest.importorskip("librosa")
    hertz = np.linspace(0, 8000, 513)
    slope = np.gradient(librosa.hz_to_mel(hertz), hertz)
    mine = mel_density(513, 16_000, torch.ones(1, dtype=torch.float64)).numpy()
    apart = np.abs(hertz - 1000) > 40  # the bend lies between two bins
    np.testing.assert_allclose(mine[apart], (slope / slope.mean())[apart], rtol=0.02)
    assert abs(mine.mean() - 1) < 1e-12


def test_gradients_reach_every_parameter_through_the_loss_alone() -> None:
    net, wav = small(), speech(0.3)
    torch.nn.init.normal_(net.refine.weight, std=0.1)
    mel = log_mel(wav, MEL)
    made = net(mel, mel)
    assert not made.amplitude.requires_grad
    net.loss(made, wav).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
