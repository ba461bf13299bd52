"""Spectral distances a wave is trained with: log-magnitude, spectral convergence and log-mel at several resolutions.

Yamamoto et al. 2020, Parallel WaveGAN (arXiv 1910.11480), eq. 3-6, for the first two; the L1 of log-mels is HiFi-GAN's
(Kong et al. 2020, arXiv 2010.05646), at several resolutions as in BigVGAN-v2.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from vocoder_core.mel import MelConfig, filterbank

from .discriminators import spectrogram

WINDOWS = 2048, 1024, 512, 256  # samples; hops are a quarter
FLOOR = 1e-3  # amplitude of an un-normalised STFT: some 85 dB below speech, under which differences do not count


class SpectralLoss(nn.Module):
    """spectral(real (B, T), fake (B, T)) -> (STFT distance, mel distance), two scalars, 0 for equal waves."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        for window in WINDOWS:
            self.register_buffer(f"bands{window}", torch.from_numpy(_bands(window, sample_rate)).float())

    def forward(self, real: Tensor, fake: Tensor) -> tuple[Tensor, Tensor]:
        """In nats per bin and band; the spectral convergence, a ratio, is added to the first."""
        stft_distance = mel_distance = fake.new_zeros(())
        with torch.autocast(fake.device.type, enabled=False):
            for window in WINDOWS:
                bands: Tensor = self.get_buffer(f"bands{window}")
                target, made = magnitude(real, window), magnitude(fake, window)
                convergence = torch.linalg.norm(made - target) / torch.linalg.norm(target).clamp(min=FLOOR)
                stft_distance = stft_distance + convergence + (made.log() - target.log()).abs().mean()
                mel_distance = mel_distance + ((bands @ made).log() - (bands @ target).log()).abs().mean()
        return stft_distance / len(WINDOWS), mel_distance / len(WINDOWS)


def magnitude(wav: Tensor, window: int) -> Tensor:
    """(B, T) -> (B, window / 2 + 1, frames); the floor keeps its logarithm and its gradient finite in silence."""
    power = torch.view_as_real(spectrogram(wav, window)).square().sum(-1)
    return (power + FLOOR**2).sqrt()


def _bands(window: int, sample_rate: int) -> np.ndarray:
    """Mel filters (M, K), M = window * 5 / 32 (BigVGAN-v2's), each with a sum of 1."""
    mels = window * 5 // 32
    config = MelConfig(sample_rate, window, window, window // 4, mels, fmin=0.0, fmax=None, mel_norm="none")
    filters = filterbank(config)
    filters = filters[filters.sum(1) > 0]  # narrow bands at the bottom may lie between two bins
    return filters / filters.sum(1, keepdims=True)
