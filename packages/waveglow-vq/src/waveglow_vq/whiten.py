"""Whiten: the part of speech's likelihood that the mel gives away for nothing, taken out before the flow sees the wave.

The mel's envelope makes a linear predictor A for every block of samples (vocoder_core.linear_prediction), and the wave
is filtered by A / g. What is left is the excitation, nearly white and of unit variance, whatever is said and however
loud. The filter is causal with A[0] = 1, so the map is invertible exactly, and the log of its volume change is minus
the sum of log g: a first step of the flow.

    e[n] = (x[n] + a_1 x[n-1] + ... + a_p x[n-p]) / g            forward, all samples at once
    x[n] = g e[n] - a_1 x[n-1] - ... - a_p x[n-p]                inverse, block after block
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.linear_prediction import LEAST, NOISE_FLOOR, Predictor
from vocoder_core.mel import MelConfig

PIECE = 256  # frames whose responses the inverse holds at a time, 12 MB or so


@dataclass(frozen=True)
class WhitenConfig:
    """The predictor. order 0: none, the flow sees the wave itself, as WaveGlow does."""

    order: int = 24  # p
    block: int = 64  # samples with one predictor; hop_length is a multiple of it
    noise_floor: float = NOISE_FLOOR  # of white noise, relative to the power of the frame: bounds how deep A may cut
    least: float = LEAST  # of white noise: 16-bit audio's own, (1 / 32768) ** 2 = 9e-10

    def __post_init__(self) -> None:
        if self.order < 0 or self.block < 1:
            raise ValueError(f"whiten.order {self.order}, whiten.block {self.block}; expected >= 0 and >= 1")
        if self.order > self.block:
            raise ValueError(f"whiten.order is {self.order}; expected at most whiten.block, {self.block}")


class Whiten(nn.Module):
    """wav (B, T) <-> excitation (B, T) of about unit variance, given log-mels (B, M, F) with T = F * hop_length."""

    def __init__(self, config: WhitenConfig, mel: MelConfig) -> None:
        super().__init__()
        if mel.hop_length % config.block:
            raise ValueError(f"whiten.block is {config.block}; expected a divisor of hop_length {mel.hop_length}")
        self.config, self.mel = config, mel
        self.predictor = Predictor(config.order, config.block, mel, config.noise_floor, config.least)

    def forward(self, wav: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """wav (B, T), mel (B, M, F) -> excitation (B, T), log of the volume change (B,)."""
        filters, gain = self.predictor(mel)
        order, block = self.config.order, self.config.block
        past = F.pad(wav, (order, 0)).unfold(1, order + 1, 1)  # (B, T, p + 1), the sample itself last
        blocks = past.unflatten(1, (-1, block))
        excitation = (blocks @ filters.flip(-1)[..., None])[..., 0] / gain[..., None]
        return excitation.flatten(1), -block * gain.log().sum(1)

    def inverse(self, excitation: Tensor, mel: Tensor) -> Tensor:
        """The wave (B, T) whose excitation this is. Computed in float64: a recursion over all samples."""
        hop, before = self.mel.hop_length, excitation.new_zeros(len(excitation), 1, self.config.order).double()
        wav = [excitation.new_zeros(len(excitation), 0)]
        filters, gain = (tensor.double() for tensor in self.predictor(mel))
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
