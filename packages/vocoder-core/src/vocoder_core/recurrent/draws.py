"""From a seed to a label: counter-based uniforms, and the label at which a distribution's running sum passes one.

Sampling is by inverse CDF: sample t of a stream uses u(seed, t), whatever came before, on whatever device, in whatever
batch. So a seed names one utterance: alone, in a batch, in chunks, or again tomorrow.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

LEAST_TEMPERATURE = 1e-8  # at or below it the likeliest class always wins


def stream_keys(seed: int | Sequence[int] | None, batch: int) -> np.ndarray:
    """A 64-bit key (B,) for each row: equal seeds, equal keys. Raises ValueError when the rows outnumber the seeds."""
    if seed is None:
        seeds = [secrets.randbits(64) for _ in range(batch)]
    elif isinstance(seed, (int, np.integer)):
        seeds = [int(seed)] * batch
    else:
        seeds = [int(value) for value in seed]
    if len(seeds) != batch:
        raise ValueError(f"seed has {len(seeds)} values for {batch} rows; expected one for each row, or a single one")
    return _mixed(np.array([value % 2**64 for value in seeds], np.uint64))


def fold_seeds(seed: int | None, count: int) -> list[int] | None:
    """Seeds of the folds of an utterance (folds.py), each its own; None: any."""
    if seed is None:
        return None
    own = _mixed(np.array([seed % 2**64], np.uint64))
    return [int(value) for value in _mixed(own + np.arange(count, dtype=np.uint64))]


def uniforms(keys: np.ndarray, start: int, stop: int) -> np.ndarray:
    """u(key, t) for t = start .. stop - 1: (B, stop - start) float64, odd multiples of 2^-24, so exact in float32.

    Never 0 and never 1: a class of probability below 2^-24 at either end of the range is a click, and is not drawn.
    SplitMix64 (Steele, Lea & Flood 2014): counters in golden-ratio steps from the key, mixed; upper 23 bits.
    """
    counters = np.arange(start, stop, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mixed(keys[:, None] + counters) >> np.uint64(41)
    return (2 * bits.astype(np.float64) + 1) / 2**24


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit stirs every output bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def check_temperature(temperature: float) -> None:
    """Raises ValueError for one that no distribution has."""
    if not 0 <= temperature < float("inf"):  # NaN fails this too
        raise ValueError(f"temperature is {temperature}; expected 0 or more: 1 samples the model's distribution")


def draw(logits: Tensor, uniforms: Tensor, temperature: float) -> Tensor:
    """Labels (B,) where the running sum of softmax(logits / temperature) (B, Q) passes the uniforms (B,) in [0, 1).

    In float64: a label changes only where u comes within rounding (about 1e-7) of a step of the distribution.
    """
    precise = logits.double()
    scaled = (precise - precise.amax(dim=1, keepdim=True)) / max(temperature, LEAST_TEMPERATURE)
    steps = scaled.exp().cumsum(dim=1)
    return torch.searchsorted(steps, uniforms[:, None] * steps[:, -1:], right=True)[:, 0]
