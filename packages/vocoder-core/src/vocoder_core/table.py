"""Corpora listed in a table: manifest.tsv (tab) or manifest.csv (comma), a recording a line, column names in the first.

`path` (relative to the table or absolute), `speaker`; optional `id` or `utt`, `split`, `transcript` or `text`; others
are ignored. Without `path`, the recording of speaker s and utt u is s/u.flac, .wav, ... beside the table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from .audio import AUDIO_SUFFIXES
from .utterance import Utterance

NAMES = ("manifest.tsv", "manifest.csv")
SPLITS = {"": None, "train": "train", "valid": "valid", "test": "test"}
SPLITS |= {"training": "train", "dev": "valid", "val": "valid", "validation": "valid", "eval": "test"}


def is_table(root: Path) -> bool:
    """Whether `root` is a table or a folder with one."""
    return _file(root) is not None


def read(root: Path) -> list[Utterance]:
    """The recordings of the table at or in `root`, in its order. Raises ValueError naming the line that is wrong."""
    file = _file(root)
    assert file is not None, "only a folder for which is_table holds is read"
    return [_utterance(file, line, row) for line, row in _rows(file)]


def _file(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() in (".tsv", ".csv") else None
    return next((root / name for name in NAMES if (root / name).is_file()), None)


def _rows(file: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and columns of each row."""
    try:
        with open(file, encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if file.suffix.lower() == ".tsv" else ",", restval="")
            columns = set(reader.fieldnames or ())
            if "speaker" not in columns or not columns & {"path", "id", "utt"}:
                raise ValueError(f"{file}:1: the columns are {', '.join(sorted(columns))}; expected path and speaker")
            for row in reader:
                if None in row:
                    raise ValueError(f"{file}:{reader.line_num}: more fields than the {len(columns)} columns")
                yield reader.line_num, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: not a table in UTF-8 ({error})") from None


def _utterance(file: Path, line: int, row: dict[str, str]) -> Utterance:
    name, speaker = row.get("id") or row.get("utt"), row["speaker"]
    relative, split = row.get("path"), row.get("split", "").strip().lower()
    if not speaker or not (relative or name):
        raise ValueError(f"{file}:{line}: the line lacks {'its path' if speaker else 'its speaker'}")
    if split not in SPLITS:
        raise ValueError(f"{file}:{line}: split is {row['split']!r}, expected train, valid, test or nothing")
    path = file.parent / relative if relative else _beside(file.parent / speaker, str(name))
    return Utterance(
        id=name or Path(str(relative)).with_suffix("").as_posix(),
        speaker=speaker,
        path=path,
        text=row.get("transcript") or row.get("text") or None,
        split=SPLITS[split],
    )


def _beside(folder: Path, name: str) -> Path:
    """The audio file `name` in `folder`, whatever its format; the FLAC that should be there when there is none."""
    candidates = (folder / f"{name}{suffix}" for suffix in sorted(AUDIO_SUFFIXES))
    return next((path for path in candidates if path.exists()), folder / f"{name}.flac")
