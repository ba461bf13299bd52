"""Codes in files: as small as their number says, back as they were, and never read by another codebook."""

from __future__ import annotations

import struct
from dataclasses import replace
from math import ceil, log2
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder_core import codes_file
from vocoder_core.codes_file import Book, Coded, pack, unpack
from vocoder_core.vq import QuantizerConfig, quantizer

BOOK = Book(size=500, fingerprint="0123456789abcdef", levels=48)


def numbers(base: int, count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, base, count)


def coded(count: int = 700, frames: int = 900) -> Coded:
    codes, pitch = (torch.from_numpy(numbers(*told)) for told in ((BOOK.size, count), (BOOK.levels, frames)))
    return Coded(codes, 44_100, 20_001, 0.7125, pitch)


@pytest.mark.parametrize("base", [1, 2, 16, 500, 512, 513, 65_536])
@pytest.mark.parametrize("count", [0, 1, 7, 255, 256, 257, 1000])
def test_packed_numbers_come_back_and_take_the_bits_they_have(base: int, count: int) -> None:
    """The largest and the smallest ones, too. At most a byte in 256 numbers is lost to rounding."""
    for values in (numbers(base, count), np.full(count, base - 1), np.zeros(count, np.int64)):
        packed = pack(values, base)
        assert packed.dtype == np.uint8 and np.array_equal(unpack(packed, base, count), values)
        assert ceil(count * log2(base) / 8 - 1e-9) <= len(packed) <= ceil(count * log2(base) / 8) + count // 256 + 1


def test_nine_bits_are_nine_bits() -> None:
    """512 codes: the original's 344.5 codes a second are 3,101 bits, as a string of digits says it."""
    values = numbers(512, 256)
    digits = "".join(f"{value:09b}" for value in values)
    assert len(pack(values, 512)) == 256 * 9 / 8
    assert int.from_bytes(pack(values, 512).tobytes(), "little") == int(digits, 2)


@pytest.mark.parametrize("values", [[5], [-1], [[0, 1]]])
def test_what_is_no_code_is_not_packed(values: list) -> None:
    with pytest.raises(ValueError, match="from 0 to 4"):
        pack(np.array(values), 5)


@pytest.mark.parametrize("name", ["codes.npz", "codes.vqc"])
@pytest.mark.parametrize("pitch", [True, False])
def test_a_recording_comes_back_as_it_was(tmp_path: Path, name: str, pitch: bool) -> None:
    book, given = (BOOK, coded()) if pitch else (replace(BOOK, levels=0), replace(coded(), pitch=None))
    size = codes_file.write(tmp_path / name, given, book)
    assert size == (tmp_path / name).stat().st_size
    again = codes_file.read(tmp_path / name, book, "x-encode")
    assert torch.equal(again.codes, given.codes) and again.codes.dtype == torch.int64
    assert torch.equal(again.pitch, given.pitch) if pitch else again.pitch is None
    assert (again.sample_rate, again.samples, again.gain) == (44_100, 20_001, 0.7125)


def test_the_small_kind_of_file_is_48_bytes_and_its_codes(tmp_path: Path) -> None:
    bits = 700 * log2(500) + 900 * log2(48)
    size = codes_file.write(tmp_path / "codes.vqc", coded(), BOOK)
    assert 48 + bits / 8 <= size < 48 + bits / 8 + 8
    assert codes_file.write(tmp_path / "codes.npz", coded(), BOOK) < size + 3000


@pytest.mark.parametrize("name", ["codes.npz", "codes.vqc"])
def test_codes_of_another_codebook_are_refused(tmp_path: Path, name: str) -> None:
    codes_file.write(tmp_path / name, coded(), BOOK)
    with pytest.raises(ValueError, match=r"codes\.\w+: its codes are of another codebook"):
        codes_file.read(tmp_path / name, replace(BOOK, fingerprint="f" * 16), "x-encode")
    with pytest.raises(ValueError, match="of 500 codes and 48 levels of pitch, this model has 500 and 0"):
        codes_file.read(tmp_path / name, replace(BOOK, levels=0), "x-encode")


