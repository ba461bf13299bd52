"""One array beside the audio of a prepared corpus, a row for each of its frames: made once, read by numpy (mmap).

    DATA/features/NAME.npy    (N_frames, C), the frames in the order of audio.npy
    DATA/features/NAME.json   what it was made with, and the recordings that are left out of it, each with its reason

While it is made, the rows lie in .NAME.part and the blocks that are done are lines of .NAME.done: a run that is killed
goes on where it was. The array gets its name last, so whoever finds it finds all of it. The bytes depend on the corpus
and the front end alone, on no number of processes and no kill.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vocoder_core.corpus import Corpus, Entry
from vocoder_core.corpus.block import replacing
from vocoder_core.corpus.prepared import AUDIO, MANIFEST, first_difference

FOLDER = "features"
FORMAT = 1  # of the files; those of another one are made again
SIZE = 32  # recordings in a block: what a kill can cost

Rows = np.ndarray | str  # (frames, C) of a recording, or the reason why there are none


class FrontEnd(Protocol):
    """What turns a recording into rows. A frozen dataclass, so that it can be sent to other processes."""

    @property
    def name(self) -> str:
        """The name of the file, without suffix."""

    @property
    def width(self) -> int:
        """C."""

    @property
    def dtype(self) -> str:
        """Of the array, as numpy spells it."""

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """Plain values: with others, or of other files, the array is made again."""

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(entry.frames, C) of the samples (entry.samples,) float32. Raises ValueError or OSError: the reason."""


@dataclasses.dataclass(frozen=True)
class Made:
    """An array that is there, what it was made with, and {id: reason} of the recordings left out: rows of zeros."""

    path: Path
    made_with: dict[str, Any]
    left_out: dict[str, str]


def make(corpus: Corpus, front_end: FrontEnd, *, jobs: int | None = 1, progress: bool = True) -> Made:
    """Make the array of a front end, go on with it, or see that it is there: then nothing is touched.

    jobs: processes; None leaves it to joblib.parallel_config. Raises ValueError when no recording can be used, OSError
    when the folder cannot be written.
    """
    made_with = _made_with(corpus, front_end)
    here = find(corpus.folder, front_end.name)
    if here and first_difference(here.made_with, made_with) is None:
        return here
    path = corpus.folder / FOLDER / f"{front_end.name}.npy"
    try:
        path.parent.mkdir(exist_ok=True)
        discard(corpus.folder, front_end.name)
        unfinished = _Unfinished.open(path, corpus.entries, front_end, made_with)
        for block, rows in _run(unfinished.missing(), corpus.folder / AUDIO, front_end, jobs, progress):
            unfinished.keep(block, rows)
        return _finish(unfinished, made_with)
    except OSError as error:  # disk full, folder gone
        kept = "what is done so far is kept: mend it and run the same command again"
        raise OSError(error.errno, f"{error.strerror}; {kept}", error.filename or str(path.parent)) from None


def find(data: Path, name: str) -> Made | None:
    """The array of that name of the corpus in `data`; None where there is none. Raises ValueError for a damaged one."""
    path = data / FOLDER / f"{name}.npy"
    if not path.is_file():
        return None
    try:
        told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return Made(path, dict(told["made_with"]), dict(told["left_out"]))
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{path.with_suffix('.json')}: missing or damaged: remove {path} and prepare again") from None


def discard(data: Path, name: str) -> None:
    """Remove an array and what was derived from it."""
    for old in (f"{name}.npy", f"statistics-{name.removeprefix('content-')}.json", f"{name}.json"):
        (data / FOLDER / old).unlink(missing_ok=True)


def first_frame(entry: Entry) -> int:
    """Where the rows of an utterance begin."""
    return entry.offset // (entry.samples // entry.frames)


def manifest_digest(corpus: Corpus) -> str:
    """Names a prepared corpus: its recordings, their places, gains and splits."""
    return hashlib.sha256((corpus.folder / MANIFEST).read_bytes()).hexdigest()


def _made_with(corpus: Corpus, front_end: FrontEnd) -> dict[str, Any]:
    told = {"format": FORMAT, "corpus": manifest_digest(corpus), "width": front_end.width, "dtype": front_end.dtype}
    plain: dict[str, Any] = json.loads(json.dumps(told | {"settings": front_end.settings(corpus.entries)}))
    return plain


