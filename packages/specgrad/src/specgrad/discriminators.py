"""What tells recordings from generated waves in the adversarial fine-tune, and the losses of both sides.

    wav (B, T) -> compressed complex STFT -> Images   2-D convolutions over frames and bins (Jang et al. 2021, UnivNet,
                                                      arXiv 2106.07889; Defossez et al. 2022, EnCodec, arXiv 2210.13438)
                                          -> Frames   frequencies as channels, perceptrons: the cheapest
               -> rows of a period        -> Periods  (Kong et al. 2020, HiFi-GAN, arXiv 2010.05646), for GPUs

The defaults are made for one CPU core: three images of 16 channels and two Frames judge 12 s of speech in a third of a
second, forward and backward in bf16; the published 32 channels and five periods cost twenty times as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from .blocks import Block
from .transform import Grid, stft

SLOPE = 0.1  # of leaky ReLUs, as HiFi-GAN's


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminators judge, and their widths. Window lengths and periods in samples."""

    images: tuple[int, ...] = (2048, 1024, 512)  # windows of the 2-D ones; hop a quarter
    image_channels: int = 16  # UnivNet and EnCodec 32
    frames: tuple[int, ...] = (1024, 256)  # windows of the 1-D ones; hop a quarter
    frame_channels: int = 128
    periods: tuple[int, ...] = ()  # HiFi-GAN: 2, 3, 5, 7, 11
    period_channels: int = 32  # of their first layer; grows 32-fold

    def __post_init__(self) -> None:
        if not (self.images or self.frames or self.periods):
            raise ValueError("discriminator has no images, frames or periods; expected at least one of them")
        for name in ("images", "frames"):
            for window in getattr(self, name):
                if window < 64 or window & (window - 1):
                    raise ValueError(f"discriminator.{name} has the window {window}; expected powers of two from 64")
        for name in ("image_channels", "frame_channels", "period_channels"):
            if getattr(self, name) < 2:
                raise ValueError(f"discriminator.{name} is {getattr(self, name)}; expected 2 or more")


class Judgement(NamedTuple):
    """What one discriminator says of a batch of waves."""

    score: Tensor  # (B, ...) high: recorded, low: generated; one per region of the wave
    features: list[Tensor]  # (B, ...) of its hidden layers


class Discriminators(nn.Module):
    """All of them."""

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.judges = nn.ModuleList(
            [
                *(Images(window, config.image_channels) for window in config.images),
                *(Frames(window, config.frame_channels) for window in config.frames),
                *(Periods(period, config.period_channels) for period in config.periods),
            ]
        )

    def forward(self, wav: Tensor) -> list[Judgement]:
        """wav (B, T) in [-1, 1] -> one judgement of each."""
        return [judge(wav) for judge in self.judges]


class Images(nn.Module):
    """2-D convolutions over the STFT as an image of frames and bins, halving the bins four times."""

    def __init__(self, window: int, channels: int) -> None:
        super().__init__()
        self.window = window
        widths = [2, *4 * [channels]]
        self.layers = nn.ModuleList(
            normed(nn.Conv2d(before, after, (3, 9), (1, 2), (1, 4))) for before, after in pairwise(widths)
        )
        self.score = normed(nn.Conv2d(channels, 1, 3, padding=1))

    def forward(self, wav: Tensor) -> Judgement:
        """wav (B, T) -> score (B, 1, frames, K / 16)."""
        x = compressed(wav, self.window).permute(0, 3, 2, 1)  # channels last: the layout CPU kernels are quick in
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judgement(self.score(x), features[1:])  # the first is half of all numbers, and hardly more than the STFT


