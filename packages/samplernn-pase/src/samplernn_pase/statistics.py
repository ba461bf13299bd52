"""Statistics of content: mean and deviation of every field, of each speaker and of all, from what training hears.

    z = (x - mean) / std          fields that are not scored have mean 0 and std 1: they stay as they are

The original read validation and test speech, too, swallowed errors, after which everything was divided by 0, and took
-1e10, "unvoiced", for a pitch. Here a number that is undefined, NaN, counts for nothing; a field that does not move, of
a speaker less than FLOOR times as much as of all, is not divided by next to nothing but always 0 (std STILL), and
listed. Files are JSON: nothing in them is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vocoder_core.corpus.block import replacing

STILL = 1e30  # the std of a field that does not move: z = 0, in float32, too
LEAST = 1e-5  # std below which a field does not move at all
FLOOR = 1e-2  # of everybody's std: below it a speaker's field is taken for constant


@dataclass(frozen=True)
class Moments:
    """Mean (C,) and std (C,), float64, ready for z; `still`: the fields that do not move and have std STILL."""

    mean: np.ndarray
    std: np.ndarray
    still: tuple[int, ...] = ()

    def z(self, content: np.ndarray) -> np.ndarray:
        """Content (..., C) in deviations, float32; NaN stays NaN."""
        return ((content - self.mean) / self.std).astype(np.float32)


@dataclass(frozen=True)
class Statistics:
    """Of everybody and of each speaker; a speaker who is not there is everybody."""

    everybody: Moments
    speakers: Mapping[str, Moments] = field(default_factory=dict)

    def of(self, speaker: str) -> Moments:
        """The speaker's own, or everybody's."""
        return self.speakers.get(speaker, self.everybody)


@dataclass
class Sums:
    """Running count (C,), mean (C,) and squared deviations (C,) of frames: Chan et al. 1983, exact where x^2 is not."""

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    @classmethod
    def of(cls, content: np.ndarray) -> Sums:
        """Of frames (F, C); NaN is left out, everything else is a number."""
        content = np.asarray(content, np.float64)
        known = ~np.isnan(content)
        count = known.sum(0).astype(np.float64)
        values = np.where(known, content, 0.0)
        mean = values.sum(0) / np.maximum(count, 1)
        return cls(count, mean, np.where(known, np.square(values - mean), 0.0).sum(0))

    def __add__(self, other: Sums) -> Sums:
        count = self.count + other.count
        share = other.count / np.maximum(count, 1)
        step = other.mean - self.mean
        squares = self.squares + other.squares + np.square(step) * self.count * share
        return Sums(count, self.mean + step * share, squares)


def collect(content: Iterable[tuple[str, np.ndarray]], scored: Sequence[int]) -> Statistics:
    """Statistics of the training utterances: pairs of a speaker's name and content (F, C).

    Raises ValueError when there are none, or when content holds an infinite number.
    """
    sums: dict[str, Sums] = {}
    for speaker, frames in content:
        if np.isinf(frames).any():
            raise ValueError(f"content of speaker {speaker!r} holds an infinite number; expected numbers, or NaN")
        one = Sums.of(frames)
        sums[speaker] = sums[speaker] + one if speaker in sums else one
    if not sums:
        raise ValueError("there is no content to make statistics of; expected one training utterance or more")
    first, *others = sums.values()
    everybody = moments(sum(others, first), scored)
    return Statistics(everybody, {name: moments(one, scored, everybody) for name, one in sums.items()})


def of_recording(content: np.ndarray, scored: Sequence[int], everybody: Moments | None = None) -> Moments:
    """Of a reference recording's content (F, C), for a speaker whom training never heard."""
    return moments(Sums.of(content), scored, everybody)


def moments(sums: Sums, scored: Sequence[int], everybody: Moments | None = None) -> Moments:
    """Mean and std of sums; fields that are never defined there are everybody's, or (0, STILL)."""
    width = len(sums.mean)
    asked = np.isin(np.arange(width), list(scored))
    known = asked & (sums.count > 0)
    mean, std = np.where(known, sums.mean, 0.0), np.sqrt(sums.squares / np.maximum(sums.count, 1))
    floor = np.full(width, LEAST) * np.maximum(1.0, np.abs(mean))  # of a large number less can be told
    if everybody is not None:
        moving = everybody.std < STILL
        floor = np.maximum(floor, np.where(moving, FLOOR * everybody.std, 0.0))
    still = (known & (std < floor)) | (asked & ~known)
    std = np.where(still, STILL, std)
    if everybody is not None:
        theirs = asked & ~known
        mean, std = np.where(theirs, everybody.mean, mean), np.where(theirs, everybody.std, std)
        still = asked & (std == STILL)
    std = np.where(asked, std, 1.0)
    return Moments(mean, std, tuple(int(place) for place in np.flatnonzero(still)))


def write(path: str | Path, statistics: Statistics, **told: Any) -> None:
    """Write a JSON file whole; `told` are more keys beside `global` and `speakers`."""
    speakers = {name: _plain(moments) for name, moments in statistics.speakers.items()}
    content = {**told, "global": _plain(statistics.everybody), "speakers": speakers}
    with replacing(Path(path)) as file:
        file.write(json.dumps(content, ensure_ascii=False).encode() + b"\n")


def read(path: str | Path, width: int) -> Statistics:
    """The statistics in a file. Raises ValueError for a damaged one, or one of another width; OSError."""
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        speakers = {name: _moments(one, width) for name, one in content["speakers"].items()}
        return Statistics(_moments(content["global"], width), speakers)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(
            f"{path}: not statistics of {width} finite means and positive deviations: make it anew"
        ) from None


def _plain(moments: Moments) -> dict[str, Any]:
    return {"mean": moments.mean.tolist(), "std": moments.std.tolist(), "still": list(moments.still)}


def _moments(plain: dict[str, Any], width: int) -> Moments:
    mean, std = (np.asarray(plain[name], np.float64) for name in ("mean", "std"))
    if mean.shape != (width,) or std.shape != (width,) or not np.isfinite(mean).all() or not (std > 0).all():
        raise ValueError(plain)
    return Moments(mean, std, tuple(int(place) for place in plain["still"]))
