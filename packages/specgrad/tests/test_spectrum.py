"""The learned spectrum: starts as the one that fits the mel, and its loss is what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from specgrad.shaping import bands, detailed, mel_density
from specgrad.spectrum import SpectrumNet
from vocoder_core import audio
from vocoder_core.griffinlim import spectrum_of_mel
from vocoder_core.mel import filterbank, log_mel
from vocoder_core.mel_presets import PRESETS

MEL = PRESETS["asr16"]


@pytest.fixture(scope="module")
def wav(shared_audio: Path) -> torch.Tensor:
    """A second of speech (1, T), whole frames."""
    own, _ = audio.load(shared_audio / "slt" / "arctic_a0009.flac", 16_000)
    return torch.from_numpy(own[8000 : 8000 + 62 * 256])[None]


def small(scale: int = 1) -> SpectrumNet:
    torch.manual_seed(0)
    return SpectrumNet(MEL, scale, width=16, layers=2, kernel=7, floor=0.03)


def test_an_untrained_network_gives_the_spectrum_that_fits_the_mel(wav: torch.Tensor) -> None:
    mel = log_mel(wav, MEL)
    made = small()(mel, mel)
    fitting = (spectrum_of_mel(mel, MEL, 10) + 0.03).log()
    torch.testing.assert_close(made.logarithm[..., :-1], fitting, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.logarithm[..., -1], fitting[..., -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("scale", [2, 4])
def test_on_shorter_windows_it_starts_near_what_those_windows_see(wav: torch.Tensor, scale: int) -> None:
    mel = log_mel(wav, MEL)
    net = small(scale)
    made = net(mel, mel)
    true = torch.stft(wav, 1024 // scale, 256 // scale, window=torch.hann_window(1024 // scale), return_complex=True)
    assert made.amplitude.shape == true.shape
    off = ((made.amplitude + 0.03).log() - (true.abs() + 0.03).log())[..., 4:-4]
    assert abs(float(off.mean())) < 0.25 and float(off.abs().mean()) < 0.6


def test_more_updates_bring_a_wrong_start_nearer_to_the_mel(wav: torch.Tensor) -> None:
    mel = log_mel(wav, MEL)
    start = torch.rand(1, 513, mel.shape[2], generator=torch.Generator().manual_seed(0)) + 0.1
    filters = torch.from_numpy(filterbank(MEL)).float()
    errors = [
        float(((filters @ detailed(mel, MEL, updates, start)) - bands(mel, MEL)).abs().mean()) for updates in (0, 2, 20)
    ]
    assert errors[0] > 5 * errors[1] > 10 * errors[2]


def test_the_loss_is_the_mean_distance_of_logarithms(wav: torch.Tensor) -> None:
    net = small(2)
    mel = log_mel(wav, MEL)
    made = net(mel, mel)
    window = np.hanning(513)[:-1]
    padded = np.pad(wav[0].numpy().astype(np.float64), 256)
    frames = np.stack([padded[i * 128 : i * 128 + 512] * window for i in range(2 * mel.shape[2] + 1)])
    true = np.log(np.abs(np.fft.rfft(frames)) + 0.03).T
    distance = np.abs(true - made.logarithm[0].detach().numpy())
    torch.testing.assert_close(net.loss(made, wav).item(), distance.mean(), atol=1e-4, rtol=1e-4)
    density = mel_density(257, 16_000, wav)
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


def test_gradients_reach_every_parameter_through_the_loss_alone(wav: torch.Tensor) -> None:
    net, wav = small(), wav[:, : 18 * 256]
    torch.nn.init.normal_(net.refine.weight, std=0.1)
    mel = log_mel(wav, MEL)
    made = net(mel, mel)
    assert not made.amplitude.requires_grad
    net.loss(made, wav).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
