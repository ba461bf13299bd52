"""WORLD copy synthesis (Morise, Yokomori & Ozawa 2016): the classical vocoder as a baseline. Needs pyworld ([eval]).

It is not a fair rival of a mel vocoder: it reads F0, spectral envelope and aperiodicity from the recording itself.
"""

from __future__ import annotations

import importlib.util

import numpy as np


def available() -> bool:
    """Whether pyworld is installed."""
    return importlib.util.find_spec("pyworld") is not None


def copy_synthesis(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Analyse a recording (T,) with Harvest, CheapTrick and D4C every 5 ms and synthesise it again: float32 (T,).

    Raises ValueError without pyworld.
    """
    if not available():
        raise ValueError('WORLD needs the package pyworld, which is not installed: pip install "vocoder-core[eval]"')
    import pyworld

    samples = np.ascontiguousarray(wav, dtype=np.float64)
    f0, times = pyworld.harvest(samples, sample_rate)
    envelope = pyworld.cheaptrick(samples, f0, times, sample_rate)
    aperiodicity = pyworld.d4c(samples, f0, times, sample_rate)
    copy = pyworld.synthesize(f0, envelope, aperiodicity, sample_rate)[: len(samples)]
    return np.clip(np.pad(copy, (0, len(samples) - len(copy))), -1, 1).astype(np.float32)
