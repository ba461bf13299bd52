"""Pitch: closed form on made sounds, pyworld and librosa's pYIN on real speech; numbers of it, and other people's."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core import audio
from vocoder_core.pitch import (
    LEVELS,
    STRETCH,
    PitchConfig,
    filled,
    height,
    lags,
    moved,
    numbers,
    smoothed,
    track,
    voice,
)

RATE, HOP = 16_000, 256


def voiced(hertz: Tensor | float, seconds: float = 1.0, noise: float = 0.0) -> Tensor:
    """A buzz (1, T) of harmonics up to 4 kHz, falling by 6 dB an octave."""
    count = round(seconds * RATE / HOP) * HOP
    f0 = torch.as_tensor(hertz, dtype=torch.float64).expand(count)
    phase = 2 * torch.pi * f0.cumsum(0) / RATE
    wave = sum((torch.sin(k * phase) / k) * (k * f0 < 4000) for k in range(1, 60))
    hiss = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (0.2 * (torch.as_tensor(wave) + noise * hiss)).float()[None]


@pytest.mark.parametrize("hertz", [65.0, 98.0, 123.4, 220.0, 311.1, 480.0])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_steady_tone_has_its_period(hertz: float, noise: float) -> None:
    lag, voicing = track(voiced(hertz, noise=noise), RATE, HOP)
    assert lag.shape == voicing.shape == (1, 62)
    inside = slice(2, -2)
    assert (1200 * torch.log2(RATE / lag[0, inside] / hertz)).abs().max() < (3 if noise == 0 else 12), "cents"
    low = 0.8 if hertz < 75 else 0.98 if noise == 0 else 0.85  # the window holds 2.5 periods of 60 Hz
    assert voicing[0, inside].min() > low and voicing.max() <= 1


def test_a_glide_is_followed_and_lies_in_the_middle_of_the_frame() -> None:
    """Two octaves in two seconds: a frame's pitch is that of its middle sample, not of its edge, 10 cents away."""
    f0 = 100 * 4 ** (torch.arange(2 * RATE // HOP * HOP, dtype=torch.float64) / (2 * RATE))
    lag, voicing = track(voiced(f0, 2.0), RATE, HOP)
    middle = f0[HOP // 2 :: HOP]
    cents = (1200 * torch.log2(RATE / lag[0] / middle))[4:-4]
    assert cents.abs().max() < 8 and abs(cents.mean()) < 3 and (voicing[0, 4:-4] > 0.8).all()


@pytest.mark.parametrize("hertz", [90.0, 180.0])
def test_a_missing_fundamental_is_still_the_pitch(hertz: float) -> None:
    t = torch.arange(RATE) / RATE
    wave = sum(torch.sin(2 * torch.pi * k * hertz * t) for k in (3, 4, 5, 6)) * 0.1
    lag, voicing = track(torch.as_tensor(wave)[None], RATE, HOP)
    assert (1200 * torch.log2(RATE / lag[0, 3:-3] / hertz)).abs().max() < 5 and (voicing[0, 3:-3] > 0.9).all()


def test_noise_silence_and_a_whisper_in_the_floor_are_unvoiced() -> None:
    noise = torch.randn(1, RATE, generator=torch.Generator().manual_seed(0))
    assert (track(0.1 * noise, RATE, HOP)[1] > 0).float().mean() < 0.1
    lag, voicing = track(torch.zeros(1, RATE), RATE, HOP)
    assert not voicing.any() and (lag == lag[0, 0]).all() and 60 < RATE / lag[0, 0] < 500
    assert not track(voiced(150.0) * 0.005, RATE, HOP)[1][0, 5:-5].any(), "46 dB below full scale"


def test_rows_are_alone_and_an_end_of_silence_moves_nothing() -> None:
    one, other = voiced(130.0), voiced(240.0, noise=0.3)
    together = track(torch.cat([one, other]), RATE, HOP)
    for row, alone in enumerate((one, other)):
        for seen, own in zip(together, track(alone, RATE, HOP), strict=True):
            torch.testing.assert_close(seen[row], own[0])
    longer = track(torch.cat([one, torch.zeros(1, 40 * HOP)], 1), RATE, HOP)
    for seen, own in zip(longer, track(one, RATE, HOP), strict=True):
        torch.testing.assert_close(seen[:, :58], own[:, :58])


@pytest.mark.parametrize("samples", [0, 100, 256, 600])
def test_short_waves(samples: int) -> None:
    lag, voicing = track(torch.zeros(2, samples), RATE, HOP)
    assert lag.shape == voicing.shape == (2, samples // HOP) and lag.isfinite().all()


def test_a_long_file_is_the_same_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = track(voiced(140.0, 2.0), RATE, HOP)
    monkeypatch.setattr("vocoder_core.pitch.PIECE", 7)
    for seen, own in zip(track(voiced(140.0, 2.0), RATE, HOP), whole, strict=True):
        torch.testing.assert_close(seen, own)


def recordings(shared_audio: Path) -> list[np.ndarray]:
    """One of each of four speakers, up to 5 s, the highest sample at 0.95: what the models hear."""
    found = [min((shared_audio / name).glob("*.flac")) for name in ("carlo", "slt", "austen", "ru_nsh")]
    waves = [audio.load(path, RATE)[0][: 5 * RATE] for path in found]
    return [(0.95 / np.abs(wave).max() * wave)[: len(wave) // HOP * HOP] for wave in waves]


Tracks = list[tuple[np.ndarray, dict[str, np.ndarray]]]  # ours by frame, 0 unvoiced, and theirs


@pytest.fixture(scope="module")
def tracks(shared_audio: Path) -> Tracks:
    """F0 in Hz of the middle of each frame, by this tracker, WORLD's Harvest and pYIN."""
    pyworld, librosa = pytest.importorskip("pyworld"), pytest.importorskip("librosa")
    found = []
    for wave in recordings(shared_audio):
        lag, voicing = (row[0].numpy() for row in track(torch.from_numpy(wave)[None], RATE, HOP))
        f0, _ = pyworld.harvest(wave.astype(np.float64), RATE, f0_floor=60, f0_ceil=500, frame_period=1.0)
        harvest = f0[np.round((np.arange(len(lag)) + 0.5) * HOP / RATE * 1000).astype(int).clip(0, len(f0) - 1)]
        f0, _, _ = librosa.pyin(
            np.pad(wave, (0, 1024)), fmin=60, fmax=500, sr=RATE, frame_length=1024, hop_length=HOP // 2
        )
        pyin = np.nan_to_num(f0[1 : 2 * len(lag) : 2])
        found.append((np.where(voicing > 0, RATE / lag, 0), {"harvest": harvest, "pyin": pyin}))
    return found


@pytest.mark.parametrize("judge", ["harvest", "pyin"])
def test_real_speech_has_the_pitch_that_others_find(judge: str, tracks: Tracks) -> None:
    """Gross errors (over 20 %) under 5 % of what both call voiced; the rest within a few cents in the median."""
    gross, fine = [], []
    for ours, theirs in tracks:
        both = (ours > 0) & (theirs[judge] > 0)
        cents = np.abs(1200 * np.log2(ours[both] / theirs[judge][both]))
        gross.append(cents > 1200 * np.log2(1.2))
        fine.append(cents[~gross[-1]])
    assert np.concatenate(gross).mean() < 0.05
    assert np.median(np.concatenate(fine)) < (8 if judge == "harvest" else 25), "pYIN's own grid is 10 cents"


def test_voicing_is_theirs_where_they_agree(tracks: Tracks) -> None:
    """pYIN and Harvest differ in a quarter of all frames; in the others, fewer than a tenth of ours are wrong."""
    wrong, frames = 0, 0
    for ours, theirs in tracks:
        one, other = theirs["harvest"] > 0, theirs["pyin"] > 0
        wrong, frames = wrong + int(((ours > 0) != one)[one == other].sum()), frames + int((one == other).sum())
    assert wrong / frames < 0.1


def test_unvoiced_frames_lie_between_their_neighbours() -> None:
    lag = torch.tensor([[7.0, 100.0, 7.0, 7.0, 7.0, 200.0, 7.0], [7.0] * 7])
    known = torch.tensor([[False, True, False, False, False, True, False], [False] * 7])
    seen = filled(lag, known, 90.0)
    expected = np.exp(np.interp(np.arange(7), [1, 5], np.log([100, 200])))
    np.testing.assert_allclose(seen[0].numpy(), expected, rtol=1e-5)
    assert torch.equal(seen[1], torch.full((7,), 90.0))


def test_numbers_take_six_bits_and_come_back_within_half_a_step() -> None:
    f0 = torch.linspace(60, 500, 400).expand(1, -1)
    seen = numbers(RATE / f0, torch.ones_like(f0), RATE)
    assert int(seen.min()) == 1 and int(seen.max()) == LEVELS == 63
    back, voicing = lags(seen, RATE)
    step = 1200 * np.log2(500 / 60) / (LEVELS - 1)
    assert step < 60 and (1200 * torch.log2(RATE / back / f0))[0, 5:-5].abs().max() < step / 2 + 0.1 and voicing.all()
    assert torch.equal(numbers(back, voicing, RATE), seen)
    torch.testing.assert_close(height(RATE / f0, RATE), (f0.log() - log(60)) / (log(500) - log(60)))
    quiet = numbers(RATE / f0, torch.zeros_like(f0), RATE)
    assert not quiet.any() and not lags(quiet, RATE)[1].any() and lags(quiet[:, :0], RATE)[0].shape == (1, 0)


def test_smoothing_takes_steps_out_and_keeps_a_steady_pitch() -> None:
    """Of a glide in 63 numbers what is left of the steps is less than half; ends stay."""
    f0 = 100 * 4 ** (torch.arange(300.0) / 300)[None]
    steps = lags(numbers(RATE / f0, torch.ones_like(f0), RATE), RATE)[0]
    rough, smooth = (
        1200 * torch.log2(lag[:, 1:] / lag[:, :-1]).diff().abs().mean() for lag in (steps, smoothed(steps))
    )
    assert smooth < 0.5 * rough and (1200 * torch.log2(smoothed(steps) / (RATE / f0))).abs().max() < 31
    flat = torch.full((2, 5), 77.0)
    torch.testing.assert_close(smoothed(flat), flat)
    assert smoothed(flat[:, :0]).shape == (2, 0)


def test_a_voice_is_moved_into_anothers_range_and_keeps_its_melody() -> None:
    """Mean and deviation of log F0 become the target's; a monotonous sentence is stretched by 1.5 at most."""
    up = log(120) + 0.15 * torch.sin(torch.arange(200) / 9.0)[None]
    voicing = (torch.arange(200) % 50 < 40).float()[None]
    target = torch.tensor([[log(210), 0.12]])
    lag = moved(RATE / up.exp(), voicing, target, RATE)
    torch.testing.assert_close(voice(lag, voicing, RATE), target, atol=1e-4, rtol=0)
    assert np.corrcoef(torch.log(RATE / lag)[0], up[0])[0, 1] > 0.9999
    wide = voice(moved(RATE / up.exp(), voicing, torch.tensor([[log(210), 0.5]]), RATE), voicing, RATE)
    torch.testing.assert_close(wide[0, 1] / voice(RATE / up.exp(), voicing, RATE)[0, 1], torch.tensor(STRETCH))


def test_who_has_no_range_is_left_alone_and_nobody_leaves_the_trackers() -> None:
    pitch = RATE / torch.full((2, 9), 450.0), torch.ones(2, 9)
    assert torch.equal(moved(*pitch, torch.zeros(2, 2), RATE), pitch[0])
    assert torch.equal(moved(pitch[0], torch.zeros(2, 9), torch.tensor([[5.0, 0.1]] * 2), RATE), pitch[0])
    high = moved(*pitch, torch.tensor([[log(900), 0.1]] * 2), RATE)
    torch.testing.assert_close(RATE / high, torch.full((2, 9), 500.0))


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"expected float \(B, T\)"):
        track(torch.zeros(100), RATE, HOP)
    with pytest.raises(ValueError, match="two rising numbers"):
        PitchConfig(lowest_hz=500, highest_hz=60)
