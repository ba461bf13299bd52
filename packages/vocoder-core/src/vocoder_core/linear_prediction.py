"""Linear prediction by a mel: the part of the next sample that the mel's envelope gives away for nothing.

The mel's power spectrum makes an autocorrelation for every frame, and that a predictor A and the gain g of its error
for every block of samples (autocorrelation method, Levinson-Durbin; Makhoul 1975, "Linear prediction: a tutorial
review").

    wav    |<- block ->|<- block ->|<- block ->| ...      the predictor of a block is that of its middle,
    mel    frame 0 ---------- frame 1 ---------- ...      interpolated between the frames' autocorrelations

    x[n] + a_1 x[n-1] + ... + a_p x[n-p] = g e[n]         e nearly white and of about unit variance
"""

from __future__ import annotations

from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .griffinlim import spectrum_of_mel
from .mel import MelConfig

NOISE_FLOOR = 1e-5  # of white noise, relative to the power of the frame: bounds how deep A may cut
LEAST = 1e-9  # of white noise: 16-bit audio's own, (1 / 32768) ** 2 = 9e-10


class Predictor(nn.Module):
    """Predictors of order p for blocks of samples, `hop_length / block` of them a frame. Nothing in it is learned.

    Raises ValueError for a block that does not divide the hop.
    """

    cosines: Tensor

    def __init__(
        self, order: int, block: int, mel: MelConfig, noise_floor: float = NOISE_FLOOR, least: float = LEAST
    ) -> None:
        super().__init__()
        if mel.hop_length % block:
            raise ValueError(f"a block of {block} samples; expected a divisor of hop_length {mel.hop_length}")
        self.block, self.mel, self.noise_floor, self.least = block, mel, noise_floor, least
        bins = mel.n_fft // 2 + 1
        weight = torch.full((bins,), 2.0)
        weight[0] = weight[-1] = 1.0
        turns = torch.outer(torch.arange(order + 1), torch.arange(bins)) * (2 * pi / mel.n_fft)
        window = torch.hann_window(mel.win_length).square().sum()
        cosines = torch.cos(turns) * weight / (mel.n_fft * window)  # |STFT|^2 -> autocorrelation of the samples
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """mel (B, M, F) -> A (B, blocks, p + 1) with A[0] = 1, and the gain g (B, blocks) of the prediction error."""
        hop = self.mel.hop_length
        power = spectrum_of_mel(mel, self.mel, updates=0).square()
        frames = (self.cosines.to(power) @ power).transpose(1, 2)  # (B, F, p + 1)
        blocks = frames.shape[1] * hop // self.block
        middle = (torch.arange(blocks, device=mel.device) + 0.5) * (self.block / hop)
        if self.mel.centering != "center":
            middle = middle - 0.5  # frame j is centred on (j + 1/2) * hop
        middle = middle.clamp(0, frames.shape[1] - 1)
        low = middle.floor().long()
        part = (middle - low)[:, None].to(frames)
        correlation = frames[:, low] * (1 - part) + frames[:, (low + 1).clamp(max=frames.shape[1] - 1)] * part
        power0 = correlation[..., :1] * (1 + self.noise_floor) + self.least
        filters, error = levinson(torch.cat([power0, correlation[..., 1:]], dim=-1))
        return filters, error.sqrt()


def levinson(correlation: Tensor) -> tuple[Tensor, Tensor]:
    """Autocorrelation (..., p + 1) -> predictor A (..., p + 1) with A[0] = 1, and the power (...) of its error."""
    filters, error = torch.ones_like(correlation[..., :1]), correlation[..., 0]
    for i in range(1, correlation.shape[-1]):
        reflection = -(filters * correlation[..., 1 : i + 1].flip(-1)).sum(-1) / error
        padded = F.pad(filters, (0, 1))
        filters = padded + reflection[..., None] * padded.flip(-1)
        error = error * (1 - reflection.square())
    return filters, error