def test_a_model_and_its_codes_agree_about_pitch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pitch beside codes of 48 levels"):
        codes_file.write(tmp_path / "codes.npz", replace(coded(), pitch=None), BOOK)
    with pytest.raises(ValueError, match="a pitch beside codes of 0 levels"):
        codes_file.write(tmp_path / "codes.npz", coded(), replace(BOOK, levels=0))
    with pytest.raises(ValueError, match=r"codes\.bin: codes are kept as \.npz or \.vqc"):
        codes_file.write(tmp_path / "codes.bin", coded(), BOOK)
    assert not list(tmp_path.iterdir())


def damages(content: bytes) -> dict[str, bytes]:
    """A .vqc cut, lengthened, and with numbers in its header that cannot be."""
    header = codes_file.HEADER.size

    def told(place: int, value: int) -> bytes:
        return content[: 4 + 4 * place] + struct.pack("<I", value) + content[8 + 4 * place :]

    return {
        "cut in its header": content[: header - 1],
        "cut in its codes": content[:-1],
        "longer": content + b"\0",
        "of more codes": told(0, 2**31),
        "of none": told(0, 0),
        "of no rate": told(4, 0),
        "beyond the last code": content[:header] + b"\xff" * (len(content) - header),
        "not finite": content[:28] + struct.pack("<d", float("nan")) + content[36:],
    }


@pytest.mark.parametrize("damage", damages(b"\0" * 100))
def test_damage_is_said(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "codes.vqc"
    codes_file.write(path, coded(), BOOK)
    path.write_bytes(damages(path.read_bytes())[damage])
    with pytest.raises(ValueError, match=r"codes\.vqc: (damaged|not a readable file of codes)"):
        codes_file.read(path, BOOK, "x-encode")


@pytest.mark.parametrize("content", ["text", "empty", "array", "pickle", "cut"])
def test_what_is_no_file_of_codes_is_said(tmp_path: Path, content: str) -> None:
    path = tmp_path / "codes.npz"
    codes_file.write(path, coded(), BOOK)
    whole = path.read_bytes()
    if content == "array":
        with path.open("wb") as file:
            np.save(file, np.zeros(3))
    elif content == "pickle":
        np.savez(path, codes=np.array([{}], dtype=object))
    else:
        path.write_bytes({"text": b"codes", "empty": b"", "cut": whole[:-30]}[content])
    with pytest.raises(ValueError, match=r"codes\.npz: not a readable file of codes; expected what x-encode writes"):
        codes_file.read(path, BOOK, "x-encode")
    np.savez(path, codes=np.zeros(3, np.uint8))
    with pytest.raises(ValueError, match=r"codes\.npz: holds no count; expected what x-encode writes"):
        codes_file.read(path, BOOK, "x-encode")


@pytest.mark.parametrize("kind", ["ema", "sphere", "softem", "fsq"])
def test_a_book_survives_half_precision_and_nothing_else(kind: str) -> None:
    """A shipped voice is rounded to fp16 and reads the codes of the run it came from; another model does not."""
    sizes = {"levels": (4, 4)} if kind == "fsq" else {"size": 16}
    config = QuantizerConfig(kind=kind, dim=8, **sizes)
    one, other = (quantizer(config).eval() for _ in range(2))
    with torch.no_grad():
        for layer in (one, other):
            for name, tensor in layer.state_dict().items():
                if name == "codebook":
                    tensor.copy_(torch.randn(tensor.shape) / 3)
    book = codes_file.book(one, levels=7)
    assert (book.size, book.levels, len(book.fingerprint)) == (one.size, 7, 16)
    one.load_state_dict({n: t.half().to(t.dtype) if t.is_floating_point() else t for n, t in one.state_dict().items()})
    assert codes_file.book(one, 7) == book
    assert codes_file.book(other).fingerprint != book.fingerprint
