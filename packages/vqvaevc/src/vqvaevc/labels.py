"""Labels: what the WaveRNN is told of a sample before it is made, and what it has to say about it.

dual    16 bits as a coarse and a fine byte (Kalchbrenner et al. 2018, arXiv 1802.08435), as in mkotha/WaveRNN:

            s + 32768 = 256 c + f        told: c[u-1], f[u-1], and the fine half also c[u]        said: c[u], then f[u]

mulaw   one mu-law byte: of the sample, or with `order` of the excitation that a linear prediction by the mel leaves of
        it (vocoder_core.excitation), for small networks
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import excitation, mulaw
from vocoder_core.excitation import ExcitationConfig

from .timing import UNIT


@dataclass(frozen=True)
class LabelConfig:
    """What a sample is made of. The default is the original's."""

    kind: Literal["dual", "mulaw"] = "dual"
    bits: int = 8  # mulaw: 2^bits classes
    order: int = 0  # mulaw: of the linear prediction by the mel; 0: the wave itself is said
    block: int = 64  # samples with one predictor
    pitch: bool = False  # mulaw: whether e one pitch period ago is told
    span: float = 16.0  # mulaw: the largest excitation, in gains
    loudest: float = 1.6  # prediction: the power of what is said, over 8 ms, is held at it; of speech it is about 1
    embedding: int = 64  # mulaw: size of the vectors of the codes that are told

    def __post_init__(self) -> None:
        if self.kind == "dual" and (self.order or self.pitch):
            raise ValueError("labels.kind is dual with a prediction or pitch; expected mulaw with them")
        if self.pitch and not self.order:
            raise ValueError("labels.pitch is true, labels.order is 0; expected an order, such as 24")
        if self.block < 1 or UNIT % self.block:
            raise ValueError(f"labels.block is {self.block}; expected a divisor of {UNIT}")
        if self.embedding < 1:
            raise ValueError(f"labels.embedding is {self.embedding}; expected 1 or more")
        self.excitation  # noqa: B018  its own checks

    @property
    def excitation(self) -> ExcitationConfig:
        """Those of its fields that the excitation is made by."""
        return ExcitationConfig(self.bits, self.order, self.block, self.pitch, self.span, self.loudest)

    @property
    def classes(self) -> int:
        """Q, of one softmax."""
        return 256 if self.kind == "dual" else 2**self.bits

    @property
    def past_channels(self) -> int:
        """C, of what the context stack hears: the coarse byte; or the wave and its excitation."""
        return 2 if self.order else 1

    @property
    def codes_told(self) -> int:
        """How many codes are told of each sample: of e, x, p, and what the pitch foretells."""
        if self.kind == "dual":
            return 0
        return self.excitation.codes_told if self.order else 1

    @property
    def values_told(self) -> int:
        """How many values are told of each sample."""
        return 2 if self.kind == "dual" else self.excitation.values_told


@dataclass(frozen=True)
class Told:
    """Of samples u = 0 ... T - 1: what is known before each is made, and what it is."""

    past: Tensor  # (B, C, T) in [-1, 1]: for the context stack
    values: Tensor  # (B, T, I) in [-1, 1]: for the WaveRNN
    codes: Tensor | None  # (B, T, k) int64: for the WaveRNN's embeddings
    coarse: Tensor | None  # (B, T, 1) in [-1, 1]: dual, the sample's own coarse byte, for its fine half
    targets: Tensor  # (B, T, 2) int64 coarse and fine, or (B, T, 1)

    def cut(self, first: int, last: int) -> Told:
        """The same of samples first ... last - 1."""
        codes = None if self.codes is None else self.codes[:, first:last]
        coarse = None if self.coarse is None else self.coarse[:, first:last]
        return Told(self.past[..., first:last], self.values[:, first:last], codes, coarse, self.targets[:, first:last])


def dual(wav: Tensor, noise: Tensor | None = None) -> Told:
    """Of waves (B, T) in [-1, 1]; the sample before the first is silence.

    noise (B, T), in coarse steps of 1/128: disturbs what is told, not what has to be said.
    """
    targets = split(wav)
    heard = targets if noise is None else split(wav + noise / 128)
    before = F.pad(scaled(heard, wav.dtype), (0, 0, 1, 0))[:, :-1]
    before[:, 0, 0], before[:, 0, 1] = scaled(128), scaled(0)
    return Told(before[:, None, :, 0], before, None, scaled(targets[:, :, :1], wav.dtype), targets)


def excited(
    wav: Tensor, config: LabelConfig, filters: Tensor | None, gain: Tensor | None, lag: Tensor | None,
    voicing: Tensor | None, noise: Tensor | None = None,
) -> Told:  # fmt: skip
    """Of waves (B, T), their predictors A (B, T / block, p + 1) and gains (B, T / block), lags and voicing (the same).

    noise (B, T), in gains: disturbs what is told, not what has to be said.
    """
    if filters is None or gain is None:
        codes = mulaw.encode(wav, config.bits)
        heard = codes if noise is None else mulaw.encode(wav + noise / 128, config.bits)
        before = F.pad(heard[:, :-1], (1, 0), value=config.classes // 2)
        values = wav.new_zeros(*wav.shape, 0)
        return Told(companded(before, config)[:, None], values, before[..., None], None, codes[..., None])
    of = excitation.told(wav, config.excitation, filters, gain, lag, voicing, noise)
    return Told(of.past, of.values, of.codes, None, of.targets[..., None])


def split(wav: Tensor) -> Tensor:
    """Waves (B, T) in [-1, 1] -> coarse and fine bytes (B, T, 2) int64 of their 16 bits."""
    sample = (wav * 32768).round().clamp(-32768, 32767).long() + 32768
    return torch.stack([sample // 256, sample % 256], dim=2)


def joined(codes: Tensor) -> Tensor:
    """Bytes (B, T, 2) -> waves (B, T) in [-1, 1), of which `split` makes the same bytes, also out of a 16-bit file.

    The original says half a 16-bit step more, and 1 / 65,535 louder: files of it would not split as they were joined.
    """
    return (256 * codes[..., 0] + codes[..., 1]) / 32768 - 1


def scaled(byte: Tensor | int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Bytes as the network hears them: -1 to 1."""
    return torch.as_tensor(byte, dtype=dtype) / 127.5 - 1


def companded(codes: Tensor, config: LabelConfig) -> Tensor:
    """Mu-law codes as the network hears them: -1 to 1, 0 is silence."""
    return excitation.companded(codes, config.classes)


def expanded(codes: Tensor, config: LabelConfig) -> Tensor:
    """Excitations (in gains), or with order 0 samples, of mu-law codes."""
    return excitation.expanded(codes, config.classes, config.span if config.order else 1.0)
