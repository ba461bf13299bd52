"""G and G+: against the definition, librosa, scipy and a dense pseudo-inverse; and that its frames are the mel's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from specgrad.transform import Grid, grid_of, istft, stft
from vocoder_core.mel import MelConfig, filterbank, log_mel
from vocoder_core.mel_presets import PRESETS

signal = pytest.importorskip("scipy.signal")

GRIDS = {name: grid_of(config) for name, config in PRESETS.items()} | {
    "asr16 / 2": grid_of(PRESETS["asr16"], 2),
    "hifi22 / 2": grid_of(PRESETS["hifi22"], 2),
    "odd": Grid(n_fft=30, win_length=22, hop_length=7),
    "no overlap but one": Grid(n_fft=16, win_length=16, hop_length=8, offset=4),
}
GRID = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
PLAIN = ["waveglow22", "specgrad24", "asr16", "hifi22", "libri24"]  # without pre-emphasis


def by_definition(wav: np.ndarray, grid: Grid) -> np.ndarray:
    """sum_m w[m] x[centre + m] e^(-i w (m + n_fft / 2)), one frame after another, scipy's window, zeros outside."""
    window = signal.get_window("hann", grid.win_length)
    padded = np.pad(wav, grid.n_fft)
    side = (grid.n_fft - grid.win_length) // 2
    frames = []
    for j in range(grid.frames(len(wav))):
        start = grid.n_fft + j * grid.hop_length + grid.offset - grid.win_length // 2
        frame = np.zeros(grid.n_fft)
        frame[side : side + grid.win_length] = window * padded[start : start + grid.win_length]
        frames.append(np.fft.rfft(frame))
    return np.stack(frames, axis=1)


@GRID
def test_frames_are_the_definitions(grid: Grid) -> None:
    """A Hann window (not none), no normalisation, centred on sample j * hop + offset: j frames drift by no sample."""
    wav = torch.randn(2, 9 * grid.hop_length, dtype=torch.float64)
    expected = np.stack([by_definition(row.numpy(), grid) for row in wav])
    assert stft(wav, grid).shape == (2, grid.bins, 9 if grid.offset else 10) == expected.shape
    assert np.abs(stft(wav, grid).numpy() - expected).max() < 1e-10 * np.abs(expected).max()


@pytest.mark.parametrize("name", ["rnnms16", "asr16", "specgrad24"])
def test_centred_frames_are_librosas(name: str) -> None:
    librosa = pytest.importorskip("librosa")
    grid, wav = GRIDS[name], torch.randn(1, 12 * GRIDS[name].hop_length, dtype=torch.float64)
    kinds = {"n_fft": grid.n_fft, "hop_length": grid.hop_length, "win_length": grid.win_length}
    expected = librosa.stft(wav[0].numpy(), **kinds, center=True, pad_mode="constant", dtype=np.complex128)
    assert np.abs(stft(wav, grid)[0].numpy() - expected).max() < 1e-10 * np.abs(expected).max()
    again = librosa.istft(expected, **kinds, length=wav.shape[1], dtype=np.float64)
    assert np.abs(istft(torch.from_numpy(expected)[None], grid, wav.shape[1])[0].numpy() - again).max() < 1e-10


@pytest.mark.parametrize("name", PLAIN)
def test_frames_are_those_of_the_mel(name: str, speech: Callable[..., torch.Tensor]) -> None:
    """|stft| through the filters is the mel that log_mel makes, frame by frame, wherever no window meets an end."""
    config = PRESETS[name]
    wav = speech(config, frames=60)
    bands = torch.from_numpy(filterbank(config)) @ stft(wav, grid_of(config)).abs()
    away = config.n_fft // config.hop_length
    inside = slice(away, 60 - away)
    # HiFi-GAN's 1e-9 under the square root is the only difference
    expected = log_mel(wav, replace(config, magnitude_eps=0.0))[..., inside]
    assert (bands[..., inside].clamp(min=config.floor).log() - expected).abs().max() < 1e-9


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
@GRID
def test_istft_undoes_stft_to_the_last_sample_of_both_ends(grid: Grid, dtype: torch.dtype, error: float) -> None:
    for frames in (1, 2, 11):
        wav = torch.rand(3, frames * grid.hop_length, dtype=dtype) * 2 - 1
        again = istft(stft(wav, grid), grid, wav.shape[1])
        assert again.shape == wav.shape and again.dtype == dtype
        assert (again - wav).abs().max() < error


@pytest.mark.parametrize("offset", [0, 2])
def test_istft_is_the_pseudo_inverse(offset: int) -> None:
    """Of the wave nearest in the whole spectrum, by a dense least-squares solution; also for what is no STFT."""
    grid = Grid(n_fft=16, win_length=12, hop_length=4, offset=offset)
    length = 5 * grid.hop_length
    columns = stft(torch.eye(length, dtype=torch.float64), grid)
    twice = np.full((grid.bins, 1), np.sqrt(2.0))  # a one-sided spectrum holds its mirrored half too
    twice[[0, -1]] = 1

    def flat(spectrum: torch.Tensor) -> np.ndarray:
        weighted = spectrum.numpy() * twice
        return np.stack([weighted.real, weighted.imag]).swapaxes(0, 1).reshape(len(spectrum), -1)

    # the transform of any frames of n_fft real samples: far from every STFT, but a spectrum
    other = torch.fft.rfft(torch.randn(1, columns.shape[2], grid.n_fft, dtype=torch.float64)).transpose(1, 2)
    nearest, *_ = np.linalg.lstsq(flat(columns).T, flat(other)[0], rcond=None)
    assert np.abs(istft(other, grid, length)[0].numpy() - nearest).max() < 1e-12


def test_a_grid_follows_its_mel() -> None:
    assert grid_of(PRESETS["specgrad24"]) == Grid(2048, 1200, 300, 0)
    assert grid_of(PRESETS["asr16"], 2) == Grid(512, 512, 128, 0)
    assert grid_of(PRESETS["hifi22"]) == Grid(1024, 1024, 256, 128)
    assert grid_of(PRESETS["hifi22"], 2) == Grid(512, 512, 128, 64)


def test_lengths_that_cannot_be_are_refused_in_a_sentence() -> None:
    with pytest.raises(ValueError, match="multiple of hop_length 256"):
        stft(torch.zeros(1, 257), GRIDS["asr16"])
    with pytest.raises(ValueError, match="hop_length is 75; expected a multiple of 2"):
        grid_of(MelConfig(n_fft=300, win_length=300, hop_length=75, n_mels=8))
    with pytest.raises(ValueError, match="expected a multiple of 16"):
        grid_of(PRESETS["specgrad24"], 8)


def test_gradients_pass_through_both_ways() -> None:
    grid = Grid(n_fft=16, win_length=12, hop_length=4)
    wav = torch.randn(1, 12, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: istft(stft(x, grid) * 2, grid, 12), wav)
