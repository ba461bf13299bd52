"""Rates: another sample rate, piece by piece; bit by bit what audio.resample makes of the whole wave.

soxr gives nothing until its filter is full: 40 to 130 ms, by the rates (2,000 samples from 44.1 to 16 kHz, 960 from 16
to 44.1). That is waiting, not delay: the wave comes out where it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np


class Resampler:
    """A wave (t,) at one rate in, at another out."""

    def __init__(self, source_rate: int, target_rate: int) -> None:
        """Raises ValueError for rates that are none."""
        import soxr

        if source_rate <= 0 or target_rate <= 0:
            raise ValueError(f"cannot resample from {source_rate} to {target_rate} Hz, expected positive rates")
        same = source_rate == target_rate
        self.stream = None if same else soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")

    def __call__(self, wav: np.ndarray, last: bool = False) -> np.ndarray:
        """What the next samples (t,) give, float32; last: nothing comes after them."""
        wave = np.ascontiguousarray(wav, np.float32)
        return wave if self.stream is None else np.asarray(self.stream.resample_chunk(wave, last=last), np.float32)


def resampled(portions: Iterable[np.ndarray], source_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """A wave in portions (t,) at one rate as portions at another."""
    change = Resampler(source_rate, target_rate)
    for wav in portions:
        yield change(wav)
    yield change(np.zeros(0, np.float32), last=True)
