"""One pass over a spectrum instead of eight: what an iteration of `settle.settled` does to it, on a CPU.

Compiled by numba at the first use, then kept on disk. `settle.aimed` is the same in torch, and the test's reference.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

FLOATS = np.ndarray[Any, Any]


@numba.njit(cache=True, fastmath=True, nogil=True)
def aim_at(spectrum: FLOATS, last: FLOATS, magnitude: FLOATS, momentum: float) -> None:
    """In place: spectrum (2n,) becomes what lies `momentum` ahead of it, at the magnitude (n,); last (2n,) what it was.

    Complex numbers lie as re, im, re, im ... All three are of one float type.
    """
    for i in range(magnitude.shape[0]):
        re, im = spectrum[2 * i], spectrum[2 * i + 1]
        ahead_re = re + momentum * (re - last[2 * i])
        ahead_im = im + momentum * (im - last[2 * i + 1])
        gain = magnitude[i] / np.sqrt(ahead_re * ahead_re + ahead_im * ahead_im + 1e-18)
        last[2 * i], last[2 * i + 1] = re, im
        spectrum[2 * i], spectrum[2 * i + 1] = ahead_re * gain, ahead_im * gain
