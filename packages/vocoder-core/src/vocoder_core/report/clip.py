"""What a listening page is made of: clips as the caller gives them, tracks as they lie in the folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RECORDING = "Recording"  # the first track of every clip


@dataclass(frozen=True)
class Clip:
    """One utterance: the recording (T,) in [-1, 1] and what each system made of it, aligned and about as long."""

    name: str
    recording: np.ndarray
    systems: Mapping[str, np.ndarray]
    text: str | None = None  # what is said
    note: str | None = None  # what a listener should know, as "speaker never heard in training"


@dataclass(frozen=True)
class Track:
    """One row of a clip on the page."""

    system: str
    audio: str  # paths inside the folder
    picture: str
    seconds: float
    scores: Mapping[str, float]
