"""Codes of speech in a file, and the refusal of those that another codebook gave: they would be noise.

    codes.npz   NumPy arrays named as the fields below; some 2.5 KiB beside the codes
    codes.vqc   the same behind a header of 48 bytes

Both pack the codes: N numbers below K take N log2(K) bits, rounded up once in 256 of them. What is kept:

    codes, count, size               uint8, packed; N; K
    pitch, frames, levels            uint8, packed; F; of how many levels: 0, 0 and nothing of a model without pitch
    sample_rate, samples, gain       the recording's rate in Hz, its length, and what took it to the model's level
    codebook                         a fingerprint of the vectors that the codes stand for
"""

from __future__ import annotations

import hashlib
import io
import struct
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .vq import Quantizer

SUFFIXES = (".npz", ".vqc")
NUMBERS = ("count", "size", "frames", "levels", "sample_rate", "samples")
HEADER = struct.Struct("<4s6Id8s4x")  # MAGIC, NUMBERS, gain, fingerprint
MAGIC = b"VQC1"
GROUP = 256  # numbers that are packed together, as one


@dataclass(frozen=True)
class Book:
    """What the codes of a model are: numbers below `size`, and below `levels` those of pitch, if it has any."""

    size: int
    fingerprint: str  # 16 hexadecimal digits
    levels: int = 0


@dataclass(frozen=True)
class Coded:
    """A recording as codes."""

    codes: Tensor  # (N,) int64, on the CPU
    sample_rate: int  # Hz, of the recording
    samples: int  # of the recording
    gain: float  # linear, what took it to the model's level
    pitch: Tensor | None = None  # (F,) int64, of models that have it


def book(quantizer: Quantizer, levels: int = 0) -> Book:
    """The book of a model's quantiser. It is the same in half precision, in which voices ship."""
    table = getattr(quantizer, "codebook", None)
    learnt = list(quantizer.parameters()) if table is None else [table]  # a grid has what leads to it and away at most
    digest = hashlib.sha256(str(quantizer.config.levels).encode())
    for tensor in learnt:
        digest.update(tensor.detach().half().cpu().contiguous().numpy().tobytes())
    return Book(quantizer.size, digest.hexdigest()[:16], levels)


def write(path: str | Path, coded: Coded, book: Book) -> int:
    """Write a recording's codes; how many bytes that took. Raises ValueError for another suffix, or other codes."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path}: codes are kept as .npz or .vqc; expected a name like codes.npz")
    pitch = torch.empty(0, dtype=torch.int64) if coded.pitch is None else coded.pitch
    if (coded.pitch is not None) != bool(book.levels):
        raise ValueError(f"{path}: {'no' if coded.pitch is None else 'a'} pitch beside codes of {book.levels} levels")
    streams = pack(coded.codes.cpu().numpy(), book.size), pack(pitch.cpu().numpy(), book.levels)
    numbers = (coded.codes.numel(), book.size, pitch.numel(), book.levels, coded.sample_rate, coded.samples)
    if path.suffix == ".vqc":
        header = HEADER.pack(MAGIC, *numbers, coded.gain, bytes.fromhex(book.fingerprint))
        content = header + b"".join(stream.tobytes() for stream in streams)
    else:
        file = io.BytesIO()
        named: dict[str, Any] = dict(zip(NUMBERS, numbers)) | {"gain": coded.gain, "codebook": book.fingerprint}
        np.savez(file, codes=streams[0], pitch=streams[1], **named)
        content = file.getvalue()
    path.write_bytes(content)
    return len(content)


def read(path: str | Path, book: Book, writer: str) -> Coded:
    """The codes in a file. writer: the command that makes such files, for messages.

    Raises ValueError when they are none, damaged, or another model's; OSError.
    """
    path = Path(path)
    content = path.read_bytes()
    found = _vqc(content) if content.startswith(MAGIC) else _npz(content)
    if found is None:
        raise ValueError(f"{path}: not a readable file of codes; expected what {writer} writes")
    missing = [name for name in ("codes", *NUMBERS, "gain", "codebook", "pitch") if name not in found]
    if missing:
        raise ValueError(f"{path}: holds no {missing[0]}; expected what {writer} writes")
    if str(found["codebook"]) != book.fingerprint:
        raise ValueError(
            f"{path}: its codes are of another codebook; decode them with the checkpoint that encoded them"
        )
    try:
        return _coded(found, book)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: damaged ({error}); encode the recording again") from None


def _coded(found: dict[str, Any], book: Book) -> Coded:
    count, size, frames, levels, rate, samples = (int(found[name]) for name in NUMBERS)
    gain = float(found["gain"])
    if (size, levels) != (book.size, book.levels):
        raise ValueError(f"of {size} codes and {levels} levels of pitch, this model has {book.size} and {book.levels}")
    if min(count, rate, samples) < 1 or not 0 < gain < float("inf"):
        raise ValueError(f"{count} codes of {samples} samples at {rate} Hz, gain {gain}")
    pitch = torch.from_numpy(unpack(found["pitch"], levels, frames)) if levels else None
    return Coded(torch.from_numpy(unpack(found["codes"], size, count)), rate, samples, gain, pitch)


def _npz(content: bytes) -> dict[str, Any] | None:
    """The arrays of an .npz; None of what is none."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except Exception:  # bytes that are no archive, or a damaged one, may raise anything
        return None


