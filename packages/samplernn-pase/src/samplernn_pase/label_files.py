"""The files that say what is said in a recording: its label, and Ahocoder's features; where corpora keep them.

speech/anna/a1.flac               speech/anna/a1.lab, anna/a1.cc .fv .lf0             beside it
vctk/wav16_trimmed/p225/x.wav     vctk/wav16_trimmed_conds_linguistic/p225/x.lab      the original's data set
                                  vctk/wav16_trimmed_conds_acoustic/p225/x.cc ...
any recording                     DIR/ID.lab, DIR/SPEAKER/NAME.lab, DIR/NAME.lab      --labels DIR, --acoustic DIR
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vocoder_core.utterance import Utterance

LINGUISTIC, ACOUSTIC = "_conds_linguistic", "_conds_acoustic"


def labels(utterances: Iterable[Utterance], folder: Path | None = None) -> dict[str, Path]:
    """The label file of each recording, by id: the first that is there, or where it should be."""
    return _found(utterances, folder, ".lab", LINGUISTIC)


def acoustic(utterances: Iterable[Utterance], folder: Path | None = None) -> dict[str, Path]:
    """Ahocoder's files of each recording, by id, without their suffixes: where .cc is, or should be."""
    return {name: path.with_suffix("") for name, path in _found(utterances, folder, ".cc", ACOUSTIC).items()}


def stamps(files: dict[str, Path], suffixes: tuple[str, ...] = ("",)) -> list[list[object]]:
    """Name, size and time of the files, so that what was made of them is made again when one has changed."""
    return [[name, *_stamp(Path(f"{path}{suffix}"))] for name, path in sorted(files.items()) for suffix in suffixes]


def _found(utterances: Iterable[Utterance], folder: Path | None, suffix: str, conds: str) -> dict[str, Path]:
    """Raises FileNotFoundError when there is no such folder."""
    if folder is not None and not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected one with a {suffix} file for each recording")
    found = {}
    for utterance in utterances:
        places = _places(utterance, folder, suffix, conds)
        found[utterance.id] = next((path for path in places if path.is_file()), places[0])
    return found


def _places(utterance: Utterance, folder: Path | None, suffix: str, conds: str) -> list[Path]:
    name = utterance.id.rpartition("/")[2]  # VCTK 0.92's file is NAME_mic1
    stems = dict.fromkeys((name, utterance.path.stem))
    if folder is not None:
        tree = [folder / f"{utterance.id}{suffix}"]
        return tree + [place / f"{stem}{suffix}" for stem in stems for place in (folder / utterance.speaker, folder)]
    home = utterance.path.parent
    other = home.parent.with_name(home.parent.name + conds) / home.name if home.parent.name else home
    return [place / f"{stem}{suffix}" for stem in stems for place in (home, other)]


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
