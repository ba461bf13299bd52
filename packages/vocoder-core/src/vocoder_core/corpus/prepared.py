"""Entry and Corpus: read a prepared corpus. Needs numpy and PyYAML only; the audio stays on disk (mmap)."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .. import config as configs
from .config import SPLITS, CorpusConfig

FORMAT = 1  # of the files; a reader refuses every other
MANIFEST, AUDIO, FEATURES, SPEAKERS, REJECTED = (
    "manifest.jsonl", "audio.npy", "features.yaml", "speakers.json", "rejected.tsv"
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """One utterance of a prepared corpus."""

    id: str
    speaker: str
    split: str  # train, valid or test
    text: str | None
    offset: int  # its first sample in audio.npy
    samples: int  # frames * hop_length, padded with zeros
    frames: int
    length: int  # samples before padding
    gain: float  # linear, what the recording was multiplied with
    source_sha256: str  # of the recording's file


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A prepared corpus, opened. Build with `Corpus.open(folder)`."""

    folder: Path
    config: CorpusConfig
    features: dict[str, Any]  # plain values of the dataclass given to `prepare`
    entries: list[Entry]
    speakers: dict[str, int]
    audio: np.ndarray  # (N,) int16, read-only memory map; divide by 32768

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Corpus:
        """Open and check what lies in `folder`.

        Raises FileNotFoundError when it is no prepared corpus, ValueError for another version or files that disagree.
        """
        folder = Path(folder)
        if not (folder / MANIFEST).is_file():
            unfinished = (folder / "partial").is_dir()
            why = "its preparation is not finished: run it again" if unfinished else f"it has no {MANIFEST}"
            raise FileNotFoundError(f"{folder}: not a prepared corpus, {why}")
        settings = read_settings(folder / FEATURES)
        config = configs.from_dict(CorpusConfig, settings["corpus"], str(folder / FEATURES))
        entries = _entries(folder / MANIFEST)
        _check_offsets(entries, config, folder / MANIFEST)
        audio = _audio(folder / AUDIO, sum(entry.samples for entry in entries))
        speakers = _speakers(folder / SPEAKERS, entries)
        return cls(folder, config, settings["features"], entries, speakers, audio)

    def split(self, name: str) -> list[Entry]:
        """The entries of 'train', 'valid' or 'test', in the order of the manifest."""
        if name not in SPLITS:
            raise ValueError(f"unknown split {name!r}, expected {', '.join(SPLITS)}")
        return [entry for entry in self.entries if entry.split == name]

    def wav(self, entry: Entry) -> np.ndarray:
        """The samples of an entry: (entry.samples,) float32 in [-1, 1)."""
        return self.audio[entry.offset : entry.offset + entry.samples].astype(np.float32) / np.float32(32768)

    @property
    def unseen_speakers(self) -> set[str]:
        """Speakers without a single training utterance."""
        return {entry.speaker for entry in self.entries} - {entry.speaker for entry in self.split("train")}

    def require(self, features: Any, **of_the_corpus: Any) -> None:
        """Raise ValueError, naming the field, when the corpus was prepared for other features than this dataclass.

        of_the_corpus: fields of CorpusConfig that have to have these values, too.
        """
        # a corpus made before a field existed was made with what is now its default
        later = {f.name: f.default for f in dataclasses.fields(features) if f.default is not dataclasses.MISSING}
        later = later if self.features else {}
        made = {name: getattr(self.config, name) for name in of_the_corpus} | {"features": later | self.features}
        difference = first_difference(made, of_the_corpus | {"features": configs.to_dict(features)})
        if difference:
            name, here, wanted = difference
            raise ValueError(
                f"{self.folder} was prepared with {name} = {here}, now {wanted} is asked: prepare it again"
            )


def read_settings(path: Path) -> dict[str, Any]:
    """The content of a features.yaml: format, corpus, features, source."""
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
        version = settings["format"]
        complete = isinstance(settings["corpus"], dict) and isinstance(settings["features"], dict)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the file is missing, the corpus is damaged: prepare it again") from None
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError):
        raise ValueError(f"{path}: not the settings of a prepared corpus: prepare it again") from None
    if version != FORMAT or not complete:
        raise ValueError(f"{path}: the corpus has format {version}, this version reads {FORMAT}: prepare it again")
    return settings


def first_difference(one: dict[str, Any], other: dict[str, Any], prefix: str = "") -> tuple[str, Any, Any] | None:
    """Dotted name and both values of the first field in which two nested settings differ."""
    for key in [*one, *(key for key in other if key not in one)]:
        a, b = one.get(key, "(absent)"), other.get(key, "(absent)")
        if isinstance(a, dict) and isinstance(b, dict):
            if inner := first_difference(a, b, f"{prefix}{key}."):
                return inner
        elif a != b:
            return prefix + key, a, b
    return None


def _entries(path: Path) -> list[Entry]:
    entries = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            raise ValueError(f"{path}:{number}: the line is damaged: prepare the corpus again") from None
    return entries


def _check_offsets(entries: list[Entry], config: CorpusConfig, path: Path) -> None:
    offset = 0
    for number, entry in enumerate(entries, 1):
        if entry.offset != offset or entry.samples != entry.frames * config.hop_length or entry.split not in SPLITS:
            raise ValueError(f"{path}:{number}: the entry {entry.id!r} does not fit here: prepare the corpus again")
        offset += entry.samples


def _audio(path: Path, samples: int) -> np.ndarray:
    try:
        audio = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the file is missing, the corpus is damaged: prepare it again") from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path}: damaged or cut short ({error}): prepare the corpus again") from None
    if audio.dtype != np.int16 or audio.shape != (samples,):
        raise ValueError(
            f"{path}: holds {audio.dtype} {audio.shape}, the manifest wants int16 ({samples},): prepare it again"
        )
    return audio


def _speakers(path: Path, entries: list[Entry]) -> dict[str, int]:
    try:
        speakers = json.loads(path.read_text(encoding="utf-8"))
        unknown = {entry.speaker for entry in entries} - speakers.keys()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: the file is missing, the corpus is damaged: prepare it again") from None
    except (ValueError, AttributeError):
        raise ValueError(f"{path}: damaged: prepare the corpus again") from None
    if unknown:
        raise ValueError(f"{path}: lacks {sorted(unknown)[0]!r}, a speaker of the manifest: prepare the corpus again")
    return speakers
