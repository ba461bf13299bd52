"""Ahocoder's files: NAME.cc, NAME.fv and NAME.lf0, raw float32 without a header, as the original's data set holds them.

    .cc    (F, 40) mel-cepstra, order 39          .fv    (F,) maximum voiced frequency in Hz, 1000 where unvoiced
    .lf0   (F,) ln F0, -1e10 where unvoiced       every 5 ms at 16 kHz

In memory they have the layout of world43.py, with ln fv in place of the aperiodicity; fv and lf0 are straight between
voiced frames. Erro et al. 2011 made the vocoder, `ahoproc_tools` of Santiago Pascual the interpolation. Two of its
quirks are not kept: the last voiced frame before a gap was marked unvoiced, and a recording without any voice kept
-1e10 as its pitch, which exploded; here it is undefined, NaN.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .world43 import BAP, LF0, ORDER, VUV, WIDTH, interpolated

SUFFIXES = (".cc", ".fv", ".lf0")
UNVOICED, UNVOICED_HZ = -1e10, 1000.0
LEAST_HZ = 10.0  # a pitch or a frequency below is none


def read(stem: str | Path) -> np.ndarray:
    """(F, 43) float32 of STEM.cc, STEM.fv and STEM.lf0.

    Raises FileNotFoundError, or ValueError for a file that is empty, not finite, or not as long as the others.
    """
    cc, fv, lf0 = (_read(Path(f"{stem}{suffix}")) for suffix in SUFFIXES)
    frames = len(lf0)
    if cc.size != frames * (ORDER + 1) or fv.size != frames:
        raise ValueError(
            f"{stem}: .cc holds {cc.size} numbers, .fv {fv.size}, .lf0 {frames}; expected {ORDER + 1} F, F and F"
        )
    if (fv < LEAST_HZ).any():
        raise ValueError(f"{stem}.fv: holds {fv.min():g}; expected frequencies in Hz, {UNVOICED_HZ:g} where unvoiced")
    pitch, voiced = interpolated(np.where(lf0 > np.log(LEAST_HZ), lf0, np.nan))
    highest, _ = interpolated(np.where(fv > UNVOICED_HZ, fv, np.nan))
    return np.column_stack([cc.reshape(frames, ORDER + 1), np.log(highest), pitch, voiced]).astype(np.float32)


def write(stem: str | Path, content: np.ndarray) -> None:
    """Write such features (F, 43) as the three files. Raises ValueError where they hold no ln fv, as WORLD's."""
    if np.ndim(content) != 2 or content.shape[1] != WIDTH:
        raise ValueError(f"{stem}: features of shape {np.shape(content)}; expected (F, {WIDTH})")
    voiced = content[:, VUV] > 0.5
    fv = np.where(voiced, np.exp(np.asarray(content[:, BAP], np.float64)), UNVOICED_HZ)
    if not (fv >= LEAST_HZ).all():
        raise ValueError(f"{stem}: field {BAP} is no ln of a frequency in Hz: WORLD's aperiodicity is not Ahocoder's")
    columns = (content[:, : ORDER + 1], fv, np.where(voiced, np.nan_to_num(content[:, LF0]), UNVOICED))
    for suffix, values in zip(SUFFIXES, columns):
        np.ascontiguousarray(values, "<f4").tofile(f"{stem}{suffix}")


def _read(path: Path) -> np.ndarray:
    """All numbers of a file (N,) float64."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected {', '.join(SUFFIXES)} of one recording") from None
    if not data or len(data) % 4:
        raise ValueError(f"{path}: {len(data)} bytes; expected float32 numbers, 4 bytes each")
    values = np.frombuffer(data, "<f4").astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{path}: holds {np.count_nonzero(~np.isfinite(values))} numbers that are not finite")
    return values
