"""Linear prediction by a mel: the equations against scipy's, what it takes out of speech against least squares."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core import audio
from vocoder_core.linear_prediction import Predictor, levinson
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

MEL = PRESETS["asr16"]


def test_levinson_solves_what_scipy_solves() -> None:
    """The predictor is the solution of the Toeplitz equations, its error what they leave."""
    from scipy.linalg import solve_toeplitz

    noise = np.random.default_rng(0).standard_normal((3, 400))
    rows = np.stack([np.correlate(row, row, "full")[399 : 399 + 13] for row in noise])
    filters, error = levinson(torch.from_numpy(rows))
    for row, own, left in zip(rows, filters.numpy(), error.numpy(), strict=True):
        theirs = solve_toeplitz(row[:-1], -row[1:])
        np.testing.assert_allclose(own[1:], theirs, atol=1e-12)
        assert left == pytest.approx(row[0] + theirs @ row[1:], rel=1e-10)


def speech(shared_audio: Path) -> Tensor:
    wav, _ = audio.load(next((shared_audio / "carlo").glob("*.flac")), MEL.sample_rate)
    return torch.from_numpy(wav[: len(wav) // MEL.hop_length * MEL.hop_length])[None].double()


def test_the_mel_predicts_a_wave_nearly_as_well_as_the_wave_itself(shared_audio: Path) -> None:
    """Per block: the mel's predictor against the best of the same order, least squares on that very stretch of wave."""
    wav = speech(shared_audio)
    mel = log_mel(wav, MEL)
    filters, gain = Predictor(16, 256, MEL).double()(mel)
    own, best, told = [], [], []
    for block in range(4, mel.shape[2] - 4):
        rows = wav[0, block * 256 - 16 : block * 256 + 256].unfold(0, 17, 1).numpy()  # sample n last
        if rows.std() < 0.005:
            continue
        own.append(np.square(rows @ filters[0, block].flip(0).numpy()).mean())
        wide = wav[0, block * 256 - 400 : block * 256 + 656].unfold(0, 17, 1).numpy()
        taps = np.linalg.lstsq(wide[:, :16], wide[:, 16], rcond=None)[0]
        best.append(np.square(rows[:, 16] - rows[:, :16] @ taps).mean())
        told.append(float(gain[0, block]) ** 2)
    own, best, told, loud = (10 * np.log10(np.array(powers)) for powers in (own, best, told, [wav.var()] * len(own)))
    assert len(own) > 100 and np.median(loud - best) > 12, "there is something to predict"
    assert np.median(own - best) < 3, "a mel knows the envelope"
    assert abs(np.median(told - own)) < 1.5, "and how large the error is"


def test_blocks_lie_between_frames() -> None:
    """Of two sounds in turn, the predictor at the middle of a frame's hop is that of both frames' mean power."""
    quiet, loud = torch.randn(1, 80, 1).double() - 6, torch.randn(1, 80, 1).double() - 3
    mel = torch.cat([quiet, loud], dim=2)
    filters, _ = Predictor(8, 128, MEL).double()(mel)  # centred on samples 64, 192 | 320, 448 of frames at 0 and 256
    assert filters.shape == (1, 4, 9)
    torch.testing.assert_close(filters[:, 2:], Predictor(8, 128, MEL).double()(loud.expand(-1, -1, 2))[0][:, :2])
    amplitude = [spectrum(part) for part in (quiet, loud)]
    for block, part in ((0, 0.25), (1, 0.75)):
        mean = (1 - part) * amplitude[0] ** 2 + part * amplitude[1] ** 2
        row = np.fft.irfft(mean)[:9] / np.square(np.hanning(1025)[:1024]).sum()
        row[0] = row[0] * (1 + 1e-5) + 1e-9
        taps, _ = levinson(torch.from_numpy(row))
        torch.testing.assert_close(filters[0, block], taps, rtol=1e-4, atol=1e-5)


def spectrum(mel: Tensor) -> np.ndarray:
    from vocoder_core.griffinlim import spectrum_of_mel

    return spectrum_of_mel(mel, MEL, updates=0)[0, :, 0].numpy()


def test_silence_is_predicted_without_nan() -> None:
    filters, gain = Predictor(24, 64, MEL)(log_mel(torch.zeros(1, 1024), MEL))
    assert filters.isfinite().all() and (gain > 0).all() and not list(Predictor(24, 64, MEL).state_dict())


def test_a_block_divides_the_hop() -> None:
    with pytest.raises(ValueError, match="a block of 60 samples; expected a divisor of hop_length 256"):
        Predictor(8, 60, MEL)
    assert Predictor(8, 64, replace(MEL, hop_length=320)).block == 64
