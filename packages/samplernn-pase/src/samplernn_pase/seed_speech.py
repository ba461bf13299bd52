"""Seed speech: which seconds of a speaker's recordings his vector is computed from, with the pauses left out.

The paper's vectors are of 1, 10, 60 or 120 s of each speaker. Here those are the first seconds of his training
recordings in an order that a hash of their names makes: whoever prepares the same corpus hears the same seconds, and
longer seeds begin with the shorter ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus, Entry

FRAME = 0.010  # seconds between decisions
WINDOW = 0.025  # seconds that each looks at
RANGE = 30.0  # dB below the loud frames where a pause begins
LEVEL = -24.0  # dB below full scale, RMS, of what is said; GE2E tells 12 speakers apart best at -26 to -18 (EER < 1 %)
KEPT = 0.100  # seconds around speech that count as speech: stops, and the ends of words


def speaking(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Which 10 ms of speech (T,) are no pauses: (ceil(T / 10 ms),) bool, by energy alone.

    A frame is one of speech whose 25 ms are less than RANGE below the loud ones, the 95th percentile of those that are
    not digital silence, or that lies within KEPT of such a frame. All False where there is no sound.
    """
    hop, window = round(FRAME * sample_rate), round(WINDOW * sample_rate)
    frames = -(-len(wav) // hop)
    before = (window - hop) // 2
    square = np.zeros(frames * hop + window)
    square[before : before + len(wav)] = np.square(wav, dtype=np.float64)
    total = np.concatenate([[0.0], np.cumsum(square)])
    starts = np.arange(frames) * hop
    power = np.maximum(total[starts + window] - total[starts], 0) / window
    heard = power[power > 1e-10]  # -100 dB: one step of 16 bits is -90
    if not len(heard):
        return np.zeros(frames, dtype=bool)
    loud = power >= np.quantile(heard, 0.95) * 10 ** (-RANGE / 10)
    reach = round(KEPT / FRAME)
    return np.convolve(loud, np.ones(2 * reach + 1), mode="full")[reach : reach + frames] > 0.5


def spoken(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """The speech of a recording (T,) without its pauses, (T',) float32. Raises ValueError where nothing is said."""
    wav = np.asarray(wav, dtype=np.float32)
    if wav.ndim != 1 or not np.isfinite(wav).all():
        raise ValueError(f"the speech of a speaker has shape {wav.shape}; expected finite mono samples (T,)")
    mask = np.repeat(speaking(wav, sample_rate), round(FRAME * sample_rate))[: len(wav)]
    if not mask.any():
        raise ValueError(f"the {len(wav) / sample_rate:.2f} s of speech of a speaker are silent; expected a voice")
    return wav[mask]


def levelled(wav: np.ndarray, sample_rate: int) -> np.ndarray:
    """Speech (T,), pauses and all, that is LEVEL loud where something is said. Raises ValueError as `spoken`."""
    said = spoken(wav, sample_rate)
    gain = 10 ** (LEVEL / 20) / np.sqrt(np.mean(np.square(said, dtype=np.float64)))
    return np.asarray(wav, np.float32) * np.float32(gain)


def order(entries: Iterable[Entry]) -> list[Entry]:
    """Recordings as they are heard for a seed: by the sha256 of their names."""
    return sorted(entries, key=lambda entry: hashlib.sha256(entry.id.encode()).digest())


def seed(corpus: Corpus, entries: Sequence[Entry], seconds: float) -> tuple[np.ndarray, list[Entry]]:
    """The first seconds of what is said in recordings, in the `order`: (T,) float32, and the recordings they are from.

    Shorter where there is no more. Raises ValueError where nothing is said at all.
    """
    rate = corpus.config.sample_rate
    missing, parts = max(1, round(seconds * rate)), list[np.ndarray]()
    used: list[Entry] = []
    for entry in order(entries):
        if missing <= 0:
            break
        wav = corpus.wav(entry)[: entry.length]
        if speaking(wav, rate).any():
            parts.append(spoken(wav, rate)[:missing])
            missing -= len(parts[-1])
            used.append(entry)
    if not parts:
        raise ValueError(f"{corpus.folder}: nothing is said in {len(entries)} recordings; expected a voice")
    return np.concatenate(parts), used


def recordings(corpus: Corpus) -> dict[str, list[Entry]]:
    """Each speaker's recordings that may be heard for a seed: of training; of one it never hears, of valid, or of test.

    In the order of the corpus' speakers.
    """
    found = {}
    for name in sorted(corpus.speakers, key=lambda name: corpus.speakers[name]):
        own = [entry for entry in corpus.entries if entry.speaker == name]
        split = next((split for split in ("train", "valid", "test") if any(e.split == split for e in own)), None)
        if split:
            found[name] = [entry for entry in own if entry.split == split]
    return found
