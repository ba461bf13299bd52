"""Labels: what the WaveRNN is told of a sample before it is made, and what it has to say about it.

dual    16 bits as a coarse and a fine byte (Kalchbrenner et al. 2018, arXiv 1802.08435), as in mkotha/WaveRNN:

            s + 32768 = 256 c + f        told: c[u-1], f[u-1], and the fine half also c[u]        said: c[u], then f[u]

mulaw   one mu-law byte of the excitation (LPCNet, Valin & Skoglund 2019, arXiv 1810.11846), for small networks: what a
        linear prediction p by the mel foresees is taken away, the mel's gain g is divided out,

            e[u] = (x[u] - p[u]) / g     told: e[u-1], x[u-1], p[u], and what e was one pitch period ago; said: e[u]

        so that a network which knows nothing yet whispers what the mel says.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import mulaw

from .timing import UNIT

TAPS = (-2, -1, 0, 1, 2)  # of the pitch period: e[u - lag + tap],
WEIGHTS = (0.1, 0.2, 0.4, 0.2, 0.1)  # with which they foretell e[u], as far as it is voiced,
WIDTHS = (5, 17)  # and the samples around it of which the power is told, as LOUD log(1 + power / QUIET)
QUIET, LOUD = 0.01, 0.15
HELD = 128  # samples over whose mean generation holds the power of the excitation below `loudest`
LEAST_LAG = WIDTHS[-1] // 2 + 1  # so that all of these are known


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
        if not 6 <= self.bits <= 10:
            raise ValueError(f"labels.bits is {self.bits}; expected 6 to 10")
        if self.block < 1 or UNIT % self.block:
            raise ValueError(f"labels.block is {self.block}; expected a divisor of {UNIT}")
        if not 0 <= self.order <= self.block:
            raise ValueError(f"labels.order is {self.order}; expected 0 to labels.block {self.block}")
        if not self.loudest > 0:
            raise ValueError(f"labels.loudest is {self.loudest}; expected more than 0")
        if not self.span > 0 or self.embedding < 1:
            raise ValueError(f"labels.span is {self.span}, labels.embedding {self.embedding}; expected more than 0")

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
        return 0 if self.kind == "dual" else 1 + 2 * bool(self.order) + self.pitch

    @property
    def values_told(self) -> int:
        """How many values are told of each sample."""
        return 2 if self.kind == "dual" else (len(TAPS) + len(WIDTHS)) * self.pitch


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
    scale = gain.repeat_interleave(config.block, 1)
    heard = wav if noise is None else wav + noise * scale
    predicted = predictions(heard, filters, config.block)
    target = mulaw.encode((wav - predicted) / (scale * config.span), config.bits)
    e = target if noise is None else mulaw.encode((heard - predicted) / (scale * config.span), config.bits)
    silence = config.classes // 2
    before = F.pad(e[:, :-1], (1, 0), value=silence)
    x_before = mulaw.encode(F.pad(heard[:, :-1], (1, 0)), config.bits)
    codes = torch.stack([before, x_before, mulaw.encode(predicted, config.bits)], dim=2)
    loud = companded(codes[..., :2], config)
    values = wav.new_zeros(*wav.shape, 0)
    if config.pitch:
        assert lag is not None and voicing is not None, "labels with pitch come with it"
        place = periods(lag).repeat_interleave(config.block, 1)
        taps, powers = period_ago(expanded(e, config), place)
        foretold = foretells(taps, voicing.repeat_interleave(config.block, 1))
        codes = torch.cat([codes, mulaw.encode(foretold / config.span, config.bits)[..., None]], dim=2)
        values = torch.cat([period_ago(companded(e, config), place)[0], powers], dim=2)
    return Told(loud.transpose(1, 2), values, codes, None, target[..., None])


def predictions(wav: Tensor, filters: Tensor, block: int) -> Tensor:
    """p[u] = - a_1 x[u-1] - ... - a_p x[u-p] (B, T) of waves (B, T), T = blocks * block."""
    order = filters.shape[2] - 1
    past = F.pad(wav, (order, 0))[:, :-1].unfold(1, order, 1).unflatten(1, (-1, block))  # (B, blocks, block, p)
    # no matrix product: it rounds otherwise in a batch, and a code next to a boundary would turn; it is slower, too
    return -(past * filters[..., None, 1:].flip(-1)).sum(-1).flatten(1)


def periods(lag: Tensor) -> Tensor:
    """Lags as whole samples."""
    return lag.round().long().clamp(min=LEAST_LAG)


def period_ago(e: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
    """e[u - period + tap] (B, T, taps) of e (B, T), 0 before the first, and its power there (B, T, widths)."""
    reach = WIDTHS[-1] // 2
    square = F.pad(e.square(), (reach, reach))[:, None]
    places = torch.arange(e.shape[1], device=e.device) - period
    taps = [e.gather(1, at.clamp(min=0)) * (at >= 0) for at in (places + tap for tap in TAPS)]
    powers = []
    for width in WIDTHS:
        around = F.avg_pool1d(square[..., reach - width // 2 : square.shape[2] - reach + width // 2], width, 1)[:, 0]
        powers.append(loudness(around.gather(1, places.clamp(min=0)) * (places >= 0)))
    return torch.stack(taps, dim=2), torch.stack(powers, dim=2)


def held(label: Tensor, before: Tensor, classes: Tensor, config: LabelConfig) -> Tensor:
    """Labels (B,) that keep the power within `loudest`, after codes (B, HELD - 1); classes (Q,): what each excites.

    A network that hears itself louder than speech ever was may say what is louder still.
    """
    allowed = (config.loudest * HELD - classes[before].double().square().sum(1)).clamp(min=0).sqrt()
    e = classes[label].double()
    return torch.where(e.abs() > allowed, mulaw.encode(e.sign() * allowed / config.span, config.bits), label)


def foretells(taps: Tensor, voicing: Tensor) -> Tensor:
    """What e[u] may be (...) by taps (..., taps) and voicing (...)."""
    return (taps @ taps.new_tensor(WEIGHTS)) * voicing


def loudness(power: Tensor) -> Tensor:
    """A power (...) of excitation as the network hears it; 0 is silence."""
    return LOUD * (1 + power / QUIET).log()


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
    half = config.classes // 2
    return (codes - half) / (half - 1)


def expanded(codes: Tensor, config: LabelConfig) -> Tensor:
    """Excitations (in gains), or with order 0 samples, of mu-law codes."""
    half = config.classes // 2
    y = (codes.double() - half) / (half - 1)
    magnitude = torch.expm1(y.abs() * log1p(2 * half - 1)) / (2 * half - 1)
    return (y.sign() * magnitude * (config.span if config.order else 1.0)).float()
