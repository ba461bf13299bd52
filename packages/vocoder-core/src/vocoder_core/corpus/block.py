"""Blocks: runs of recordings prepared together. A block is a pure function of its recordings and the settings.

A block file is one line of JSON (its key, a record for each recording) and the raw int16 audio; it appears by a rename,
so it is there whole or not at all. That makes preparation resumable, and its result the same whoever did which block.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .. import audio
from ..config import to_dict
from ..utterance import Utterance, spelled
from .config import CorpusConfig

SIZE = 32  # recordings in a block: what a kill can cost each worker
PEAK = 0.999  # no gain may push the highest sample beyond


@dataclasses.dataclass(frozen=True)
class Block:
    """Work for one process: recordings with their splits, and the file for the result."""

    path: Path
    utterances: tuple[Utterance, ...]
    splits: tuple[str, ...]
    config: CorpusConfig

    def key(self) -> str:
        """Changes with the settings and with any recording's name, text, size or time."""
        rows = [[*_named(u, split), *_stamp(u.path)] for u, split in zip(self.utterances, self.splits)]
        return hashlib.sha256(json.dumps([to_dict(self.config), rows]).encode()).hexdigest()

    def is_done(self) -> bool:
        """Whether the file holds the result for just this work."""
        try:
            header, audio_bytes = read_header(self.path)
        except (OSError, ValueError):
            return False
        return header["key"] == self.key() and audio_bytes == 2 * sum(r.get("samples", 0) for r in header["records"])


def prepare_block(block: Block) -> int:
    """Prepare all recordings of a block and write its file; the number of recordings.

    A record is the fields of an Entry without offset, or id, path and reason of a rejected recording.
    """
    key, records, codes = block.key(), [], []
    for utterance, split in zip(block.utterances, block.splits):
        try:
            record, code = _prepare(utterance, split, block.config)
            codes.append(code)
        except (ValueError, OSError, MemoryError) as error:
            reason = str(error).removeprefix(f"{utterance.path}: ") or type(error).__name__
            record = {
                "id": utterance.id,
                "path": spelled(utterance.path),
                "reason": " ".join(reason.split()),
            }
        records.append(record)
    with replacing(block.path) as file:
        file.write(json.dumps({"key": key, "records": records}).encode() + b"\n")
        for code in codes:
            file.write(code.tobytes())
    return len(records)


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON line of a block file and the number of bytes of audio after it."""
    with open(path, "rb") as file:
        line = file.readline()
    return json.loads(line), os.path.getsize(path) - len(line)


def read_records(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """The records of done blocks, in order."""
    for block in blocks:
        yield from read_header(block.path)[0]["records"]


def source_digest(utterances: Sequence[Utterance], splits: dict[str, str]) -> str:
    """Names a list of recordings: ids, speakers, splits, texts and file sizes, whatever folder they lie in."""
    rows = [[*_named(u, splits[u.id]), _stamp(u.path)[0]] for u in utterances]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file to write that takes the place of `path` when the block ends well, and vanishes when it does not."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _prepare(utterance: Utterance, split: str, config: CorpusConfig) -> tuple[dict[str, Any], np.ndarray]:
    """The record and the int16 samples (frames * hop,) of one recording. Raises ValueError: the reason to reject it."""
    wav, _ = audio.load(utterance.path, config.sample_rate)
    if wav.size < config.min_seconds * config.sample_rate:
        raise ValueError(f"too short: {wav.size / config.sample_rate:.3f} s, expected {config.min_seconds:g} s or more")
    gain = _gain(wav, config)
    codes = audio.to_int16(wav * np.float32(gain))
    if not codes.any():
        raise ValueError("silent: no sample reaches the smallest 16-bit value")
    frames = -(-codes.size // config.hop_length)
    padded = np.zeros(frames * config.hop_length, "<i2")
    padded[: codes.size] = codes
    with open(utterance.path, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    record: dict[str, Any] = {"id": utterance.id, "speaker": utterance.speaker, "split": split, "text": utterance.text}
    record |= {"samples": padded.size, "frames": frames, "length": codes.size, "gain": gain, "source_sha256": sha256}
    return record, padded


def _gain(wav: np.ndarray, config: CorpusConfig) -> float:
    """The linear gain that brings a recording to the level, held back where a sample would pass PEAK."""
    peak = float(np.max(np.abs(wav)))
    if peak == 0:
        raise ValueError("silent: all samples are zero")
    if config.level == "none":
        return min(1.0, PEAK / peak)
    if config.level == "peak":
        return min(10 ** (config.level_db / 20), PEAK) / peak
    loudness = audio.loudness(wav, config.sample_rate)
    if loudness == -np.inf:
        raise ValueError(f"silent: no part of it is louder than {audio.ABSOLUTE_GATE:g} LUFS")
    return float(min(10 ** ((config.level_db - loudness) / 20), PEAK / peak))


def _named(utterance: Utterance, split: str) -> list[str | None]:
    return [utterance.id, utterance.speaker, split, utterance.text]


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file, so that a recording that was replaced is prepared again; -1 where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
