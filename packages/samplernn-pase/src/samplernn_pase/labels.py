"""Labels: what a sample is, as a class, and what is told before it is made.

order 0     mu-law of the wave, as in the original: 256 classes. The frame tiers hear the past as it will be when nobody
            knows the recording: decoded. The public code trained them on the recording itself, or its absolute value.
order > 0   mu-law of what a linear prediction by the mel leaves (vocoder_core.excitation), for small networks: the
            frame tiers hear the past excitation and the past wave, the sample tier also what is predicted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import mulaw
from vocoder_core.excitation import ExcitationConfig, Told


@dataclass(frozen=True)
class LabelConfig:
    """What a sample is made of. The default is the paper's, with cells that have a centre."""

    bits: int = 8  # 2^bits classes
    codec: Literal["round", "seed"] = "round"  # seed: the public code's, whose values are the lower edges of its cells
    raw: bool = False  # order 0: training tells the frame tiers the recording itself, as the public code does
    order: int = 0  # of the linear prediction by the mel; 0: the wave itself is said
    pitch: bool = False  # prediction: whether the excitation one pitch period ago is told
    span: float = 16.0  # prediction: the largest excitation, in gains
    loudest: float = 1.6  # prediction: generation holds the power of the excitation, over 8 ms, below it

    def __post_init__(self) -> None:
        self.excitation(80)  # which checks bits, span and loudest
        if self.order and (self.raw or self.codec != "round"):
            raise ValueError("labels.raw or labels.codec seed with a prediction; expected labels.order 0 with them")
        if self.pitch and not self.order:
            raise ValueError("labels.pitch is true, labels.order is 0; expected an order, such as 24")

    @property
    def classes(self) -> int:
        """Q."""
        return 2**self.bits

    @property
    def channels(self) -> int:
        """What a frame tier hears of each sample of the past: the wave; or its excitation and itself."""
        return 2 if self.order else 1

    @property
    def told(self) -> int:
        """Codes that the sample tier is told of each sample beside those of the past."""
        return 2 + self.pitch if self.order else 0

    @property
    def values(self) -> int:
        """Numbers that it is told of each sample."""
        return self.excitation(80).values_told if self.order else 0

    def excitation(self, block: int) -> ExcitationConfig:
        """The same for vocoder_core.excitation; block: samples with one predictor."""
        return ExcitationConfig(self.bits, self.order, block, self.pitch, self.span, self.loudest)


def of_wave(wav: Tensor, config: LabelConfig, noise: Tensor | None = None) -> Told:
    """Told of waves (B, T) in [-1, 1], order 0; before the first sample is silence.

    noise (B, T), in steps of 1/128: disturbs what is told, not what has to be said.
    """
    targets = encode(wav, config)
    heard = wav if noise is None else wav + noise / 128
    codes = targets if noise is None else encode(heard, config)
    before = F.pad(codes[:, :-1], (1, 0), value=config.classes // 2)
    past = F.pad(heard if config.raw else decode(codes, config).to(wav.dtype), (1, 0))[:, :-1]
    return Told(past[:, None], wav.new_zeros(*wav.shape, 0), before[..., None], targets)


def encode(wav: Tensor, config: LabelConfig) -> Tensor:
    """Codes (...) int64 of samples (...) in [-1, 1]; what is louder is clamped."""
    if config.codec == "round":
        return mulaw.encode(wav, config.bits)
    law = config.classes - 1
    x = wav.double().clamp(-1, 1)
    companded = x.sign() * torch.log1p(law * x.abs()) / log1p(law)
    # theirs multiplies by 256 - 1e-6, which in single precision is 256: silence is 128, and a sample at full scale
    # became a class that is not there
    return (config.classes * (companded + 1) / 2).floor().long().clamp(max=config.classes - 1)


def decode(codes: Tensor, config: LabelConfig) -> Tensor:
    """Samples (...) float32 in [-1, 1] of codes (...)."""
    if config.codec == "round":
        return mulaw.decode(codes, config.bits)
    law = config.classes - 1
    companded = 2 * codes.double() / config.classes - 1
    return (companded.sign() * torch.expm1(companded.abs() * log1p(law)) / law).float()
