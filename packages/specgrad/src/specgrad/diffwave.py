"""DiffWave: a stack of dilated convolutions on samples, told the mel and the noise level at every layer.

Kong et al. 2021 (arXiv 2009.09761), as lmnt-com/diffwave and PriorGrad have it (Apache-2.0): 2,619,971 parameters at 80
mels and hop 256, receptive field 6,139 samples. 47 GFLOP per step and second of 16 kHz speech: for comparison, not use.

    mel (B, M, F) -> two transposed convolutions, once per utterance -> (B, M, T) ---------------+
    level (B,) -> sines and cosines -> two linear layers -> (B, E) ----------+                   |
                                                                            v                   v
    noisy wav (B, T) -> Conv 1 x 1 -> x --> 30 blocks, each:  gated dilated Conv 3 (x + level) + Conv 1 x 1 (mel)
                                                              -> x = (x + residual) / sqrt 2,  skip --> sum -> eps_hat

Written from the description; the originals' networks with the same weights are the test oracles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig

SINUSOIDS = 64  # frequencies the level is told in, 1 to 10^4


@dataclass(frozen=True)
class DiffWaveConfig:
    """Sizes of DiffWave. Defaults are the paper's base model, except for `steps`."""

    channels: int = 64  # C
    layers: int = 30
    cycle: int = 10  # dilations 1, 2, ... 2^(cycle - 1), and again
    embedding: int = 512  # E, width of the embedded level
    steps: int = 0  # 0: the level lies in [0, 1]; else it is a step, 0 to steps - 1 (50 in the public weights)
    strides: tuple[int, ...] = ()  # of the mel's upsampler; none: two factors of hop_length as alike as can be

    def __post_init__(self) -> None:
        if self.channels < 1 or self.channels & (self.channels - 1):
            raise ValueError(f"diffwave.channels is {self.channels}; expected a power of two")
        for name, least in (("layers", 1), ("cycle", 1), ("embedding", 1), ("steps", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"diffwave.{name} is {getattr(self, name)}; expected at least {least}")


@dataclass(frozen=True)
class DiffWaveCondition:
    """What the mel says, once per utterance."""

    mel: Tensor  # (B, M, T)
    speaker: Tensor | None  # (B, E)


class DiffWave(nn.Module):
    """Estimates the noise in a wave. Tensors are named and shaped as in PriorGrad, but for the upsampler's."""

    def __init__(self, config: DiffWaveConfig, mel: MelConfig, speaker_size: int = 0) -> None:
        super().__init__()
        self.config, self.hop_length = config, mel.hop_length
        strides = config.strides or two_factors(mel.hop_length)
        if prod(strides) != mel.hop_length or min(strides) < 2:
            raise ValueError(
                f"diffwave.strides is {list(strides)}; expected factors of 2 and more whose product is hop_length "
                f"{mel.hop_length}"
            )
        width = config.channels
        self.input_projection = nn.Conv1d(1, width, 1)
        self.diffusion_embedding = LevelEmbedding(config.steps, config.embedding)
        self.spectrogram_upsampler = Upsampler(strides)
        self.speaker_in = nn.Linear(speaker_size, config.embedding, bias=False) if speaker_size else None
        self.dilations = [2 ** (layer % config.cycle) for layer in range(config.layers)]
        self.residual_layers = nn.ModuleList(Block(config, mel.n_mels, dilation) for dilation in self.dilations)
        self.skip_projection = nn.Conv1d(width, width, 1)
        self.output_projection = nn.Conv1d(width, 1, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
        nn.init.zeros_(self.output_projection.weight)

    @property
    def context(self) -> int:
        """Frames of the mel, on either side, that one estimate depends on: dilations, and two of the upsampler."""
        return -(-sum(self.dilations) // self.hop_length) + 2

    def condition(self, raw: Tensor, mel: Tensor, speaker: Tensor | None = None) -> DiffWaveCondition:
        """mel: log-mel (B, M, F), normalised; speaker (B, S) where the net has one. `raw` is other networks'."""
        told = None if self.speaker_in is None or speaker is None else self.speaker_in(speaker)
        return DiffWaveCondition(self.spectrogram_upsampler(mel), told)

    def forward(self, noisy: Tensor, condition: DiffWaveCondition, level: Tensor) -> Tensor:
        """noisy (B, T), level (B,) as `config.steps` says -> estimate (B, T)."""
        told = self.diffusion_embedding(level)
        if condition.speaker is not None:
            told = told + condition.speaker
        x = F.relu(self.input_projection(noisy[:, None]))
        skips = torch.zeros_like(x)
        for layer in self.residual_layers:
            x, skip = layer(x, condition.mel, told)
            skips = skips + skip
        x = F.relu(self.skip_projection(skips / sqrt(len(self.residual_layers))))
        estimate: Tensor = self.output_projection(x)[:, 0]
        return estimate


class Block(nn.Module):
    """One layer: what it adds to the wave's features, and what it says to the output."""

    def __init__(self, config: DiffWaveConfig, n_mels: int, dilation: int) -> None:
        super().__init__()
        width = config.channels
        self.dilated_conv = nn.Conv1d(width, 2 * width, 3, padding=dilation, dilation=dilation)
        self.diffusion_projection = nn.Linear(config.embedding, width)
        self.conditioner_projection = nn.Conv1d(n_mels, 2 * width, 1)
        self.output_projection = nn.Conv1d(width, 2 * width, 1)

    def forward(self, x: Tensor, mel: Tensor, told: Tensor) -> tuple[Tensor, Tensor]:
        """x (B, C, T), mel (B, M, T), told (B, E) -> x (B, C, T), skip (B, C, T)."""
        y = self.dilated_conv(x + self.diffusion_projection(told)[:, :, None]) + self.conditioner_projection(mel)
        gate, signal = y.chunk(2, dim=1)
        residual, skip = self.output_projection(gate.sigmoid() * signal.tanh()).chunk(2, dim=1)
        return (x + residual) / sqrt(2), skip


class LevelEmbedding(nn.Module):
    """Sines and cosines of a noise level through two linear layers."""

    table: Tensor

    def __init__(self, steps: int, size: int) -> None:
        super().__init__()
        # float32 throughout: its rounding of angles up to 5e5 is part of what the public weights were trained on
        self.register_buffer("table", sinusoids(torch.arange(steps)), persistent=False)
        self.projection1 = nn.Linear(2 * SINUSOIDS, size)
        self.projection2 = nn.Linear(size, size)

    def forward(self, level: Tensor) -> Tensor:
        """level (B,): steps, a fraction between two interpolating their rows; or, without a table, in [0, 1]."""
        level = level.to(self.projection1.weight.dtype)
        if len(self.table):
            below, above = self.table[level.floor().long()], self.table[level.ceil().long()]
            waves = below + (above - below) * (level - level.floor())[:, None]
        else:
            waves = sinusoids(level)
        told: Tensor = F.silu(self.projection2(F.silu(self.projection1(waves))))
        return told


class Upsampler(nn.Module):
    """(B, M, F) -> (B, M, F * hop): transposed convolutions over time, as an image of one channel."""

    def __init__(self, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ConvTranspose2d(1, 1, (3, 2 * s), (1, s), padding=(1, (s + 1) // 2), output_padding=(0, s % 2))
            for s in strides
        )

    def forward(self, mel: Tensor) -> Tensor:
        """(B, M, F) -> (B, M, F * hop)."""
        x = mel[:, None]
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.4)
        return x[:, 0]


def sinusoids(level: Tensor) -> Tensor:
    """(B,) -> (B, 128): sines, then cosines, of the level at 64 frequencies from 1 to 10^4."""
    place = torch.arange(SINUSOIDS, device=level.device)
    angles = level[:, None] * 10.0 ** (place * 4.0 / (SINUSOIDS - 1.0))
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def two_factors(hop: int) -> tuple[int, ...]:
    """Two whole numbers as alike as can be whose product is the hop; the hop alone if it is prime: 256 -> 16, 16."""
    smaller = next(n for n in range(isqrt(hop), 0, -1) if hop % n == 0)
    return (smaller, hop // smaller) if smaller > 1 else (hop,)
