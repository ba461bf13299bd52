"""Means of scores with 95 % bootstrap confidence intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

RESAMPLES = 2000
BLOCK = 4_000_000  # indices drawn at once: 32 MB


def summarise(
    rows: Sequence[Mapping[str, float]], *, confidence: float = 0.95, seed: int = 0
) -> dict[str, tuple[float, float, float, int]]:
    """name -> (mean, low, high, n) of every score in the rows (one row per clip), in order of first appearance.

    low, high: percentile bootstrap interval of the mean (Efron 1979) over clips; NaN with fewer than two clips. It says
    how far the mean would move with other clips like these, not how good one clip is. NaN scores are left out; n counts
    the rest. Deterministic for a seed. Non-numeric fields of the rows are ignored.
    """
    names = dict.fromkeys(name for row in rows for name, value in row.items() if isinstance(value, (int, float)))
    summary = {}
    for name in names:
        values = np.array([row[name] for row in rows if name in row], dtype=np.float64)
        values = values[~np.isnan(values)]
        mean = float(values.mean()) if len(values) else float("nan")
        low, high = interval(values, confidence, seed)
        summary[name] = (mean, low, high, len(values))
    return summary


def interval(values: np.ndarray, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values (n,); (NaN, NaN) for n < 2."""
    n = len(values)
    if n < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    block = max(1, min(RESAMPLES, BLOCK // n))
    means = np.concatenate(
        [
            values[rng.integers(0, n, size=(min(block, RESAMPLES - done), n))].mean(axis=1)
            for done in range(0, RESAMPLES, block)
        ]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
