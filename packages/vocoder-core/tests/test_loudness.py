"""Loudness against the standard's table and calibration, pyloudnorm and a slow loop."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from vocoder_core import audio


def tone(seconds: float, rate: int, hertz: float = 440.0, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def test_the_filters_are_the_standards_at_48_khz():
    """The coefficients of ITU-R BS.1770-4, tables 1 and 2."""
    table = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1, -1.99004745483398, 0.99007225036621],
    ]
    assert np.abs(audio.k_weighting(48_000) - table).max() < 1e-12


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
def test_a_full_scale_sine_of_997_hz_reads_minus_3_01_lufs(rate: int):
    """BS.1770-4's own calibration. At low rates the shelf, near half the rate, bends by up to 0.2 dB."""
    tolerance = 0.01 + 0.05 * (16_000 / rate) ** 2
    assert audio.loudness(tone(3.0, rate, 997.0, 1.0), rate) == pytest.approx(-3.01, abs=tolerance)


def test_quiet_parts_are_gated():
    """A tone between pauses reads as the tone: silence falls to the absolute gate, a hum to the relative one."""
    rate = 16_000
    loud = tone(10.0, rate, 997.0, 0.1)
    for gap in (np.zeros(10 * rate, np.float32), tone(10.0, rate, 997.0, 0.003)):
        together = audio.loudness(np.concatenate([gap, loud, gap]), rate)
        assert together == pytest.approx(audio.loudness(loud, rate), abs=0.2)


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 48_000])
def test_loudness_agrees_with_pyloudnorm(shared_audio: Path, rate: int):
    """Within 0.1 LU on speech, five speakers. (0.04 of it: pyloudnorm drops the gain that the standard's table has.)"""
    pyloudnorm = pytest.importorskip("pyloudnorm")
    for path in sorted(shared_audio.glob("*/*.flac"))[::6]:
        wav, _ = audio.load(path, rate)
        wav = wav[: len(wav) * 10 // rate * rate // 10]  # whole steps of 100 ms: pyloudnorm counts a partial last block
        theirs = pyloudnorm.Meter(rate).integrated_loudness(wav)
        assert audio.loudness(wav, rate) == pytest.approx(theirs, abs=0.1)


def test_loudness_is_the_slow_loops_on_odd_lengths_and_rates(shared_audio: Path):
    """Whole blocks of 400 ms each 100 ms, averaged and gated one by one, at a rate that divides nothing."""
    signal = pytest.importorskip("scipy.signal")
    rate = 11_027
    wav = audio.load(shared_audio / "slt" / "arctic_a0007.flac", rate)[0][:-431]
    weighted = signal.sosfilt(audio.k_weighting(rate), wav.astype(np.float64))
    powers, k = [], 0
    while round(k * 0.1 * rate) + round(0.4 * rate) <= len(wav):
        start = round(k * 0.1 * rate)
        powers.append(float(np.mean(weighted[start : start + round(0.4 * rate)] ** 2)))
        k += 1
    loud = [p for p in powers if -0.691 + 10 * math.log10(p) > -70]
    gate = -0.691 + 10 * math.log10(sum(loud) / len(loud)) - 10
    loud = [p for p in loud if -0.691 + 10 * math.log10(p) > gate]
    assert len(loud) < len(powers)  # the gates had something to do
    assert audio.loudness(wav, rate) == pytest.approx(-0.691 + 10 * math.log10(sum(loud) / len(loud)), abs=1e-9)


def test_silence_and_short_signals_have_no_loudness():
    assert audio.loudness(np.zeros(16_000, np.float32), 16_000) == -math.inf
    assert audio.loudness(tone(0.39, 16_000), 16_000) == -math.inf
    assert audio.loudness(tone(0.4, 16_000), 16_000) > -20
    assert audio.loudness(np.empty(0, np.float32), 16_000) == -math.inf


def test_levelling_reaches_the_target_and_spares_the_peak(shared_audio: Path):
    """Speech comes to -24 LUFS exactly; where that would clip, its highest sample comes to the peak instead."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    levelled, gain = audio.set_loudness(wav, rate)
    assert audio.loudness(levelled, rate) == pytest.approx(-24.0, abs=1e-3)
    assert np.allclose(levelled, wav * gain)
    loud, gain = audio.set_loudness(wav, rate, target=0.0, peak=0.9)
    assert np.abs(loud).max() == pytest.approx(0.9, abs=1e-6)
    assert gain == pytest.approx(0.9 / np.abs(wav).max())


def test_levelling_leaves_what_has_no_loudness():
    """Silence and clips under 0.4 s keep their level, so that short prompts are not blown up."""
    for wav in (np.zeros(16_000, np.float32), tone(0.1, 16_000), np.empty(0, np.float32)):
        levelled, gain = audio.set_loudness(wav, 16_000)
        assert gain == 1.0
        assert np.array_equal(levelled, wav)
    assert np.abs(audio.set_loudness(3 * tone(0.1, 16_000), 16_000)[0]).max() == pytest.approx(0.999, abs=1e-6)


def test_real_speech_reads_what_pyloudnorm_left(golden: Path, shared_audio: Path):
    """At 16, 44.1 and 48 kHz. 0.04 LU: the gain that the standard's table has and pyloudnorm drops."""
    with np.load(golden / "loudness.npz") as arrays:
        clips, tenths, rates, wanted = (arrays[name].tolist() for name in ("clips", "tenths", "rates", "lufs"))
    for clip, length, row in zip(clips, tenths, wanted):
        for rate, lufs in zip(rates, row):
            wav, _ = audio.load(shared_audio / f"{clip}.flac", rate)
            assert audio.loudness(wav[: length * rate // 10], rate) == pytest.approx(lufs + 0.04, abs=0.02), clip
