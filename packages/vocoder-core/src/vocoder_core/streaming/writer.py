"""A file that grows: audio written as it is made, under its own name once it is whole, or when the work is interrupted.

with Writer("out.wav", 16_000) as out:       .out.123.part.wav
    for wav in made:
        out.write(wav)                       renamed at the end; after Ctrl-C too, as far as it came
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from tqdm import tqdm

from .. import audio

BLOCK = 1 << 14  # samples; libsndfile's Vorbis writer overflows its stack on long blocks


class Writer:
    """Writes a wave in [-1, 1] by suffix, as audio.SUBTYPES says, piece by piece. `samples`: so many are written."""

    def __init__(self, path: str | os.PathLike[str], sample_rate: int) -> None:
        """Raises ValueError for a format that cannot be written."""
        self.path, self.sample_rate, self.samples = Path(path), sample_rate, 0
        known = audio.SUBTYPES
        if self.path.suffix.lower() not in known:
            raise ValueError(
                f"{self.path}: cannot write the format '{self.path.suffix}', expected one of {' '.join(known)}"
            )
        self.part = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self.open = ExitStack()
        self.file: Any = None
        self.held = np.zeros(0, np.int16)  # written in whole blocks, so that lossy formats do not show the pieces

    def __enter__(self) -> Self:
        import soundfile

        suffix = self.path.suffix.lower()
        form = {"format": suffix[1:].upper(), "subtype": audio.SUBTYPES[suffix]}
        raw = self.open.enter_context(open(self.part, "wb"))
        try:
            self.file = self.open.enter_context(soundfile.SoundFile(raw, "w", self.sample_rate, 1, **form))
        except (soundfile.SoundFileError, RuntimeError) as error:
            self.__exit__(type(error), error, None)
            raise self._refused(error) from None
        return self

    def write(self, wav: np.ndarray) -> None:
        """The next samples (t,): floats in [-1, 1], which audio.to_int16 rounds, or 16 bits."""
        codes = wav if wav.dtype == np.int16 else audio.to_int16(wav)
        self.held = np.concatenate([self.held, codes])
        self.samples += len(codes)
        while len(self.held) >= BLOCK:
            self._encode(self.held[:BLOCK])
            self.held = self.held[BLOCK:]

    def _encode(self, codes: np.ndarray) -> None:
        import soundfile

        try:
            self.file.write(codes)
        except (soundfile.SoundFileError, RuntimeError) as error:
            raise self._refused(error) from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        """Whole, or interrupted: the file appears. After another error, or with nothing in it, there is none."""
        kept = kind is None or (issubclass(kind, KeyboardInterrupt) and self.samples > 0)
        try:
            with self.open:
                if kept:
                    self._encode(self.held)
            if kept:
                os.replace(self.part, self.path)
        finally:
            self.part.unlink(missing_ok=True)

    def _refused(self, error: Exception) -> ValueError:
        return ValueError(f"{self.path}: cannot be written at {self.sample_rate} Hz ({audio.reason(error)})")


def write(path: Path, pieces: Iterable[np.ndarray], sample_rate: int, samples: int, progress: bool = True) -> int:
    """Write pieces (t,), `samples` together, with a progress bar in seconds; how many they were.

    Interrupted, it keeps what there is, and says so in the KeyboardInterrupt that it raises.
    """
    out, total = Writer(path, sample_rate), round(samples / sample_rate, 2)
    shape = "{l_bar}{bar}| {n:.1f}/{total:.1f} s [{elapsed}<{remaining}]"
    with tqdm(total=total, bar_format=shape, disable=None if progress else True) as bar:
        try:
            with out:
                for wav in pieces:
                    out.write(wav)
                    bar.update(len(wav) / sample_rate)
        except KeyboardInterrupt:
            bar.close()
            raise KeyboardInterrupt(_kept(out, samples)) from None
    return out.samples


def _kept(out: Writer, samples: int) -> str:
    if not out.samples:
        return f"{out.path} was not begun"
    rate = out.sample_rate
    return f"{out.path} holds the first {out.samples / rate:.2f} s of {samples / rate:.2f} s at {rate} Hz"
