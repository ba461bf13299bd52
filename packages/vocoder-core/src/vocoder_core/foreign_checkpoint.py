"""Reading a checkpoint of another project: the tensors and plain values in it, and nothing else.

A checkpoint is a pickle, and a pickle can name any function to be called. This one is read by torch's weights-only
unpickler. Classes of the libraries such files are known to mention (Lightning's, mostly) are read as `Inert`, never
imported; a file that names anything else is refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

HARMLESS = (
    "pytorch_lightning.", "lightning.", "lightning_fabric.", "omegaconf.", "numpy.", "pathlib.", "argparse.",
    "collections.", "typing.",
)  # fmt: skip
DICTS = (".AttributeDict", ".AttrDict")  # they hold hyper-parameters: a dict does as well


class Inert:
    """Stands where a checkpoint names a class or function that is not needed: takes anything, and does nothing."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, _: Any) -> None:
        pass


def read(path: Path, expected: str, harmless: tuple[str, ...] = ()) -> dict[Any, Any]:
    """The tree of tensors and plain values in a checkpoint file; nothing in it is imported or called.

    expected: what the message of a missing file asks for. harmless: modules ("project.") the file may name besides
    the usual ones. Raises FileNotFoundError, or ValueError for a damaged file or one that names other code.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected {expected}")
    try:
        tree = _load(path, (*HARMLESS, *harmless))
    except ForeignCode as error:
        raise ValueError(
            f"{path}: names {error}, which no vocoder's weights need; refused, nothing in it was run"
        ) from None
    except Exception as error:  # bytes made to be hostile may raise anything
        reason = " ".join(str(error).split())[:150]
        raise ValueError(
            f"{path}: not a checkpoint that can be read safely ({reason}); nothing in it was run"
        ) from None
    if not isinstance(tree, dict):
        raise ValueError(f"{path}: holds a {type(tree).__name__}; expected a dict of tensors")
    return tree


class ForeignCode(Exception):
    """A name of something that is not needed to read weights."""


def _load(path: Path, harmless: tuple[str, ...]) -> Any:
    """What is in the file. Raises ForeignCode, or whatever torch raises."""
    import torch
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    try:
        named = get_unsafe_globals_in_checkpoint(path)
    except Exception:  # a file older than torch 1.6 (or none at all) says at each try the next name that it needs
        named = []
    while True:
        for name in named:
            if not name.startswith(harmless):
                raise ForeignCode(name)
        read_as: list[Any] = [(dict if name.endswith(DICTS) else Inert, name) for name in named]
        try:
            with safe_globals(read_as):
                return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            found = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
            if found is None or found[1] in named:
                raise
            named = [*named, found[1]]
