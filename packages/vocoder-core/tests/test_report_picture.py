"""Spectrogram pictures: read back by another decoder; a tone and a click where they belong."""

from __future__ import annotations

import io

import numpy as np
import pytest

from vocoder_core.report.picture import (
    COLUMNS_PER_SECOND,
    MAX_COLUMNS,
    ROWS,
    indexed_png,
    palette,
    power_db,
    spectrogram_png,
)


def test_png_reads_back_pixel_by_pixel() -> None:
    image = pytest.importorskip("matplotlib.image")
    pixels = np.random.default_rng(0).integers(0, 64, size=(37, 53)).astype(np.uint8)
    colours = palette(64)
    decoded = image.imread(io.BytesIO(indexed_png(pixels, colours)), format="png")
    np.testing.assert_array_equal(np.rint(decoded[..., :3] * 255), colours[pixels])


def test_palette_follows_matplotlibs_magma() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    magma = matplotlib.colormaps["magma"](np.linspace(0, 1, 64))[:, :3] * 255
    assert np.abs(palette(64) - magma).max() < 10


@pytest.mark.parametrize("rate", [16_000, 22_050, 48_000])
def test_a_tone_lies_at_its_height(rate: int) -> None:
    """An eighth of the sample rate is a quarter of the way up."""
    tone = np.sin(2 * np.pi * rate / 8 * np.arange(rate) / rate)
    picture = power_db(tone, rate)
    assert picture.shape[0] == ROWS
    assert abs(picture.shape[1] - COLUMNS_PER_SECOND) <= 2
    assert set(picture[:, 20:-20].argmax(axis=0)) <= {3 * ROWS // 4 - 1, 3 * ROWS // 4}


def test_a_click_lies_at_its_time() -> None:
    wav = np.zeros(16_000)
    wav[4000] = 1
    picture = power_db(wav, 16_000)
    assert picture.max(axis=0).argmax() == pytest.approx(picture.shape[1] / 4, abs=1.5)


def test_half_the_amplitude_is_six_decibels() -> None:
    hiss = np.random.default_rng(0).normal(size=16_000)
    np.testing.assert_allclose(power_db(hiss, 16_000) - power_db(hiss / 2, 16_000), 20 * np.log10(2), atol=1e-6)


def test_long_clips_stay_narrow_and_silence_is_black() -> None:
    assert power_db(np.zeros(16_000 * 60), 16_000).shape[1] <= MAX_COLUMNS + 1
    image = pytest.importorskip("matplotlib.image")
    decoded = image.imread(io.BytesIO(spectrogram_png(np.zeros(16_000), 16_000, peak_db=0.0)), format="png")
    assert decoded[..., :3].max() < 0.02
