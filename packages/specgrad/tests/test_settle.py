"""Settling: phases that fit from frame to frame (scipy as the oracle), and a mel that comes back as it was wanted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from specgrad.settle import aimed, gains, matched, settled
from specgrad.shaping import ShapingConfig, bands, envelope, shape, window_gain
from specgrad.transform import grid_of
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

signal = pytest.importorskip("scipy.signal")
Speech = Callable[..., Tensor]
PAPER = ShapingConfig()


def white(samples: int) -> Tensor:
    return torch.randn(1, samples, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_settled_noise_is_fast_griffin_lim_with_scipy(speech: Speech) -> None:
    """Perraudin et al. 2013: magnitudes put back, phases of c_n + 0.99 (c_n - c_{n-1})."""
    config, grid = PRESETS["asr16"], grid_of(PRESETS["asr16"])
    mel = log_mel(speech(config, frames=20), config)
    filters = envelope(mel, config, PAPER)
    noise = white(20 * 256)
    kinds = {"nperseg": 1024, "noverlap": 768, "window": "hann"}
    magnitude = np.concatenate([filters[0].numpy(), filters[0, :, -1:].numpy()], axis=1)
    unit = signal.get_window("hann", 1024).sum()  # scipy's STFT is divided by it
    wav, last = noise[0].numpy(), None
    for _ in range(4):
        spectrum = signal.stft(wav, **kinds, boundary="zeros", padded=False)[2] * unit
        ahead = spectrum if last is None else spectrum + 0.99 * (spectrum - last)
        last = spectrum
        wav = signal.istft(magnitude * np.exp(1j * np.angle(ahead)) / unit, **kinds, boundary=True)[1]
    found = settled(noise, filters, grid, 4)[0].numpy()
    assert np.abs(found - wav).max() < 1e-8 * np.abs(wav).max()
    assert settled(noise, filters, grid, 0) is noise

    def off(x: np.ndarray) -> float:
        own = np.abs(signal.stft(x, **kinds, boundary="zeros", padded=False)[2] * unit)
        return float(np.linalg.norm(own - magnitude) / np.linalg.norm(magnitude))

    assert off(found) < 0.7 * off(shape(noise, filters, grid)[0].numpy() / window_gain(grid))


@pytest.mark.parametrize("preset", ["asr16", "rnnms16", "hifi22"])
def test_a_wave_whose_mel_is_the_wanted_one_is_left_alone(preset: str, speech: Speech) -> None:
    config = PRESETS[preset]
    wav = speech(config, frames=40)
    factor = gains(wav, bands(log_mel(wav, config), config), grid_of(config, 2), config)
    inner = factor[:, 2:-4, 4:-4]  # at its ends log_mel mirrors the wave, the grid has silence there
    assert float((inner.log().abs()).quantile(0.9)) < 0.02


@pytest.mark.parametrize("scale", [1, 2])
def test_what_is_too_quiet_in_a_band_is_made_louder_there(scale: int, speech: Speech) -> None:
    """A wave with everything above 2 kHz at a half: matched, its mel is nearer to the wanted one."""
    config, grid = PRESETS["asr16"], grid_of(PRESETS["asr16"], scale)
    wav = speech(config, frames=40)
    mel = log_mel(wav, config)
    taps = torch.from_numpy(signal.firwin(201, 2000, fs=16_000))[None, None]
    low = torch.nn.functional.conv1d(wav[:, None], taps, padding=100)[:, 0]
    dull = 0.5 * (wav + low)
    before, after = (float((log_mel(x, config) - mel).abs().mean()) for x in (dull, matched(dull, grid, mel, config)))
    assert before > 0.25 and after < 0.6 * before


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_kernel_does_what_the_definition_says(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    spectrum, last = (torch.randn(2, 5, 33, 2, dtype=dtype, generator=generator) for _ in range(2))
    aim = torch.rand(2, 5, 33, dtype=dtype, generator=generator)
    for before in (None, torch.view_as_complex(last)):
        now = torch.view_as_complex(spectrum)
        ahead = now if before is None else now + 0.99 * (now - before)
        wanted = aim * ahead / ahead.abs()
        found, kept = aimed(now.clone(), None if before is None else before.clone(), aim)
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(kept, now)