def _finish(unfinished: _Unfinished, made_with: dict[str, Any]) -> Made:
    path, left_out = unfinished.path, unfinished.left_out()
    if len(left_out) == sum(len(block) for block in unfinished.blocks):
        name, reason = next(iter(left_out.items()))
        unfinished.log.unlink()
        unfinished.part.unlink()
        raise ValueError(f"{path.stem}: none of the {len(left_out)} recordings can be used; {name}: {reason}")
    with replacing(path.with_suffix(".json")) as file:
        told = {"made_with": made_with, "left_out": left_out}
        file.write(json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")
    os.replace(unfinished.part, path)
    unfinished.log.unlink()
    return Made(path, made_with, left_out)


@dataclasses.dataclass
class _Unfinished:
    """An array under way: its rows in `part`, in `log` a line for each block of recordings whose rows are there."""

    path: Path
    blocks: list[list[Entry]]
    header: int  # bytes before the first row
    row: int  # bytes of one
    done: dict[int, dict[str, str]] = dataclasses.field(default_factory=dict)  # block -> reasons of those left out

    @property
    def part(self) -> Path:
        return self.path.with_name(f".{self.path.stem}.part")

    @property
    def log(self) -> Path:
        return self.path.with_name(f".{self.path.stem}.done")

    @classmethod
    def open(cls, path: Path, entries: list[Entry], front_end: FrontEnd, made_with: dict[str, Any]) -> _Unfinished:
        """What a killed run left of this very work, or a new start."""
        blocks = [entries[i : i + SIZE] for i in range(0, len(entries), SIZE)]
        dtype, frames = np.dtype(front_end.dtype), sum(entry.frames for entry in entries)
        header, shape = io.BytesIO(), (frames, front_end.width)
        np.lib.format.write_array_header_1_0(header, {"descr": dtype.str, "fortran_order": False, "shape": shape})
        unfinished = cls(path, blocks, header.tell(), front_end.width * dtype.itemsize)
        size = header.tell() + frames * unfinished.row
        if not unfinished._resume(made_with, size):
            unfinished.log.unlink(missing_ok=True)
            with open(unfinished.part, "wb") as file:
                file.write(header.getvalue())
                file.truncate(size)
            with replacing(unfinished.log) as file:
                file.write(_line(made_with))
        return unfinished

    def _resume(self, made_with: dict[str, Any], size: int) -> bool:
        """Take up what lies there, if it is of the same work."""
        try:
            first, *lines = self.log.read_bytes().splitlines(keepends=True)
            if json.loads(first) != made_with or self.part.stat().st_size != size:
                return False
            self.done = dict(json.loads(line) for line in lines if line.endswith(b"\n"))
        except (OSError, ValueError):  # nothing there, or cut short
            return False
        with replacing(self.log) as file:  # without half a line at its end
            file.write(b"".join([first, *map(_line, self.done.items())]))
        return True

    def missing(self) -> list[tuple[int, list[Entry]]]:
        """Blocks that are to be made."""
        return [(number, block) for number, block in enumerate(self.blocks) if number not in self.done]

    def keep(self, number: int, results: list[Rows]) -> None:
        """Put the rows of a block in their places, on disk, then say so."""
        reasons: dict[str, str] = {}
        with open(self.part, "r+b") as file:
            for entry, rows in zip(self.blocks[number], results):
                if isinstance(rows, str):
                    reasons[entry.id] = rows  # and zeros stay
                else:
                    file.seek(self.header + first_frame(entry) * self.row)
                    file.write(rows.tobytes())
            file.flush()
            os.fsync(file.fileno())
        self.done[number] = reasons
        with open(self.log, "ab") as file:
            file.write(_line([number, reasons]))
            file.flush()
            os.fsync(file.fileno())

    def left_out(self) -> dict[str, str]:
        """{id: reason}, in the order of the corpus."""
        return {name: reason for number in sorted(self.done) for name, reason in self.done[number].items()}


def _run(
    blocks: list[tuple[int, list[Entry]]], audio: Path, front_end: FrontEnd, jobs: int | None, progress: bool
) -> Iterator[tuple[int, list[Rows]]]:
    """The rows of the blocks, in any order, in processes when there are several jobs."""
    import joblib
    from tqdm import tqdm

    workers = min(jobs, max(len(blocks), 1)) if jobs else None
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator_unordered")
    total, quiet = sum(len(block) for _, block in blocks), None if progress else True
    try:
        with tqdm(total=total, unit="file", desc=front_end.name, disable=quiet) as bar:
            for number, rows in parallel(joblib.delayed(_block)(audio, front_end, *block) for block in blocks):
                yield number, rows
                bar.update(len(rows))
    except BrokenProcessPool:
        raise ValueError("a worker process was killed, perhaps for memory: run it again with fewer jobs") from None


def _block(audio: Path, front_end: FrontEnd, number: int, entries: list[Entry]) -> tuple[int, list[Rows]]:
    """The rows of some recordings in the type of the file, or the reasons why there are none."""
    samples, results = np.load(audio, mmap_mode="r"), []
    for entry in entries:
        wav = samples[entry.offset : entry.offset + entry.samples].astype(np.float32) / np.float32(32768)
        try:
            rows: Rows = front_end.rows(entry, wav).astype(front_end.dtype)
            assert np.shape(rows) == (entry.frames, front_end.width), f"{front_end.name} of {entry.id}"
        except (ValueError, OSError) as error:
            rows = " ".join(str(error).split()) or type(error).__name__
        results.append(rows)
    return number, results


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"
