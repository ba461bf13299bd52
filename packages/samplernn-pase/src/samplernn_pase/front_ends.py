"""The front ends of recordings: what is heard of each frame of 5 ms. Frame j is of the samples [80 j, 80 (j + 1)).

Mel       content-mel80     the log-mel of the whole recording, any dialect of the core; the vocoder's default
Pitch     pitch             the lag of one period in samples, and the voicing 0 to 1
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import log
from pathlib import Path
from typing import Any

import numpy as np

from vocoder_core.config import to_dict
from vocoder_core.corpus import Entry
from vocoder_core.mel import MelConfig

from . import label_files
from .world43 import LF0, WIDTH, WorldConfig

SHORT = 0.1  # seconds by which a label or a feature file may miss the end of its recording


@dataclass(frozen=True)
class Mel:
    """`log_mel` of the whole recording (F, M), float16: in ln units 0.004 off at most, and half the memory."""

    mel: MelConfig
    name: str = "content-mel80"
    dtype: str = "float16"

    @property
    def width(self) -> int:
        """M."""
        return self.mel.n_mels

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """The front end, field by field."""
        return {"mel": to_dict(self.mel)}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, M)."""
        import torch

        from vocoder_core.mel import log_mel

        with _one_thread():
            return log_mel(torch.from_numpy(wav), self.mel).T.numpy()


@dataclass(frozen=True)
class World:
    """WORLD's analysis (F, 43), float32."""

    config: WorldConfig
    name: str = "content-world43"
    width: int = WIDTH
    dtype: str = "float32"

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """How F0 is found."""
        return {"made_by": "world", **to_dict(self.config)}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, 43)."""
        from . import world43

        return world43.analyse(wav, self.config)


@dataclass(frozen=True)
class Ahocoder:
    """Ahocoder's features (F, 43) from files, float32; `files`: {id: path without suffix}."""

    files: Mapping[str, Path]
    name: str = "content-world43"
    width: int = WIDTH
    dtype: str = "float32"

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """Which files."""
        from .ahocoder import SUFFIXES

        return {"made_by": "ahocoder", "files": _digest(self.files, entries, SUFFIXES)}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, 43), as loud as the prepared recording: its gain is added to the zeroth cepstrum."""
        from . import ahocoder

        content = ahocoder.read(self.files[entry.id])
        content[:, 0] += log(entry.gain)
        return fitted(content, entry.frames, "the acoustic features")


@dataclass(frozen=True)
class Linguistic:
    """Labels (F, 55), or with log F0 and voicing of `acoustic` (F, 57), float32; `files`: {id: path}."""

    files: Mapping[str, Path]
    vocabularies: Mapping[str, tuple[str, ...]]
    acoustic: World | Ahocoder | None = None
    name: str = field(init=False)
    width: int = field(init=False)
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """The name and the width follow from `acoustic`."""
        object.__setattr__(self, "name", "content-linguistic_lf0" if self.acoustic else "content-linguistic")
        object.__setattr__(self, "width", 57 if self.acoustic else 55)

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """Which files, and which words they may hold."""
        told = {"labels": _digest(self.files, entries), "vocabularies": {k: [*v] for k, v in self.vocabularies.items()}}
        return told | ({"acoustic": self.acoustic.settings(entries)} if self.acoustic else {})

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, 55) or (F, 57)."""
        from . import hts_label, linguistic

        content = linguistic.frames(hts_label.read(self.files[entry.id]), self.vocabularies)
        content = fitted(content, entry.frames, str(self.files[entry.id]))
        return content if self.acoustic is None else np.hstack([content, self.acoustic.rows(entry, wav)[:, LF0:]])


@dataclass(frozen=True)
class Pitch:
    """The core's pitch tracker (F, 2), float32: lags, never jumping where unvoiced, and voicing, 0 there."""

    sample_rate: int
    hop_length: int
    name: str = "pitch"
    width: int = 2
    dtype: str = "float32"

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """The tracker's range and costs."""
        from vocoder_core.pitch import PitchConfig

        return {"pitch": to_dict(PitchConfig())}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, 2)."""
        import torch

        from vocoder_core.pitch import track

        with _one_thread():
            return torch.cat(track(torch.from_numpy(wav)[None], self.sample_rate, self.hop_length)).T.numpy()


def fitted(content: np.ndarray, frames: int, what: str) -> np.ndarray:
    """Content as long as the recording: cut off, or with its last row repeated. Raises ValueError beyond SHORT."""
    if not len(content) or abs(len(content) - frames) > SHORT * 200:
        raise ValueError(
            f"{what}: {len(content) / 200:.2f} s, its recording has {frames / 200:.2f} s; expected {SHORT:g} s between "
            "them at most"
        )
    return content[np.arange(frames).clip(max=len(content) - 1)]


def _digest(files: Mapping[str, Path], entries: Sequence[Entry], suffixes: tuple[str, ...] = ("",)) -> str:
    used = {entry.id: files[entry.id] for entry in entries}
    return hashlib.sha256(json.dumps(label_files.stamps(used, suffixes)).encode()).hexdigest()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small products: a second thread costs more than it brings, and the sums must not depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
