"""world43: 43 numbers for every 5 ms of speech at 16 kHz, the paper's acoustic content by WORLD; and speech of them.

    0 ... 39  mel-cepstrum, order 39, alpha 0.42, of CheapTrick's envelope, in ln amplitude        cc
    40        aperiodicity in dB, of the one band that WORLD codes at 16 kHz; 0: all noise         bap
    41        ln F0 (Harvest), straight between voiced frames; NaN where nothing is voiced         lf0
    42        1 voiced, 0 unvoiced                                                                 vuv

Álvarez et al. 2019 (arXiv 1906.00733) read Ahocoder's 43, made by a closed program, with the maximum voiced frequency
in place of 40 (ahocoder.py reads such files). WORLD: Morise et al. 2016. The mel-cepstrum is that of SPTK's sp2mc,
Tokuda et al. 1994: log |H(w)| = sum_m cc[m] cos(m w'), where all-pass alpha bends w into w'. Frame j is analysed in the
middle of samples [80 j, 80 (j + 1)). Needs pyworld: the extra [world].
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import numpy as np

WIDTH, ORDER, BAP, LF0, VUV = 43, 39, 40, 41, 42
ALPHA = 0.42
RATE, HOP, FRAME_MS = 16_000, 80, 5.0
LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0  # of F0, as the core's own tracker
N_FFT = 1024  # CheapTrick's for 60 Hz
QUIETEST = 1e-11  # of the power: less than rounding to 16 bits leaves


@dataclass(frozen=True)
class WorldConfig:
    """How F0 is found: Harvest, or DIO and StoneMask, ten times as fast and with more octave errors."""

    f0: Literal["harvest", "dio"] = "harvest"


def analyse(wav: np.ndarray, config: WorldConfig = WorldConfig()) -> np.ndarray:
    """(F, 43) float32 of a wave (T,) at 16 kHz in [-1, 1], F = T // 80. Raises ValueError without pyworld."""
    if np.ndim(wav) != 1 or not np.issubdtype(np.asarray(wav).dtype, np.floating):
        raise ValueError(f"world43 got a {np.asarray(wav).dtype} wave of shape {np.shape(wav)}; expected float (T,)")
    frames = len(wav) // HOP
    if not frames:
        return np.zeros((0, WIDTH), np.float32)
    world = _pyworld()
    samples = np.ascontiguousarray(wav[: frames * HOP][HOP // 2 :], np.float64)  # sample 0 is frame 0's middle
    bounds = {"f0_floor": LOWEST_HZ, "f0_ceil": HIGHEST_HZ, "frame_period": FRAME_MS}
    if config.f0 == "harvest":
        f0, times = world.harvest(samples, RATE, **bounds)
    else:
        f0, times = world.dio(samples, RATE, **bounds)
        f0 = world.stonemask(samples, f0, times, RATE)
    envelope = world.cheaptrick(samples, f0, times, RATE, f0_floor=LOWEST_HZ, fft_size=N_FFT)
    bap = world.code_aperiodicity(world.d4c(samples, f0, times, RATE, fft_size=N_FFT), RATE)
    lf0, voiced = interpolated(np.where(f0 > 0, np.log(np.maximum(f0, 1.0)), np.nan))
    return np.column_stack([mel_cepstrum(envelope), bap, lf0, voiced]).astype(np.float32)


def synthesise(content: np.ndarray) -> np.ndarray:
    """The wave (F * 80,) float32 in [-1, 1] of content (F, 43), by WORLD. Raises ValueError for another shape."""
    if np.ndim(content) != 2 or content.shape[1] != WIDTH:
        raise ValueError(f"world43 got content of shape {np.shape(content)}; expected (F, {WIDTH})")
    if not len(content):
        return np.zeros(0, np.float32)
    world = _pyworld()
    rows = np.asarray(content, np.float64)[
        [0, *range(len(content))]
    ]  # one more, before: WORLD's first lies on sample 0
    voiced = (rows[:, VUV] > 0.5) & np.isfinite(rows[:, LF0])
    f0 = np.where(voiced, np.exp(np.where(voiced, rows[:, LF0], 0.0)), 0.0)
    bap = np.ascontiguousarray(np.minimum(rows[:, BAP : BAP + 1], 0.0))
    aperiodicity = world.decode_aperiodicity(bap, RATE, N_FFT)
    wav = world.synthesize(f0, envelope_of(rows[:, : ORDER + 1]), aperiodicity, RATE, FRAME_MS)
    wav = wav[HOP // 2 :][: len(content) * HOP]
    return np.clip(wav, -1, 1).astype(np.float32)


def interpolated(lf0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """ln F0 (F,), NaN where unvoiced -> the same, straight across gaps, level beyond the ends; and voiced (F,), 0 or 1.

    Without a voiced frame NaN stays: there is no pitch, and any number would be taken for one.
    """
    voiced = np.isfinite(lf0)
    if not voiced.any():
        return np.full(len(lf0), np.nan), np.zeros(len(lf0))
    places = np.arange(len(lf0))
    return np.interp(places, places[voiced], lf0[voiced]), voiced.astype(np.float64)


def mel_cepstrum(power: np.ndarray) -> np.ndarray:
    """(F, 40) of power spectra (F, n_fft / 2 + 1)."""
    cepstrum = np.fft.irfft(np.log(np.maximum(power, QUIETEST)))[:, : power.shape[1]]
    cepstrum[:, [0, -1]] /= 2  # of ln amplitude, folded: the others stand for themselves and their mirror image
    return cepstrum @ freqt_matrix(power.shape[1] - 1, ORDER, ALPHA).T


def envelope_of(cepstrum: np.ndarray, n_fft: int = N_FFT) -> np.ndarray:
    """Power spectra (F, n_fft / 2 + 1), C-contiguous, of mel-cepstra (F, order + 1): the closed form."""
    w = 2 * np.pi * np.arange(n_fft // 2 + 1) / n_fft
    bent = w + 2 * np.arctan2(ALPHA * np.sin(w), 1 - ALPHA * np.cos(w))
    waves = np.cos(np.outer(np.arange(cepstrum.shape[1]), bent))
    return np.ascontiguousarray(np.exp(2 * np.clip(cepstrum @ waves, -50, 50)))


@lru_cache(maxsize=4)
def freqt_matrix(order_in: int, order_out: int, alpha: float) -> np.ndarray:
    """(order_out + 1, order_in + 1): cepstra -> mel-cepstra (Oppenheim and Johnson 1972; SPTK's freqt, all at once).

    Column n is the cepstrum of z^-n seen through the all-pass (z^-1 - alpha) / (1 - alpha z^-1).
    """
    columns = np.zeros((order_out + 1, order_in + 1))
    power = np.zeros(order_out + 1)
    power[0] = 1.0
    for n in range(order_in + 1):
        columns[:, n] = power
        power = _through_allpass(power, alpha)
    return columns


def _through_allpass(series: np.ndarray, alpha: float) -> np.ndarray:
    """A power series in the bent delay, times z^-1 = (bent + alpha) / (1 + alpha bent), cut off where it was."""
    out = np.zeros_like(series)
    before = 0.0
    for m, value in enumerate(series):
        previous = series[m - 1] if m else 0.0
        before = out[m] = alpha * value + previous - alpha * before
    return out


def available() -> bool:
    """Whether pyworld is installed."""
    import importlib.util

    return importlib.util.find_spec("pyworld") is not None


def missing() -> ValueError:
    """That it is not."""
    return ValueError('world43 needs the package pyworld, which is not installed: pip install "samplernn-pase[world]"')


def _pyworld() -> Any:
    if not available():
        raise missing()
    import pyworld

    return pyworld
