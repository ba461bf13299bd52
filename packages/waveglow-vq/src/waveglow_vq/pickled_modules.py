"""Reading checkpoints that hold whole networks as pickled objects, without the code those objects were made by.

NVIDIA's WaveGlow saved `{"model": the network itself, ...}`. torch's weights-only loader, and with it
vocoder_core.foreign_checkpoint, refuses such files where they are older than torch 1.6. Here Python's unpickler reads
them with every name in the file resolved by us: tensors and plain values are built by the few functions below, any
class becomes a `Bag` that keeps the object's attributes and does nothing, and what the file wants called beyond that
is refused. No name in a file is ever imported.

    archive/data.pkl + archive/data/KEY                 torch 1.6 and newer: a zip, one entry per storage
    magic, protocol, system, tree, keys | storages      older: pickles one after another, then the storages
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from vocoder_core.foreign_checkpoint import HARMLESS

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
STORAGES = {
    "DoubleStorage": torch.float64, "FloatStorage": torch.float32, "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16, "LongStorage": torch.int64, "IntStorage": torch.int32,
    "ShortStorage": torch.int16, "CharStorage": torch.int8, "ByteStorage": torch.uint8, "BoolStorage": torch.bool,
}  # fmt: skip


def read(path: Path, expected: str) -> Any:
    """What a checkpoint file holds: dicts, lists, plain values, tensors on the CPU, and a Bag for any other object.

    expected: what the message of a missing file asks for. Raises FileNotFoundError, or ValueError for a file that is
    damaged, of another kind, or wants a function called.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {expected}")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                return _read_zip(archive)
        with path.open("rb") as file:
            return _read_legacy(file, path.stat().st_size)
    except Exception as error:  # bytes made to be hostile may raise anything
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path}: not a checkpoint that can be read safely ({reason}); nothing in it was run"
        ) from None


class _Named(type):
    """Type of the classes that a file names: objects are made of them, they are not called."""

    origin: str

    def __call__(cls, *_: Any, **__: Any) -> Any:
        if cls.origin.startswith(HARMLESS):
            return Bag.__new__(cls)  # type: ignore[arg-type]
        raise ValueError(f"it asks for a call of {cls.origin}, which no vocoder's weights need; refused")


class Bag(metaclass=_Named):
    """Any object in a checkpoint: `origin`, the name of its class there, and `attributes`; it does nothing."""

    origin = ""
    attributes: dict[str, Any]

    def __new__(cls, *_: Any, **__: Any) -> Bag:
        """An empty one, whatever the arguments."""
        bag = object.__new__(cls)
        bag.attributes = {}
        return bag

    def __setstate__(self, state: Any) -> None:
        """Keep what the object kept."""
        self.attributes = state if isinstance(state, dict) else {}


def state_dict(module: Bag) -> dict[str, Tensor]:
    """Parameters and buffers of a pickled torch module by their dotted names, as its own state_dict would give them."""
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, Any, int]] = [("", module, 0)]
    while waiting:
        prefix, bag, depth = waiting.pop(0)
        if not isinstance(bag, Bag) or depth > 20:  # None, or an object made to hold itself
            continue
        for group in ("_parameters", "_buffers"):
            members = bag.attributes.get(group)
            found |= {f"{prefix}{k}": v for k, v in _items(members) if isinstance(v, Tensor)}
        waiting += [(f"{prefix}{k}.", child, depth + 1) for k, child in _items(bag.attributes.get("_modules"))]
    return found


def _items(members: Any) -> list[tuple[Any, Any]]:
    return list(members.items()) if isinstance(members, dict) else []


# ---- the two kinds of file


