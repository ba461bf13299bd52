"""Vectors of speakers in files: an .npz of names and vectors and where they come from, or arrays NAME.npy.

speakers.npz   names (S,)  vectors (S, D) float32  seconds: asked for  heard (S,): of each  provider  fingerprint
NAME.npy       (D,) of one speaker; a folder of them is read in the order of the names
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocoder_core.utterance import natural_key


@dataclass(frozen=True)
class Vectors:
    """Vectors of some speakers, and what computed them."""

    names: tuple[str, ...]
    values: np.ndarray  # (S, D) float32
    provider: str
    fingerprint: str  # sha256 of the weights
    seconds: float  # of speech that were asked for
    heard: tuple[float, ...] = ()  # seconds of speech of each, which may be fewer

    def of(self, names: tuple[str, ...]) -> np.ndarray:
        """(len(names), D). Raises ValueError for a name that is not there."""
        places = {name: place for place, name in enumerate(self.names)}
        missing = [name for name in names if name not in places]
        if missing:
            raise ValueError(
                f"there is no speaker vector of {missing[0]!r} ({len(missing)} of {len(names)} missing); vectors of "
                f"{self.provider} are here for {', '.join(self.names[:8]) or 'nobody'}: make them of all speakers"
            )
        return self.values[[places[name] for name in names]]


def write(path: str | Path, vectors: Vectors) -> None:
    """Write an .npz; it appears whole or not at all."""
    from vocoder_core.corpus.block import replacing

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        "names": np.array(vectors.names, dtype=np.str_), "vectors": vectors.values.astype(np.float32),
        "seconds": np.float64(vectors.seconds), "heard": np.array(vectors.heard, np.float64),
        "provider": np.str_(vectors.provider), "fingerprint": np.str_(vectors.fingerprint),
    }  # fmt: skip
    with replacing(path) as file:
        np.savez(file, **arrays)


def read(path: str | Path) -> Vectors:
    """The vectors in an .npz, a NAME.npy or a folder of them.

    Raises FileNotFoundError, or ValueError for a file that holds no such thing.
    """
    path = Path(path)
    if path.is_dir():
        return _folder(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of speaker vectors: make it with samplernn-pase-embed")
    if path.suffix == ".npy":
        return _of_arrays({path.stem: path})
    arrays = _arrays(path)
    missing = [name for name in ("names", "vectors") if name not in arrays]
    if missing:
        raise ValueError(f"{path}: holds {[*arrays]}, no {missing[0]}; expected what samplernn-pase-embed writes")
    names, values = tuple(str(name) for name in arrays["names"].ravel()), arrays["vectors"]
    _check(path, names, values)
    values = values.astype(np.float32)
    return Vectors(
        names, values, str(arrays.get("provider", "file")), str(arrays.get("fingerprint", _digest(names, values))),
        float(arrays.get("seconds", 0.0)), tuple(float(s) for s in arrays.get("heard", np.zeros(0)).ravel()),
    )  # fmt: skip


def _folder(path: Path) -> Vectors:
    files = {file.stem: file for file in sorted(path.glob("*.npy"), key=lambda file: natural_key(file.stem))}
    if not files:
        raise FileNotFoundError(f"{path}: the folder has no NAME.npy; expected a vector in a file for each speaker")
    return _of_arrays(files)


def _of_arrays(files: dict[str, Path]) -> Vectors:
    rows: list[np.ndarray] = []
    for name, file in files.items():
        row = _load(file)
        row = row[0] if isinstance(row, np.ndarray) and row.ndim == 2 and len(row) == 1 else row
        if not isinstance(row, np.ndarray) or row.ndim != 1 or (rows and row.shape != rows[0].shape):
            shape = row.shape if isinstance(row, np.ndarray) else "several arrays"
            raise ValueError(f"{file}: {shape} instead of one vector ({rows[0].shape if rows else '(D,)'})")
        _check(file, (name,), row[None])
        rows.append(row.astype(np.float32))
    names, values = tuple(files), np.stack(rows)
    return Vectors(names, values, "file", _digest(names, values), 0.0)


def _load(path: Path) -> Any:
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError):
        raise ValueError(f"{path}: not a readable {path.suffix} array of numbers") from None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    content = _load(path)
    if isinstance(content, np.ndarray):
        raise ValueError(f"{path}: an array without names; expected an .npz with names and vectors, or NAME.npy")
    try:
        with content:
            return {name: content[name] for name in content.files}
    except Exception:  # a damaged archive may raise anything
        raise ValueError(f"{path}: damaged; expected what samplernn-pase-embed writes") from None


def _check(path: Path, names: tuple[str, ...], values: np.ndarray) -> None:
    if values.ndim != 2 or values.dtype.kind != "f" or len(values) != len(names) or not len(names):
        given = f"{len(names)} names and vectors of {values.dtype} {values.shape}"
        raise ValueError(f"{path}: {given}; expected float vectors (S, D) of S speakers")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{path}: the speaker {twice!r} has two vectors; expected one for each")
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: holds NaN or infinite numbers; expected finite ones")


def _digest(names: tuple[str, ...], values: np.ndarray) -> str:
    """A fingerprint of vectors of which nobody says what computed them."""
    return hashlib.sha256("\n".join(names).encode() + values.astype("<f4").tobytes()).hexdigest()
