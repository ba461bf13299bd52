"""One recording of a corpus, the order of recordings, and the walk over a folder that finds them.

Order is natural (p2 before p10) and depends on names alone, so a corpus is read the same on every file system.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections import Counter, deque
from pathlib import Path

from .audio import AUDIO_SUFFIXES


@dataclasses.dataclass(frozen=True)
class Utterance:
    """A recording: `id` unique in its corpus, `split` 'train', 'valid', 'test' or None where the corpus gives none."""

    id: str
    speaker: str
    path: Path
    text: str | None = None
    split: str | None = None


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key in which numbers count as numbers: p2 < p10; equal numbers (1, 01) fall back to plain text order."""
    parts = re.split("([0-9]+)", text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], text


def spelled(path: str | os.PathLike[str]) -> str:
    """The path as printable text with forward slashes; bytes that are not UTF-8 become escapes such as \\xff."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


def audio_files(root: Path, left_out: Counter[str] | None = None) -> list[Path]:
    """All files under `root` with the suffix of an audio format, in natural order; counts the others in `left_out`.

    Links to folders are followed, each real folder is visited once (under its own name where it lies in `root`), so
    loops end. A link that leads nowhere is returned, for the reader to report. Raises ValueError for a closed folder.
    """
    found: list[Path] = []
    seen: set[tuple[int, int]] = set()
    links = deque([root])
    while links:  # real folders first, then what links lead to: a link never takes a folder's name away
        stack = [links.popleft()]
        while stack:
            folder = stack.pop()
            for path in _children(folder, seen):
                if path.is_dir():
                    (links if path.is_symlink() else stack).append(path)
                elif path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
                    found.append(path)
                elif left_out is not None:
                    left_out["hidden" if path.name.startswith(".") else path.suffix or "without suffix"] += 1
    return sorted(found, key=lambda path: natural_key(spelled(path.relative_to(root))))


def _children(folder: Path, seen: set[tuple[int, int]]) -> list[Path]:
    """What lies in `folder`, sorted; nothing when it was visited before."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            return []
        seen.add((status.st_dev, status.st_ino))
        return [folder / name for name in sorted(os.listdir(folder))]
    except OSError as error:
        raise ValueError(f"{folder}: the folder cannot be listed ({error.strerror})") from None


def folders(root: Path) -> list[Path]:
    """The folders in `root`, hidden ones apart, by name."""
    found = root.iterdir() if root.is_dir() else ()
    return sorted(path for path in found if path.is_dir() and not path.name.startswith("."))


def read_text(path: Path) -> str | None:
    """The stripped text of a transcript file, None when there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
