"""WaveGrad: from mel frames up to samples, modulated at every rate by the noisy wave on its way down.

Chen et al. 2021 (arXiv 2009.00713), Base, the network of the SpecGrad paper: 15,920,993 parameters with 128 mels and
widest=768, which is lmnt-com/wavegrad's (Apache-2.0).

    mel (B, M, F) -> Conv 3, once per utterance -> up x 5 -> up x 5 -> up x 3 -> up x 2 -> up x 2 -> Conv 3 -> eps_hat
                                                    ^         ^         ^         ^         ^
                                                   FiLM      FiLM      FiLM      FiLM      FiLM  <- level (B,)
                                                    ^         ^         ^         ^         ^
                                                  down / 5 <- / 3 <--- / 2 <---- / 2 <--- Conv 5 <- noisy wav (B, T)

Written from the description; the original's network with the same weights is the test oracle.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig

DILATIONS = ((1, 2, 1, 2), (1, 2, 1, 2), (1, 2, 4, 8), (1, 2, 4, 8), (1, 2, 4, 8))  # of the upward blocks


@dataclass(frozen=True)
class WaveGradConfig:
    """Sizes of WaveGrad. Defaults are the paper's, except for `widest`."""

    widths: tuple[int, ...] = (32, 128, 128, 256, 512)  # of the noisy wave at its five rates, samples first
    widest: int = 512  # of the mel: a power of two, as kernels like; 768 in the paper and in public weights
    strides: tuple[int, ...] = ()  # upwards; none: five factors of hop_length as alike as can be, the largest first
    embedding_scale: float = 5000.0  # of the level in its sinusoids; public weights: 1, which hardly tells levels apart

    def __post_init__(self) -> None:
        if len(self.widths) != 5 or min(self.widths) < 2 or any(width % 2 for width in self.widths):
            raise ValueError(f"wavegrad.widths is {list(self.widths)}; expected five even numbers")
        if self.widest < 1 or self.embedding_scale <= 0:
            raise ValueError("wavegrad.widest and wavegrad.embedding_scale; expected both above 0")


@dataclass(frozen=True)
class WaveGradCondition:
    """What the mel says, once per utterance."""

    features: Tensor  # (B, widest, F)