def _read_zip(archive: zipfile.ZipFile) -> Any:
    names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(names) != 1:
        raise ValueError("a zip without one data.pkl")
    folder = names[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
        raise ValueError("its numbers are big-endian")

    with archive.open(names[0]) as file:
        unpickler = _Unpickler(file, archive.start_dir)
        tree = unpickler.load()
    for key, storage in unpickler.storages.items():
        with archive.open(f"{folder}data/{key}") as file:
            _fill(storage, file)
    return tree


def _read_legacy(file: BinaryIO, size: int) -> Any:
    if _Unpickler(file, 0).load() != LEGACY_MAGIC or _Unpickler(file, 0).load() != LEGACY_PROTOCOL:
        raise ValueError("not what torch.save writes")
    if not _Unpickler(file, 0).load().get("little_endian"):
        raise ValueError("its numbers are big-endian")
    unpickler = _Unpickler(file, size)
    tree = unpickler.load()
    for key in _Unpickler(file, 0).load():
        storage = unpickler.storages[str(key)]
        if int.from_bytes(file.read(8), "little") != storage.numel():
            raise ValueError("a storage of another size than announced")
        _fill(storage, file)
    return tree


def _fill(storage: Tensor, file: Any) -> None:
    wanted = storage.view(torch.uint8).numpy()
    if len(wanted) and file.readinto(wanted) != len(wanted):
        raise ValueError("the file ends early")


# ---- the unpickler


class _Unpickler(pickle.Unpickler):
    """Python's, with nothing to find but what stands here. Storages are made empty, to be filled afterwards."""

    def __init__(self, file: Any, size: int) -> None:
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, Tensor] = {}
        self._left = size  # bytes of storage that a file of this size can fill

    def find_class(self, module: str, name: str) -> Any:
        origin = f"{module}.{name}"
        if module in ("torch", "torch.cuda", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        if origin in BUILDERS:
            return BUILDERS[origin]
        return _Named(name, (Bag,), {"origin": origin})

    def persistent_load(self, pid: Any) -> Any:
        kind, *rest = pid
        if kind == "module":  # torch < 1.6 stored the source beside each class of a module
            return rest[0]
        if kind != "storage" or not isinstance(rest[0], torch.dtype):
            raise ValueError(f"storage of an unknown kind {str(rest[:1])[:60]}")
        dtype, key, numel = rest[0], str(rest[1]), int(rest[3])
        if key not in self.storages:
            self._left -= numel * dtype.itemsize
            if numel < 0 or self._left < 0:
                raise ValueError("it announces more numbers than the file has room for")
            self.storages[key] = torch.zeros(numel, dtype=dtype)
        if len(rest) > 4 and rest[4] is not None:  # a view of a storage: (key, offset, numel)
            _, offset, length = rest[4]
            return self.storages[key][offset : offset + length]
        return self.storages[key]


class _Builder:
    """A function that a file may have called; a file can change nothing about it."""

    __slots__ = ("_build",)
    _build: Any

    def __init__(self, build: Any) -> None:
        object.__setattr__(self, "_build", build)

    def __setattr__(self, *_: Any) -> None:
        raise ValueError("it would change the reader")

    def __call__(self, *arguments: Any) -> Any:
        return self._build(*arguments)


def _tensor(storage: Tensor, offset: int, size: Any, stride: Any, *_: Any) -> Tensor:
    if prod(size) > storage.numel():
        raise ValueError("a tensor larger than what it stores")
    return storage.as_strided(tuple(size), tuple(stride), storage.storage_offset() + offset)


BUILDERS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch._utils._rebuild_tensor": _Builder(_tensor),
    "torch._utils._rebuild_tensor_v2": _Builder(_tensor),
    "torch._utils._rebuild_parameter": _Builder(lambda data, *_: data),
    "torch._utils._rebuild_parameter_with_state": _Builder(lambda data, *_: data),
    "torch.Size": _Builder(lambda sizes=(): tuple(sizes)),
    "torch.device": _Builder(lambda *_: None),
    "builtins.set": _Builder(lambda items=(): set(items)),
    "__builtin__.set": _Builder(lambda items=(): set(items)),
}
