"""Mel spectrograms in files, and the refusal of those that another front end made: they would come out as noise.

mel.npz   `mel` (M, F) beside the fields of its MelConfig by name: what `write` makes; the fields are compared
mel.npy   (M, F) alone: only its shape and its range can be compared
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import to_dict
from .mel import MelConfig, loudest_level, silence_level
from .streaming.pieces import portions

SUFFIXES = (".npy", ".npz")
LOOKED_AT = 2048  # frames at a time


def write(path: str | Path, mel: Tensor, config: MelConfig) -> None:
    """Write a mel (M, F) and the front end that made it, as .npz."""
    arrays: dict[str, Any] = {"mel": mel.detach().cpu().numpy(), **_fields(config)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def read(path: str | Path, config: MelConfig) -> Tensor:
    """The mel (M, F) in a file, float32, on the CPU; (1, M, F) is taken as (M, F).

    Raises ValueError when it is not one, or not one of this front end, naming the field that differs; OSError.
    """
    mel = MelFile(path, config)
    return mel.cut(0, mel.frames)


class MelFile:
    """The same, read where it is asked for (streaming.pieces.Source): an hour of it takes no more memory than a minute.

    Compressed .npz are held, they cannot be read anywhere.
    """

    def __init__(self, path: str | Path, config: MelConfig) -> None:
        """Raises as `read` does."""
        self.path = Path(path)
        values, fields = _arrays(self.path)
        wanted = _fields(config)
        for name, value in fields.items():
            if name not in wanted:
                raise ValueError(
                    f"{path}: holds {name}, which is no field of a front end; expected some of {[*wanted]}"
                )
            if value != wanted[name]:
                raise ValueError(f"{path}: its mel has {name} = {value}, this model reads {name} = {wanted[name]}")
        values = _two_axes(values)
        _check_shape(self.path, values, config)
        self.frames, self._values = values.shape[1], values
        lows, highs = zip(*((part.min(), part.max()) for part in portions(self, LOOKED_AT)))
        _check_range(self.path, float(torch.stack(lows).min()), float(torch.stack(highs).max()), config)

    def cut(self, first: int, last: int) -> Tensor:
        """Frames first ... last - 1, (M, last - first)."""
        values = self._values
        if not isinstance(values, np.memmap):
            return torch.from_numpy(np.array(values[:, first:last], np.float32))
        made, by_rows = np.empty((len(values), last - first), np.float32), values.flags.c_contiguous
        with open(self.path, "rb") as file:  # read, not mapped: pages that a process maps count as its memory
            for i in range(len(made)) if by_rows else range(last - first):
                at = i * self.frames + first if by_rows else (first + i) * len(made)
                file.seek(values.offset + at * values.dtype.itemsize)
                (made if by_rows else made.T)[i] = np.fromfile(
                    file, values.dtype, last - first if by_rows else len(made)
                )
        return torch.from_numpy(made)


def _fields(config: MelConfig) -> dict[str, Any]:
    """Its fields as text and numbers."""
    return {name: "null" if value is None else value for name, value in to_dict(config).items()}


def _arrays(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The mel, mapped from the file where that can be, and what else the file says about it."""
    try:
        content = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, {}
        with content:
            arrays = {name: content[name] for name in content.files if name != "mel"}
            if "mel" not in content.files:
                raise KeyError(f"{path}: holds {[*arrays]}; expected `mel`, and the fields of its front end beside it")
            mel = _mapped(path)
            mel = content["mel"] if mel is None else mel
    except KeyError as error:
        raise ValueError(error.args[0]) from None
    except (ValueError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path}: not a readable {path.suffix} array of numbers") from None
    return mel, {name: value.item() if value.ndim == 0 else value.tolist() for name, value in arrays.items()}


def _mapped(path: Path) -> np.ndarray | None:
    """`mel` in an .npz, mapped; None where it is compressed."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo("mel.npy")
    if entry.compress_type != zipfile.ZIP_STORED:
        return None
    with open(path, "rb") as file:
        file.seek(entry.header_offset)
        head = file.read(30)  # of a local file: its name's length at 26, that of what follows at 28
        file.seek(int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little"), 1)
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, by_columns, dtype = header(file)
        if dtype.hasobject or not np.prod(shape):
            return None
        return np.memmap(path, dtype, "r", file.tell(), shape, "F" if by_columns else "C")


def _two_axes(values: np.ndarray) -> np.ndarray:
    return values[0] if values.ndim == 3 and values.shape[0] == 1 else values


def _check_shape(path: Path, values: np.ndarray, config: MelConfig) -> None:
    bands = config.n_mels
    if values.ndim != 2 or values.shape[0] != bands or values.dtype.kind != "f":
        hint = "; transpose it" if values.ndim == 2 and values.shape[1] == bands else ""
        given = f"{values.dtype} array of shape {values.shape}"
        raise ValueError(f"{path}: {given}; expected float ({bands}, frames){hint}")
    if not values.size:
        raise ValueError(f"{path}: the mel has no frames; expected at least one")


def _check_range(path: Path, low: float, high: float, config: MelConfig) -> None:
    floor, ceiling = silence_level(config), loudest_level(config)
    if not (floor - 0.01 <= low and high <= ceiling):  # NaN fails this too
        normalised = f"({config.log} of {config.n_mels} bands - {config.offset:g}) / {config.scale:g}"
        raise ValueError(
            f"{path}: values from {low:.3g} to {high:.3g}; this model's mels lie between {floor:.4g} and {ceiling:.3g}:"
            f" {normalised}. Another front end made this one; see `vocoder_core.mel.log_mel` and the checkpoint's "
            "config.yaml"
        )
