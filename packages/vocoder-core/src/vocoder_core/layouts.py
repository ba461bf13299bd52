"""Find the recordings of a corpus on disk: public corpora in their own shape, tables, and plain folders of audio.

    find("LJSpeech-1.1")  ->  [Utterance(id='LJ001-0001', speaker='lj', path=..., text=..., split=None), ...]

Layouts: `table` manifest.tsv or .csv (table.py); `lists` train.txt, valid.txt, test.txt (split_lists.py); `ljspeech`,
`vctk`, `arctic`, `libritts`, `trimmed` (public_corpora.py); `speakers` one folder a speaker, any depth below, files
beside them named after the root; `flat` all one speaker; `auto` the first of these that fits.
"""

from __future__ import annotations

import collections
import difflib
import logging
import os
from pathlib import Path

from . import public_corpora, split_lists, table
from .audio import AUDIO_SUFFIXES
from .utterance import Utterance, audio_files, folders, natural_key, spelled

logger = logging.getLogger(__name__)

__all__ = ["LAYOUTS", "Utterance", "find"]

LAYOUTS = ("auto", "table", "lists", "ljspeech", "vctk", "arctic", "libritts", "trimmed", "speakers", "flat")
SHAPES = {  # a look at a folder that says whether it is the root of such a corpus, in the order in which `auto` asks
    "table": table.is_table,
    "lists": split_lists.is_split_lists,  # before the corpora: lists are added to LJSpeech
    "ljspeech": public_corpora.is_ljspeech,
    "vctk": public_corpora.is_vctk,
    "arctic": public_corpora.is_arctic,
    "libritts": public_corpora.is_libritts,
    "trimmed": public_corpora.is_trimmed,
}
READERS = {
    "table": table.read,
    "lists": split_lists.split_lists,
    "ljspeech": public_corpora.ljspeech,
    "vctk": public_corpora.vctk,
    "arctic": public_corpora.arctic,
    "libritts": public_corpora.libritts,
    "trimmed": public_corpora.trimmed,
}


def find(root: str | os.PathLike[str], layout: str = "auto") -> list[Utterance]:
    """The recordings under `root`, sorted by id in natural order, ids unique; files are not opened yet.

    Raises FileNotFoundError when there is no such folder; ValueError for an unknown layout, a folder of another shape,
    an id that comes twice, or no recording at all.
    """
    root = Path(root)
    if layout not in LAYOUTS:
        near = difflib.get_close_matches(layout, LAYOUTS, 1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ValueError(f"unknown layout {layout!r}{hint}, expected one of {', '.join(LAYOUTS)}")
    if not root.exists():
        raise FileNotFoundError(f"{root}: no such folder")
    layout, root = _detect(root) if layout == "auto" else (layout, _home(root, layout))
    utterances = READERS[layout](root) if layout in READERS else _plain(root, one_speaker=layout == "flat")
    if not utterances:
        raise ValueError(f"{root}: no audio files found there (read as layout {layout})")
    return _sorted(utterances)


def _detect(root: Path) -> tuple[str, Path]:
    """The layout of `root`; a folder that only wraps one other folder, as archives leave it, is looked into."""
    for layout, fits in SHAPES.items():
        if fits(root):
            return layout, root
    if not root.is_dir():
        raise ValueError(f"{root}: is a file, expected a folder of audio or a .tsv or .csv table")
    inside = folders(root)
    if len(inside) == 1 and not any(path.suffix.lower() in AUDIO_SUFFIXES for path in root.iterdir()):
        for layout, fits in SHAPES.items():
            if fits(inside[0]):
                return layout, inside[0]
    return "speakers", root  # for files without folders the same as flat


def _home(root: Path, layout: str) -> Path:
    """The folder of that layout: `root` itself, or the one folder in it that has the shape."""
    if layout not in SHAPES or SHAPES[layout](root):
        return root
    inside = [folder for folder in folders(root) if SHAPES[layout](folder)]
    if len(inside) != 1:
        found = f"{', '.join(path.name for path in inside)} in it do: name one" if inside else "nor has a folder in it"
        raise ValueError(f"{root}: does not have the shape of layout {layout}, {found}")
    return inside[0]


def _plain(root: Path, one_speaker: bool) -> list[Utterance]:
    """Every audio file; id = path without suffix (with it where two differ in nothing else), speaker = first folder."""
    left_out: collections.Counter[str] = collections.Counter()
    files = [path.relative_to(root) for path in audio_files(root, left_out)]
    if left_out:
        kinds = ", ".join(f"{count} {spelled(kind)}" for kind, count in sorted(left_out.items()))
        logger.warning("%s: left out files that are not audio by their names: %s", root, kinds)
    shared = collections.Counter(path.with_suffix("") for path in files)
    name = root.resolve().name or "speaker"
    return [
        Utterance(
            id=spelled(path if shared[path.with_suffix("")] > 1 else path.with_suffix("")),
            speaker=spelled(name if one_speaker or len(path.parts) == 1 else path.parts[0]),
            path=root / path,
        )
        for path in files
    ]


def _sorted(utterances: list[Utterance]) -> list[Utterance]:
    known: dict[str, Utterance] = {}
    for utterance in utterances:
        if utterance.id in known:
            paths = f"{spelled(known[utterance.id].path)} and {spelled(utterance.path)}"
            raise ValueError(f"two recordings have the id {utterance.id!r}: {paths}; ids must be unique")
        known[utterance.id] = utterance
    return sorted(utterances, key=lambda utterance: natural_key(utterance.id))
