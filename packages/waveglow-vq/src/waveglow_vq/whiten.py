"""Whiten: the part of speech's likelihood that the mel gives away for nothing, taken out before the flow sees the wave.

The mel's envelope makes a linear predictor A for every block of samples (autocorrelation method, Levinson-Durbin;
Makhoul 1975, "Linear prediction: a tutorial review"), and the wave is filtered by A / g. What is left is the
excitation, nearly white and of unit variance, whatever is said and however loud. The filter is causal with A[0] = 1, so
the map is invertible exactly, and the log of its volume change is minus the sum of log g: a first step of the flow.

    wav    |<- block ->|<- block ->|<- block ->| ...      the predictor of a block is that of its middle,
    mel    frame 0 ---------- frame 1 ---------- ...      interpolated between the frames' autocorrelations

    e[n] = (x[n] + a_1 x[n-1] + ... + a_p x[n-p]) / g            forward, all samples at once
    x[n] = g e[n] - a_1 x[n-1] - ... - a_p x[n-p]                inverse, block after block
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.griffinlim import spectrum_of_mel
from vocoder_core.mel import MelConfig

PIECE = 256  # frames whose responses the inverse holds at a time, 12 MB or so


@dataclass(frozen=True)
class WhitenConfig:
    """The predictor. order 0: none, the flow sees the wave itself, as WaveGlow does."""

    order: int = 24  # p
    block: int = 64  # samples with one predictor; hop_length is a multiple of it
    noise_floor: float = 1e-5  # of white noise, relative to the power of the frame: bounds how deep A may cut
    least: float = 1e-9  # of white noise: 16-bit audio's own, (1 / 32768) ** 2 = 9e-10

    def __post_init__(self) -> None:
        if self.order < 0 or self.block < 1:
            raise ValueError(f"whiten.order {self.order}, whiten.block {self.block}; expected >= 0 and >= 1")
        if self.order > self.block:
            raise ValueError(f"whiten.order is {self.order}; expected at most whiten.block, {self.block}")


class Whiten(nn.Module):
    """wav (B, T) <-> excitation (B, T) of about unit variance, given log-mels (B, M, F) with T = F * hop_length."""

    cosines: Tensor

    def __init__(self, config: WhitenConfig, mel: MelConfig) -> None:
        super().__init__()
        if mel.hop_length % config.block:
            raise ValueError(f"whiten.block is {config.block}; expected a divisor of hop_length {mel.hop_length}")
        self.config, self.mel = config, mel
        bins = mel.n_fft // 2 + 1
        weight = torch.full((bins,), 2.0)
        weight[0] = weight[-1] = 1.0
        turns = torch.outer(torch.arange(config.order + 1), torch.arange(bins)) * (2 * pi / mel.n_fft)
        window = torch.hann_window(mel.win_length).square().sum()
        cosines = torch.cos(turns) * weight / (mel.n_fft * window)  # |STFT|^2 -> autocorrelation of the samples
        self.register_buffer("cosines", cosines, persistent=False)

    def forward(self, wav: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """wav (B, T), mel (B, M, F) -> excitation (B, T), log of the volume change (B,)."""
        filters, gain = self._predictors(mel)
        order, block = self.config.order, self.config.block
        past = F.pad(wav, (order, 0)).unfold(1, order + 1, 1)  # (B, T, p + 1), the sample itself last
        blocks = past.unflatten(1, (-1, block))
        excitation = (blocks @ filters.flip(-1)[..., None])[..., 0] / gain[..., None]
        return excitation.flatten(1), -block * gain.log().sum(1)

    def inverse(self, excitation: Tensor, mel: Tensor) -> Tensor:
        """The wave (B, T) whose excitation this is. Computed in float64: a recursion over all samples."""
        hop, before = self.mel.hop_length, excitation.new_zeros(len(excitation), 1, self.config.order).double()
        wav = [excitation.new_zeros(len(excitation), 0)]
        filters, gain = (tensor.double() for tensor in self._predictors(mel))
        per_frame = hop // self.config.block
        for frame in range(0, mel.shape[2], PIECE):
            blocks = slice(frame * per_frame, (frame + PIECE) * per_frame)
            driven = excitation[:, frame * hop : (frame + PIECE) * hop].double()
            made, before = self._driven(driven, filters[:, blocks], gain[:, blocks], before)
            wav.append(made.to(excitation.dtype))
        return torch.cat(wav, dim=1)

    def _driven(self, excitation: Tensor, filters: Tensor, gain: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """The wave of some blocks, and its last samples (B, 1, p), the newest first; `before` is those ahead of it."""
        order, block = self.config.order, self.config.block
        driven = excitation.unflatten(1, (-1, block)) * gain[..., None]
        # every block by itself: what its own excitation gives, and what each of the p samples before it adds
        rows, count = gain.shape
        past = torch.eye(order, dtype=driven.dtype, device=driven.device).expand(rows, count, order, order)
        states = torch.cat([driven.new_zeros(rows, count, 1, order), past], dim=2)  # newest sample first
        answers = []
        for n in range(block):
            sample = -(states @ filters[..., 1:, None])[..., 0]
            sample[..., 0] += driven[..., n]
            states = torch.cat([sample[..., None], states[..., :-1]], dim=-1)
            answers.append(sample)
        response = torch.stack(answers, dim=-1)  # (B, blocks, 1 + p, block)
        wav = []
        for index in range(count):
            wav.append(response[:, index, 0] + (before @ response[:, index, 1:])[:, 0])
            before = wav[-1][:, None, -order:].flip(-1)
        return torch.cat(wav, dim=1), before

    def _predictors(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """A (B, blocks, p + 1) with A[0] = 1, and the gain g (B, blocks) of the prediction error."""
        power = spectrum_of_mel(mel, self.mel, updates=0).square()
        frames = (self.cosines.to(power) @ power).transpose(1, 2)  # (B, F, p + 1)
        middle = (torch.arange(frames.shape[1] * self.mel.hop_length // self.config.block, device=mel.device) + 0.5) * (
            self.config.block / self.mel.hop_length
        )
        if self.mel.centering != "center":
            middle = middle - 0.5  # frame j is centred on (j + 1/2) * hop
        middle = middle.clamp(0, frames.shape[1] - 1)
        low = middle.floor().long()
        part = (middle - low)[:, None].to(frames)
        correlation = frames[:, low] * (1 - part) + frames[:, (low + 1).clamp(max=frames.shape[1] - 1)] * part
        power0 = correlation[..., :1] * (1 + self.config.noise_floor) + self.config.least
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
