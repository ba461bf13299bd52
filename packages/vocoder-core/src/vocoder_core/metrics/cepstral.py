"""Mel-cepstral distortion, in two definitions that must not be mixed in one table: `mcd` (ours) and `mcd_world`.

Both are, with mel-cepstra c of order 24 every 5 ms, averaged over all frames, c_0 (level) left out, no time warping:

    MCD = 10 / ln 10 * sqrt(2 sum_{m=1..24} (c_m - c'_m)^2)   dB                        (Kubichek 1993)

    mcd         envelope: STFT power smoothed over frequency by a 200 Hz triangle; numpy and torch only
    mcd_world   envelope: WORLD's CheapTrick with DIO + StoneMask F0 (Morise 2015); needs pyworld, extra [eval]

The mel-cepstrum is Oppenheim & Johnson's frequency transform (1972) of the real cepstrum, as SPTK's sp2mc.
Published figures use many definitions: on one file they differ by a factor of two. Compare only within one column.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .spectral import power_spectra, silence_floor

ORDER = 24
SMOOTHING_HZ = 200.0
# all-pass constant whose phase follows the mel scale; rates between are interpolated
ALPHA = ((8_000, 0.31), (16_000, 0.42), (22_050, 0.455), (24_000, 0.466), (44_100, 0.544), (48_000, 0.554))


def mcd(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Mel-cepstral distortion in dB from our own spectral envelope. It is not the WORLD one: see `mcd_world`.

    Exactly: x is cut into Hann windows of 25 ms every 5 ms (centred on multiples of the hop, reflected at the ends);
    P = |DFT|^2 with the next power of two >= 50 ms points; each P is floored 80 dB below its own loudest bin;
    P is convolved over frequency (mirrored at 0 and Nyquist) with a triangle of half-width 200 Hz and unit sum, which
    removes the harmonics of voices up to about 200 Hz and leaves formants; ln P -> real cepstrum -> mel-cepstrum of
    order 24 with the all-pass constant of ALPHA (0.42 at 16 kHz); then the formula above this module's head.

    reference, generated: (T,), aligned. A change of level alone costs nothing.
    """
    window, hop = round(0.025 * sample_rate), round(0.005 * sample_rate)
    n_fft = 2 ** int(np.ceil(np.log2(2 * window)))
    reach = max(1, round(SMOOTHING_HZ * n_fft / sample_rate))
    ref, gen = (
        mel_cepstrum(_smooth(np.maximum(power, silence_floor(power)), reach), ORDER, all_pass_constant(sample_rate))
        for power in power_spectra(reference, generated, n_fft, hop, window)
    )
    return distortion(ref, gen)


def mcd_world(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Mel-cepstral distortion in dB from WORLD's CheapTrick envelopes, each with its own F0. Needs pyworld ([eval])."""
    import pyworld

    def cepstra(wav: np.ndarray) -> np.ndarray:
        samples = np.ascontiguousarray(wav, dtype=np.float64)
        rough, times = pyworld.dio(samples, sample_rate, frame_period=5.0)
        f0 = pyworld.stonemask(samples, rough, times, sample_rate)
        envelope = pyworld.cheaptrick(samples, f0, times, sample_rate)
        return mel_cepstrum(envelope, ORDER, all_pass_constant(sample_rate))

    return distortion(cepstra(reference), cepstra(generated))


def distortion(reference: np.ndarray, generated: np.ndarray) -> float:
    """MCD in dB between mel-cepstra (F, order + 1): mean over frames, c_0 left out."""
    difference = reference[:, 1:] - generated[:, 1:]
    return float(10 / np.log(10) * np.sqrt(2 * (difference**2).sum(axis=1)).mean())


def mel_cepstrum(power: np.ndarray, order: int, alpha: float) -> np.ndarray:
    """Mel-cepstra (F, order + 1) of power spectra (F, n_fft // 2 + 1), all positive, with all-pass constant alpha.

    The log magnitude at the warped frequency w~ is c_0 + c_1 cos w~ + c_2 cos 2w~ + ...
    """
    cepstrum = np.fft.irfft(np.log(power), axis=1)[:, : power.shape[1]]
    cepstrum[:, 0] /= 2  # ln power = 2 ln magnitude: the two halves of the symmetric cepstrum make up for all but c_0
    return cepstrum @ frequency_transform(cepstrum.shape[1], order + 1, alpha).T


@lru_cache(maxsize=8)
def frequency_transform(size: int, warped_size: int, alpha: float) -> np.ndarray:
    """Matrix (warped_size, size) that turns a cepstrum into a mel-cepstrum (Oppenheim & Johnson 1972, eq. 10).

    Column n holds the Taylor coefficients of ((z~^-1 + alpha) / (1 + alpha z~^-1))^n, which recur from column n - 1.
    """
    matrix = np.zeros((warped_size, size))
    matrix[0] = alpha ** np.arange(size)
    for row in range(1, warped_size):
        before = matrix[row - 1]
        for n in range(1, size):
            matrix[row, n] = before[n - 1] + alpha * (matrix[row, n - 1] - before[n])
    return matrix


def all_pass_constant(sample_rate: int) -> float:
    """The warping constant of SPTK's tables for a rate in Hz; the nearest end outside 8 to 48 kHz."""
    rates, constants = zip(*ALPHA)
    return float(np.interp(sample_rate, rates, constants))


def _smooth(power: np.ndarray, reach: int) -> np.ndarray:
    """Each row (F, bins) convolved with a triangle of `reach` bins to either side, unit sum, mirrored at both ends."""
    weights = reach - np.abs(np.arange(1 - reach, reach))
    padded = np.pad(power, ((0, 0), (reach - 1, reach - 1)), mode="reflect")
    size = padded.shape[1]
    response = np.fft.rfft(weights / weights.sum(), size)
    smooth = np.fft.irfft(np.fft.rfft(padded, axis=1) * response, size, axis=1)[:, 2 * reach - 2 :]
    return np.maximum(smooth, power.min())  # rounding must not bring an empty band below the floor
