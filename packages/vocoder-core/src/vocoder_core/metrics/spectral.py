"""Spectral distances that need nothing beyond the core: MR-STFT, log-mel MAE, log-spectral distance.

All compare a reference with a time-aligned generated wave (T,) of one rate, in float64. Lower is better, 0 is equality.

- MR-STFT: Yamamoto et al. 2020 (Parallel WaveGAN), eq. 3-6, with the resolutions and the floor of auraloss 0.4, whose
  default `MultiResolutionSTFTLoss()(generated, reference)` it equals.
- log-mel MAE: the "LS-MAE" of Koizumi et al. 2022 (SpecGrad), section 4.
- LSD: Gray & Markel 1976, on STFT power spectra.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

    from vocoder_core.mel import MelConfig

RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))  # n_fft, hop, window in samples, at any rate
RANGE_DB = 80.0  # what lies further below the loudest bin counts as silence in LSD and MCD


def mr_stft(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Mean over three resolutions of spectral convergence + mean |ln magnitude difference|.

    reference, generated: (T,) with T > 1024. `sample_rate` is not used: the resolutions are in samples.
    """
    import torch

    pair = torch.from_numpy(np.stack([reference, generated]).astype(np.float64))
    total = 0.0
    for n_fft, hop, window in RESOLUTIONS:
        ref, gen = _magnitude(pair, n_fft, hop, window)
        convergence = torch.linalg.norm(ref - gen) / torch.linalg.norm(ref)
        total += float(convergence + (ref.log() - gen.log()).abs().mean())
    return total / len(RESOLUTIONS)


def log_mel_mae(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Mean |difference| of 128-band natural-log mel magnitudes (nat); see `comparison_mel` for the exact mel."""
    import torch

    from vocoder_core.mel import log_mel

    pair = torch.from_numpy(np.stack([reference, generated]).astype(np.float64))
    ref, gen = log_mel(pair, comparison_mel(sample_rate))
    return float((ref - gen).abs().mean())


def comparison_mel(sample_rate: int) -> MelConfig:
    """The mel that `log_mel_mae` compares: 128 bands, 20 Hz to 12 kHz (or half the rate), 50 ms Hann, hop 12.5 ms.

    At 24 kHz these are SpecGrad's settings. The magnitude is floored at 1e-5.
    """
    from vocoder_core.mel import MelConfig

    return MelConfig(
        sample_rate=sample_rate,
        n_fft=2 ** int(np.ceil(np.log2(0.08 * sample_rate))),  # 2048 from 16 to 24 kHz: every band holds a bin
        win_length=round(0.05 * sample_rate),
        hop_length=round(0.0125 * sample_rate),
        n_mels=128,
        fmin=20.0,
        fmax=min(12_000.0, sample_rate / 2),
        mel_norm="slaney",
        preemphasis=0.0,
        log="ln",
        offset=0.0,
        scale=1.0,
        minimum=None,
    )


def lsd(reference: np.ndarray, generated: np.ndarray, sample_rate: int) -> float:
    """Log-spectral distance in dB: mean over frames of the RMS over bins of the difference of power in dB.

    Hann window of 32 ms, hop 8 ms. Both spectra are floored 80 dB below the reference's loudest bin.
    """
    window = round(0.032 * sample_rate)
    ref, gen = power_spectra(reference, generated, window, window // 4, window)
    floor = silence_floor(ref)
    difference = 10 * np.log10(np.maximum(ref, floor) / np.maximum(gen, floor))
    return float(np.sqrt((difference**2).mean(axis=1)).mean())


def power_spectra(
    reference: np.ndarray, generated: np.ndarray, n_fft: int, hop: int, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """|STFT|^2 (F, n_fft // 2 + 1) of both, Hann, frames centred on multiples of the hop, reflected at the ends."""
    import torch

    pair = torch.from_numpy(np.stack([reference, generated]).astype(np.float64))
    hann = torch.hann_window(window, dtype=pair.dtype)
    spectrum = torch.stft(pair, n_fft, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    ref, gen = spectrum.abs().square().transpose(1, 2).numpy()
    return ref, gen


def silence_floor(power: np.ndarray) -> float:
    """RANGE_DB below the loudest bin; 1e-20 for digital silence, so that silence against silence is distance 0."""
    return max(10 ** (-RANGE_DB / 10) * float(power.max()), 1e-20)


def _magnitude(wav: torch.Tensor, n_fft: int, hop: int, window: int) -> torch.Tensor:
    """(B, T) -> |STFT| (B, n_fft // 2 + 1, F), power floored at 1e-8 as auraloss does."""
    import torch

    hann = torch.hann_window(window, dtype=wav.dtype)
    spectrum = torch.stft(wav, n_fft, hop, window, hann, center=True, pad_mode="reflect", return_complex=True)
    return torch.view_as_real(spectrum).square().sum(-1).clamp(min=1e-8).sqrt()
