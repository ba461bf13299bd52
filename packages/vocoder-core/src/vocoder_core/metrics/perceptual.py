"""Models of perceived quality and intelligibility from packages of the extra [eval]: PESQ-WB, ESTOI, ViSQOL.

Each takes aligned waves (T,) of one rate, resamples as its model asks, and returns NaN where the model cannot judge:
a clip too short for it, or one without speech.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from typing import Any

import numpy as np

RATE = 16_000  # Hz, of PESQ-WB and of ViSQOL's speech mode
VISQOL_SECONDS = 1.0  # below, ViSQOL's patches do not fit


def pesq_wb(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2), MOS-LQO from 1.04 to 4.64; band above 7 kHz ignored, levels equalised."""
    import pesq

    ref, gen = _at_16k(reference, generated, sample_rate)
    if not ref.any():
        return float("nan")
    try:
        return float(pesq.pesq(RATE, ref, gen, "wb"))
    except (pesq.BufferTooShortError, pesq.NoUtterancesError):
        return float("nan")


def estoi(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Extended short-time objective intelligibility (Jensen & Taal 2016), at most 1; band below 4.3 kHz only."""
    from pystoi import stoi

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        value = float(stoi(reference, generated, sample_rate, extended=True))
    too_short = any("Not enough STFT frames" in str(warning.message) for warning in caught)
    return float("nan") if too_short else value


def visqol(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """ViSQOL v3 (Chinen et al. 2020) in speech mode with the lattice mapping: MOS-LQO from 1 to 5."""
    ref, gen = _at_16k(reference, generated, sample_rate)
    if len(ref) < VISQOL_SECONDS * RATE or not ref.any():
        return float("nan")
    try:
        return float(_visqol_model().measure_from_arrays(ref.astype(np.float64), gen.astype(np.float64), RATE).moslqo)
    except IndexError:  # its patches found no place in the active part
        return float("nan")


@lru_cache(maxsize=1)
def _visqol_model() -> Any:
    from visqol import VisqolApi

    model = VisqolApi()
    model.create(mode="speech", use_lattice_model=True)  # True: an error, not a worse mapping, where litert is missing
    return model


def _at_16k(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    from vocoder_core.audio import resample

    return resample(reference, sample_rate, RATE), resample(generated, sample_rate, RATE)
