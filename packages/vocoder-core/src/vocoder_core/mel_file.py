"""Mel spectrograms in files, and the refusal of those that another front end made: they would come out as noise.

mel.npz   `mel` (M, F) beside the fields of its MelConfig by name: what `write` makes; the fields are compared
mel.npy   (M, F) alone: only its shape and its range can be compared
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .config import to_dict
from .mel import MelConfig, loudest_level, silence_level

SUFFIXES = (".npy", ".npz")


def write(path: str | Path, mel: Tensor, config: MelConfig) -> None:
    """Write a mel (M, F) and the front end that made it, as .npz."""
    arrays: dict[str, Any] = {"mel": mel.detach().cpu().numpy(), **_fields(config)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def read(path: str | Path, config: MelConfig) -> Tensor:
    """The mel (M, F) in a file, float32, on the CPU; (1, M, F) is taken as (M, F).

    Raises ValueError when it is not one, or not one of this front end, naming the field that differs; OSError.
    """
    path = Path(path)
    values, fields = _arrays(path)
    wanted = _fields(config)
    for name, value in fields.items():
        if name not in wanted:
            raise ValueError(f"{path}: holds {name}, which is no field of a front end; expected some of {[*wanted]}")
        if value != wanted[name]:
            raise ValueError(f"{path}: its mel has {name} = {value}, this model reads {name} = {wanted[name]}")
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]
    _check_shape(path, values, config)
    _check_range(path, values, config)
    return torch.from_numpy(values.astype(np.float32))


def _fields(config: MelConfig) -> dict[str, Any]:
    """Its fields as text and numbers."""
    return {name: "null" if value is None else value for name, value in to_dict(config).items()}


def _arrays(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The mel, and what else the file says about it."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content, {}
        with content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, EOFError):
        raise ValueError(f"{path}: not a readable {path.suffix} array of numbers") from None
    if "mel" not in arrays:
        raise ValueError(f"{path}: holds {[*arrays]}; expected `mel`, and the fields of its front end beside it")
    mel = arrays.pop("mel")
    return mel, {name: value.item() if value.ndim == 0 else value.tolist() for name, value in arrays.items()}


def _check_shape(path: Path, values: np.ndarray, config: MelConfig) -> None:
    bands = config.n_mels
    if values.ndim != 2 or values.shape[0] != bands or values.dtype.kind != "f":
        hint = "; transpose it" if values.ndim == 2 and values.shape[1] == bands else ""
        given = f"{values.dtype} array of shape {values.shape}"
        raise ValueError(f"{path}: {given}; expected float ({bands}, frames){hint}")
    if not values.size:
        raise ValueError(f"{path}: the mel has no frames; expected at least one")


def _check_range(path: Path, values: np.ndarray, config: MelConfig) -> None:
    low, high = float(values.min()), float(values.max())
    floor, ceiling = silence_level(config), loudest_level(config)
    if not (floor - 0.01 <= low and high <= ceiling):  # NaN fails this too
        normalised = f"({config.log} of {config.n_mels} bands - {config.offset:g}) / {config.scale:g}"
        raise ValueError(
            f"{path}: values from {low:.3g} to {high:.3g}; this model's mels lie between {floor:.4g} and {ceiling:.3g}:"
            f" {normalised}. Another front end made this one; see `vocoder_core.mel.log_mel` and the checkpoint's "
            "config.yaml"
        )