def _vqc(content: bytes) -> dict[str, Any] | None:
    """The fields of a .vqc; None of one that is cut short."""
    if len(content) < HEADER.size:
        return None
    _, *numbers, gain, codebook = HEADER.unpack_from(content)
    found: dict[str, Any] = dict(zip(NUMBERS, numbers)) | {"gain": gain, "codebook": codebook.hex()}
    behind = np.frombuffer(content, np.uint8, offset=HEADER.size)
    length = packed_length(found["size"], found["count"])
    return found | {"codes": behind[:length], "pitch": behind[length:]}


def pack(values: np.ndarray, base: int) -> np.ndarray:
    """Whole numbers (N,) in [0, base) -> uint8 (`packed_length`,): the digits of one large number for each GROUP.

    Raises ValueError for numbers that are not below `base`.
    """
    if values.ndim != 1 or (values.size and not 0 <= values.min() <= values.max() < base):
        raise ValueError(f"codes of shape {values.shape} are not all from 0 to {base - 1}; expected (N,)")
    parts = []
    for start in range(0, len(values), GROUP):
        digits = values[start : start + GROUP].tolist()
        number = reduce(lambda before, digit: before * base + digit, digits, 0)
        parts.append(number.to_bytes(packed_length(base, len(digits)), "little"))
    return np.frombuffer(b"".join(parts), np.uint8)


def unpack(packed: np.ndarray, base: int, count: int) -> np.ndarray:
    """The inverse of `pack`: (count,) int64. Raises ValueError for bytes that `pack` cannot have written."""
    if packed.dtype != np.uint8 or packed.shape != (packed_length(base, count),):
        raise ValueError(f"{packed.dtype} {packed.shape} where {count} numbers below {base} were packed")
    values, content = np.empty(count, np.int64), packed.tobytes()
    for start in range(0, count, GROUP):
        digits, first = min(GROUP, count - start), packed_length(base, start)
        number = int.from_bytes(content[first : first + packed_length(base, digits)], "little")
        for place in range(start + digits - 1, start - 1, -1):
            number, values[place] = divmod(number, base)
        if number:
            raise ValueError(f"a packed number is beyond {digits} digits below {base}")
    return values


def packed_length(base: int, count: int) -> int:
    """Bytes that `count` packed numbers below `base` take."""
    groups, rest = divmod(count, GROUP)
    return sum(many * (((base**digits - 1).bit_length() + 7) // 8) for many, digits in ((groups, GROUP), (1, rest)))