class WaveGrad(nn.Module):
    """Estimates the noise in a wave. Tensors are named and shaped as lmnt's."""

    def __init__(self, config: WaveGradConfig, mel: MelConfig, speaker_size: int = 0) -> None:
        super().__init__()
        self.config, self.hop_length = config, mel.hop_length
        up = config.strides or five_factors(mel.hop_length)
        if len(up) != 5 or prod(up) != mel.hop_length or min(up) < 1:
            raise ValueError(
                f"wavegrad.strides is {list(up)}; expected five factors whose product is hop_length {mel.hop_length}"
            )
        self.up, widths = up, config.widths
        below = [widths[-1], *reversed(widths[1:])]  # width of each upward block, frames first: 512 512 256 128 128
        down = zip(widths[:-1], widths[1:], reversed(up[1:]))
        self.downsample = nn.ModuleList([nn.Conv1d(1, widths[0], 5, padding=2), *(Down(*sizes) for sizes in down)])
        self.film = nn.ModuleList(
            FiLM(width, out, config.embedding_scale) for width, out in zip(widths, reversed(below))
        )
        sizes = zip([config.widest, *below[:-1]], below, up, DILATIONS)
        self.upsample = nn.ModuleList(Up(*size) for size in sizes)
        self.first_conv = nn.Conv1d(mel.n_mels, config.widest, 3, padding=1)
        self.last_conv = nn.Conv1d(widths[1], 1, 3, padding=1)
        self.speaker_in = nn.Linear(speaker_size, config.widest, bias=False) if speaker_size else None
        for name, weight in self.named_parameters():
            if name.startswith("film.") and weight.dim() > 1:
                nn.init.xavier_uniform_(weight)
            elif weight.dim() > 1:
                nn.init.orthogonal_(weight)
            else:
                nn.init.zeros_(weight)

    @property
    def context(self) -> int:
        """Frames of the mel, on either side, that one estimate depends on, at most: kernels times their strides."""
        strides = [
            self.hop_length // prod(self.up[: n + 1]) for n in range(5)
        ]  # samples between two features: 60 12 4 2 1
        down = 2 + 7 * sum(strides[:-1]) + 2 * strides[0]
        back = sum(sum(dilations) * stride for dilations, stride in zip(DILATIONS, strides)) + 1
        repeated = self.hop_length + sum(strides[:-1])
        return -(-(down + back + repeated) // self.hop_length) + 1

    def condition(self, raw: Tensor, mel: Tensor, speaker: Tensor | None = None) -> WaveGradCondition:
        """mel: log-mel (B, M, F), normalised; speaker (B, S) where the net has one. `raw` is other networks'."""
        features = self.first_conv(mel)
        if self.speaker_in is not None and speaker is not None:
            features = features + self.speaker_in(speaker)[:, :, None]
        return WaveGradCondition(features)

    def forward(self, noisy: Tensor, condition: WaveGradCondition, level: Tensor) -> Tensor:
        """noisy (B, T), level (B,) in [0, 1] -> estimate (B, T)."""
        wave = noisy[:, None]
        said = []
        for layer, film in zip(self.downsample, self.film):
            wave = layer(wave)
            said.append(film(wave, level))
        x = condition.features
        for layer, (shift, scale) in zip(self.upsample, reversed(said)):
            x = layer(x, shift, scale)
        estimate: Tensor = self.last_conv(x)[:, 0]
        return estimate


class Down(nn.Module):
    """The wave at a lower rate: every `factor`-th sample, three convolutions, and a shortcut."""

    def __init__(self, width: int, out: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.residual_dense = nn.Conv1d(width, out, 1)
        self.conv = nn.ModuleList(_conv(size, out, dilation) for size, dilation in [(width, 1), (out, 2), (out, 4)])

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, N) -> (B, out, N / factor)."""
        x = x[:, :, :: self.factor]
        shortcut = self.residual_dense(x)
        for layer in self.conv:
            x = layer(F.leaky_relu(x, 0.2))
        return x + shortcut


class FiLM(nn.Module):
    """Shift and scale of an upward block's features, from the wave at that rate and the noise level."""

    def __init__(self, width: int, out: int, embedding_scale: float) -> None:
        super().__init__()
        self.embedding_scale = embedding_scale
        self.input_conv = _conv(width, width, 1)
        self.output_conv = _conv(width, 2 * out, 1)

    def forward(self, wave: Tensor, level: Tensor) -> tuple[Tensor, Tensor]:
        """wave (B, width, N), level (B,) -> shift (B, out, N), scale (B, out, N)."""
        x = F.leaky_relu(self.input_conv(wave), 0.2)
        x = x + sinusoids(self.embedding_scale * level, x.shape[1])[:, :, None].to(x.dtype)
        shift, scale = self.output_conv(x).chunk(2, dim=1)
        return shift, scale


class Up(nn.Module):
    """Features at a higher rate: each repeated `factor` times, four convolutions, each but the second modulated."""

    def __init__(self, width: int, out: int, factor: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.factor = factor
        first, second, third, fourth = dilations
        self.block1 = nn.Conv1d(width, out, 1)
        self.block2 = nn.ModuleList([_conv(width, out, first), _conv(out, out, second)])
        self.block3 = nn.ModuleList([_conv(out, out, third), _conv(out, out, fourth)])

    def forward(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        """x (B, width, N), shift and scale (B, out, N * factor) -> (B, out, N * factor)."""

        def modulated(features: Tensor) -> Tensor:
            return F.leaky_relu(torch.addcmul(shift, scale, features), 0.2)

        shortcut = self.block1(x).repeat_interleave(self.factor, dim=2)  # 1 x 1: the same before or after repeating
        y = self.block2[0](F.leaky_relu(x, 0.2).repeat_interleave(self.factor, dim=2))
        x = shortcut + self.block2[1](modulated(y))
        y = self.block3[0](modulated(x))
        result: Tensor = x + self.block3[1](modulated(y))
        return result


def sinusoids(level: Tensor, size: int) -> Tensor:
    """(B,) -> (B, size): sines, then cosines, of the level at size / 2 frequencies from 1 down towards 10^-4."""
    place = torch.arange(size // 2, dtype=level.dtype, device=level.device) / (size // 2)
    angles = level[:, None] * torch.exp(-log(1e4) * place)
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def five_factors(hop: int) -> tuple[int, ...]:
    """Five whole numbers, the largest first, as alike as can be, whose product is the hop: 300 -> 5, 5, 3, 2, 2."""
    factors, rest, prime = [1] * 5, hop, 2
    primes = []
    while rest > 1:
        while rest % prime == 0:
            primes.append(prime)
            rest //= prime
        prime += 1
    for prime in reversed(primes):
        factors[factors.index(min(factors))] *= prime
    return tuple(sorted(factors, reverse=True))


def _conv(width: int, out: int, dilation: int) -> nn.Conv1d:
    return nn.Conv1d(width, out, 3, padding=dilation, dilation=dilation)
