"""Features of a prepared corpus: content, pitch and their statistics, made once beside its audio and read by numpy.

    DATA/features/content-KIND.npy       (N_frames, C) raw, not normalised; undefined numbers are NaN
    DATA/features/pitch.npy              (N_frames, 2) float32: lag in samples, voicing
    DATA/features/statistics-KIND.json   mean and std of everybody and of each speaker, of the split train alone

Frames lie as in audio.npy: frame j is of the samples [80 j, 80 (j + 1)), entry.offset // 80 is an utterance's first.
`make` and `make_pitch` write, `Features.open` reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocoder_core.config import from_dict
from vocoder_core.corpus import Corpus, Entry
from vocoder_core.corpus.prepared import first_difference
from vocoder_core.mel import MelConfig

from . import feature_file, statistics
from .feature_file import FOLDER, FrontEnd, Made
from .front_ends import Mel, Pitch
from .statistics import Statistics

AGAIN = "run samplernn-pase-preprocess IN DATA with the settings of this run"


def make(
    corpus: Corpus, front_end: FrontEnd, scored: Sequence[int], *, jobs: int | None = 1, progress: bool = True
) -> Made:
    """Content of all recordings and its statistics; what is there is left as it is.

    scored: the fields that are normalised. Raises ValueError when no recording of the split train can be used.
    """
    made = feature_file.make(corpus, front_end, jobs=jobs, progress=progress)
    path = _statistics_path(corpus.folder, front_end.name)
    if not path.is_file():
        rows = np.load(made.path, mmap_mode="r")
        train = (entry for entry in corpus.split("train") if entry.id not in made.left_out)
        collected = statistics.collect(((entry.speaker, _of(rows, entry)) for entry in train), scored)
        statistics.write(path, collected, split="train", corpus=made.made_with["corpus"])
    for left in path.parent.glob(".*.*.part"):  # half a file of a run that was killed
        left.unlink(missing_ok=True)
    return made


def make_mel(corpus: Corpus, *, jobs: int | None = 1, progress: bool = True) -> Made:
    """mel80 of a corpus, in the dialect that it was prepared for."""
    mel = mel_of(corpus)
    return make(corpus, Mel(mel), range(mel.n_mels), jobs=jobs, progress=progress)


def make_pitch(corpus: Corpus, *, jobs: int | None = 1, progress: bool = True) -> Made:
    """The pitch of all recordings."""
    config = corpus.config
    return feature_file.make(corpus, Pitch(config.sample_rate, config.hop_length), jobs=jobs, progress=progress)


def mel_of(corpus: Corpus) -> MelConfig:
    """The front end that the corpus was prepared for. Raises ValueError when it names none."""
    if not corpus.features:
        raise ValueError(
            f"{corpus.folder}: was prepared without a mel front end: prepare it by samplernn-pase-preprocess"
        )
    return from_dict(MelConfig, corpus.features, str(corpus.folder / "features.yaml"))


@dataclass(frozen=True)
class Features:
    """What is known of each frame of a prepared corpus. Build with `Features.open`."""

    kind: str
    content: np.ndarray  # (N_frames, C), read-only memory map
    statistics: Statistics
    left_out: dict[str, str]  # id -> why this recording has no content
    pitch: np.ndarray | None = None  # (N_frames, 2), if asked for
    acoustic: str = ""  # world or ahocoder: which of them made the acoustic fields, where there are some

    @classmethod
    def open(
        cls, data: str | os.PathLike[str] | Corpus, kind: str, *, mel: MelConfig | None = None, pitch: bool = False
    ) -> Features:
        """Open and check what lies in DATA/features.

        mel: what mel80 has to be. Raises FileNotFoundError where something is missing, ValueError where it
        is damaged, of another corpus or of another mel, naming the field.
        """
        corpus = data if isinstance(data, Corpus) else Corpus.open(data)
        made, content = _open(corpus, f"content-{kind}")
        if mel is not None and "mel" in made.made_with["settings"]:
            _check_mel(made, Mel(mel).settings(()))
        path = _statistics_path(corpus.folder, made.path.stem)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: not there: {AGAIN}")
        voices = _open(corpus, "pitch")[1] if pitch else None
        told = made.made_with["settings"]
        acoustic = told.get("acoustic", told).get("made_by", "")
        return cls(kind, content, statistics.read(path, content.shape[1]), made.left_out, voices, acoustic)

    def of(self, entry: Entry) -> np.ndarray:
        """Content (F, C) of an utterance."""
        return _of(self.content, entry)

    def usable(self, entries: Sequence[Entry]) -> Iterator[Entry]:
        """Those of the utterances that have content."""
        return (entry for entry in entries if entry.id not in self.left_out)


def _of(rows: np.ndarray, entry: Entry) -> np.ndarray:
    first = feature_file.first_frame(entry)
    return rows[first : first + entry.frames]


def _statistics_path(data: Path, name: str) -> Path:
    return data / FOLDER / f"statistics-{name.removeprefix('content-')}.json"


def _open(corpus: Corpus, name: str) -> tuple[Made, np.ndarray]:
    made = feature_file.find(corpus.folder, name)
    if made is None:
        path = corpus.folder / FOLDER / f"{name}.npy"
        raise FileNotFoundError(f"{path}: not there: {AGAIN}")
    if made.made_with.get("corpus") != feature_file.manifest_digest(corpus):
        raise ValueError(f"{made.path}: was made of another corpus than {corpus.folder} holds: remove it, and {AGAIN}")
    try:
        rows = np.load(made.path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{made.path}: damaged or cut short ({error}): remove it, and {AGAIN}") from None
    shape = (sum(entry.frames for entry in corpus.entries), made.made_with["width"])
    if rows.shape != shape or rows.dtype != made.made_with["dtype"]:
        raise ValueError(
            f"{made.path}: holds {rows.dtype} {rows.shape}, the corpus has {shape}: remove it, and {AGAIN}"
        )
    return made, rows


def _check_mel(made: Made, wanted: dict[str, Any]) -> None:
    difference = first_difference(made.made_with["settings"], wanted)
    if difference:
        name, here, asked = difference
        raise ValueError(f"{made.path}: was made with {name} = {here}, now {asked} is asked: prepare the corpus anew")
