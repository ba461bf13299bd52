"""Corpora with their splits in text files: train.txt, valid.txt and test.txt, a recording a line.

    wavs/LJ001-0001.wav           relative to the folder of the list       vvvm23/specgrad
    /data/wavs/LJ001-0001.wav     absolute                                 PriorGrad
    LJ001-0001|its text           with `.wav` understood, text or not      Teysir-B/SpecGrad, HiFi-GAN (also in wavs/)

Recordings that a list names but the disk lacks are returned all the same: opening them reports them. Recordings that no
list names are no part of the corpus.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .audio import AUDIO_SUFFIXES
from .table import SPLITS
from .utterance import Utterance, spelled


def is_split_lists(root: Path) -> bool:
    """Whether `root` holds such lists, and a first line of one of them leads to a recording."""
    return any(os.path.isfile(path) for _, path, _ in _first_lines(root))


def split_lists(root: Path) -> list[Utterance]:
    """Speakers are the folders in which the recordings part company; in one folder they are all `root`'s.

    Raises ValueError for a recording that is in two lists.
    """
    known: dict[Path, str] = {}
    rows = []
    for split, list_ in _lists(root):
        for number, path, text in _lines(list_):
            if path in known:
                raise ValueError(f"{list_}:{number}: {spelled(path)} is in {known[path]} too; expected it in one list")
            known[path] = f"{list_.name}:{number}"
            rows.append((path, text, split))
    if not rows:
        return []
    common = Path(os.path.commonpath([path.parent for path, _, _ in rows]))
    return [_utterance(path, text, split, common, root) for path, text, split in rows]


def _utterance(path: Path, text: str | None, split: str, common: Path, root: Path) -> Utterance:
    place = path.relative_to(common)
    speaker = place.parts[0] if len(place.parts) > 1 else root.resolve().name or "speaker"
    return Utterance(spelled(place.with_suffix("")), spelled(speaker), path, text, split)


def _lists(root: Path) -> Iterator[tuple[str, Path]]:
    """The split and the file of each list: training.txt, dev.txt and the like are known as well."""
    for name, split in SPLITS.items():
        if split and (root / f"{name}.txt").is_file():
            yield split, root / f"{name}.txt"


def _first_lines(root: Path) -> Iterator[tuple[int, Path, str | None]]:
    for _, list_ in _lists(root):
        yield from list(_lines(list_, most=1))


def _lines(list_: Path, most: int | None = None) -> Iterator[tuple[int, Path, str | None]]:
    """Line number, recording and text of each line that is not empty."""
    lines = list_.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    for number, line in [(n, line) for n, line in enumerate(lines, 1) if line.strip()][:most]:
        name, _, text = line.strip().partition("|")
        yield number, _recording(list_.parent, name.strip()), text.rpartition("|")[2].strip() or None


def _recording(folder: Path, name: str) -> Path:
    """The file that a line names."""
    path = folder / name  # `name` alone where it is absolute
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        path = path.with_name(path.name + ".wav") if path.name else path
    beside = folder / "wavs" / path.name
    # os.path: a sentence of 300 letters is no path, where Path.exists raises
    return Path(os.path.normpath(beside if not os.path.exists(path) and os.path.exists(beside) else path))
