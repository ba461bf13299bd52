"""Pitch scores: F0-RMSE in cents, voiced/unvoiced F1, periodicity RMSE, from one analysis by librosa's pYIN.

pYIN (Mauch & Dixon 2014) gives all three from one model: F0 on a grid of 10 cents, a voicing decision, and the
probability of voicing, which stands for periodicity. The scores are those of CARGAN (Morrison et al. 2022) and Vocos,
which use CREPE; figures of the two trackers cannot be compared. Cost: about 0.11 s per second of audio and wave.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

RATE = 16_000  # analysis rate in Hz: 50 to 550 Hz needs no more, and every recording is treated alike
HOP = 160  # 10 ms
FRAME = 1024  # 64 ms: three periods of 50 Hz
F0_RANGE = (50.0, 550.0)  # Hz, as Vocos


def pitch_scores(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> dict[str, float]:
    """f0_rmse, vuv_f1 and periodicity_rmse of aligned waves (T,); NaN where nothing is voiced to compare."""
    return compare_tracks(track(reference, sample_rate), track(generated, sample_rate))


def track(wav: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pitch of a wave (T,): F0 in Hz (F,), NaN where unvoiced; voiced (F,) bool; periodicity (F,) in [0, 1]."""
    return _track(np.asarray(wav, dtype=np.float32).tobytes(), sample_rate)


@lru_cache(maxsize=2)  # one recording is compared with several copies of it
def _track(samples: bytes, sample_rate: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import librosa

    from vocoder_core.audio import resample

    wav = resample(np.frombuffer(samples, dtype=np.float32), sample_rate, RATE)
    low, high = F0_RANGE
    f0, voiced, periodicity = librosa.pyin(wav, fmin=low, fmax=high, sr=RATE, frame_length=FRAME, hop_length=HOP)
    return f0, voiced, periodicity


def compare_tracks(
    reference: tuple[np.ndarray, np.ndarray, np.ndarray], generated: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> dict[str, float]:
    """The three scores of two tracks as `track` gives them, of equal length.

    f0_rmse: RMS of 1200 log2(f / f_ref) over frames voiced in both. vuv_f1: F1 of the class "voiced", the reference
    being the truth. periodicity_rmse: RMS difference of periodicity over all frames.
    """
    (ref_f0, ref_voiced, ref_periodicity), (gen_f0, gen_voiced, gen_periodicity) = reference, generated
    both = ref_voiced & gen_voiced
    either = int(ref_voiced.sum() + gen_voiced.sum())
    cents = 1200 * np.log2(gen_f0[both] / ref_f0[both])
    return {
        "f0_rmse": float(np.sqrt(np.mean(cents**2))) if both.any() else float("nan"),
        "vuv_f1": 2 * int(both.sum()) / either if either else float("nan"),
        "periodicity_rmse": float(np.sqrt(np.mean((ref_periodicity - gen_periodicity) ** 2))),
    }