class Frames(nn.Module):
    """Perceptrons that see whole frames of the STFT, and a few frames around them."""

    def __init__(self, window: int, channels: int, layers: int = 3) -> None:
        super().__init__()
        self.window = window
        self.first = nn.Linear(window, channels)  # window / 2 bins, real and imaginary
        self.layers = nn.ModuleList(Block(channels, kernel=5, expansion=2) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.score = nn.Linear(channels, 1)

    def forward(self, wav: Tensor) -> Judgement:
        """wav (B, T) -> score (B, frames, 1)."""
        x = self.first(compressed(wav, self.window).transpose(1, 2).flatten(2))
        features = []
        for layer in self.layers:
            x = layer(x)
            features.append(x)
        return Judgement(self.score(self.norm(x)), features)


class Periods(nn.Module):
    """Convolutions along every period-th sample."""

    def __init__(self, period: int, channels: int) -> None:
        super().__init__()
        self.period = period
        widths = [1, channels, 4 * channels, 16 * channels, 32 * channels, 32 * channels]
        strides = [3, 3, 3, 3, 1]
        self.layers = nn.ModuleList(
            normed(nn.Conv2d(before, after, (5, 1), (stride, 1), (2, 0)))
            for before, after, stride in zip(widths, widths[1:], strides)
        )
        self.score = normed(nn.Conv2d(widths[-1], 1, (3, 1), padding=(1, 0)))

    def forward(self, wav: Tensor) -> Judgement:
        """wav (B, T) -> score (B, 1, T / period / 81, period)."""
        x = F.pad(wav, (0, -wav.shape[-1] % self.period)).view(len(wav), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), SLOPE)
            features.append(x)
        return Judgement(self.score(x), features)


def normed(layer: nn.Conv2d) -> nn.Module:
    """The layer with weight normalisation, begun so that signals keep their size: torch's default loses 2/3 a layer."""
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return weight_norm(layer)


def compressed(wav: Tensor, window: int) -> Tensor:
    """wav (B, T) -> (B, window / 2 bins, frames, 2): complex STFT with magnitudes m ** 0.3, without its last bin.

    The exponent brings the 60 dB of speech to 18, so that hiss between harmonics is visible beside them.
    """
    spectrum = torch.view_as_real(spectrogram(wav, window)[:, :-1])
    return spectrum * (spectrum.square().sum(-1, keepdim=True) + 1e-4) ** -0.35


def spectrogram(wav: Tensor, window: int) -> Tensor:
    """wav (B, T) -> complex STFT (B, window / 2 + 1, frames) with a Hann window and a hop of a quarter of it."""
    hop = window // 4
    return stft(F.pad(wav.float(), (0, -wav.shape[-1] % hop)), Grid(window, window, hop))


Objective = Literal["hinge", "squares"]


def discriminator_loss(real: list[Judgement], fake: list[Judgement], objective: Objective) -> Tensor:
    """What discriminators minimise: hinge (Lim & Ye 2017, arXiv 1705.02894) or least squares (Mao et al. 2017)."""
    losses = []
    for recorded, generated in zip(real, fake, strict=True):
        high, low = recorded.score.float(), generated.score.float()
        if objective == "hinge":
            losses.append(F.relu(1 - high).mean() + F.relu(1 + low).mean())
        else:
            losses.append((1 - high).square().mean() + low.square().mean())
    return torch.stack(losses).mean()


def generator_loss(fake: list[Judgement], objective: Objective) -> Tensor:
    """What the generator minimises: it wants high scores; for least squares scores of 1."""
    scores = [judgement.score.float() for judgement in fake]
    if objective == "hinge":
        return torch.stack([-score.mean() for score in scores]).mean()
    return torch.stack([(1 - score).square().mean() for score in scores]).mean()


def feature_loss(real: list[Judgement], fake: list[Judgement]) -> Tensor:
    """Mean |difference| of hidden layers in units of the recorded ones' mean magnitude: 0 for equal waves."""
    losses = []
    for recorded, generated in zip(real, fake, strict=True):
        for one, other in zip(recorded.features, generated.features, strict=True):
            target = one.detach()
            distance, size = (other - target).abs().mean(dtype=torch.float32), target.abs().mean(dtype=torch.float32)
            losses.append(distance / size.clamp(min=1e-6))
    return torch.stack(losses).mean()
