"""Excitation: what a linear prediction by the mel leaves of a sample, as a mu-law class, and what is told before it.

LPCNet (Valin & Skoglund 2019, arXiv 1810.11846), for small networks. What the prediction p by the mel
(linear_prediction.py) foresees is taken away, the mel's gain g is divided out:

    e[u] = (x[u] - p[u]) / g        told: e[u-1], x[u-1], p[u], and what e was one pitch period ago; said: e[u]

so that a network which knows nothing yet whispers what the mel says. Functions of whole waves, for training; the same
sample by sample, for generation: recurrent/excitation_teller.py, and compiled excitation_kernel.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log1p

import torch
import torch.nn.functional as F
from torch import Tensor

from . import mulaw

TAPS = (-2, -1, 0, 1, 2)  # of the pitch period: e[u - lag + tap],
WEIGHTS = (0.1, 0.2, 0.4, 0.2, 0.1)  # with which they foretell e[u], as far as it is voiced,
WIDTHS = (5, 17)  # and the samples around it of which the power is told, as LOUD log(1 + power / QUIET)
QUIET, LOUD = 0.01, 0.15
HELD = 128  # samples over whose mean generation holds the power of the excitation below `loudest`
LEAST_LAG = WIDTHS[-1] // 2 + 1  # so that all of these are known
MEMORY = 1024  # samples of excitation that generation remembers: more than the longest pitch period


@dataclass(frozen=True)
class ExcitationConfig:
    """What a sample is told of by its excitation. Fields as in the section `labels` of a vocoder's settings."""

    bits: int = 8  # 2^bits classes
    order: int = 24  # of the linear prediction; 0: none, and the gain alone is divided out
    block: int = 64  # samples with one predictor
    pitch: bool = True  # whether e one pitch period ago is told
    span: float = 16.0  # the largest excitation, in gains
    loudest: float = 1.6  # the power of what is said, over 8 ms, is held at it; of speech it is about 1

    def __post_init__(self) -> None:
        if not 6 <= self.bits <= 10:
            raise ValueError(f"labels.bits is {self.bits}; expected 6 to 10")
        if self.block < 1:
            raise ValueError(f"labels.block is {self.block}; expected 1 or more samples")
        if not 0 <= self.order <= self.block:
            raise ValueError(f"labels.order is {self.order}; expected 0 to labels.block {self.block}")
        for name in ("span", "loudest"):
            if not getattr(self, name) > 0:
                raise ValueError(f"labels.{name} is {getattr(self, name)}; expected more than 0")

    @property
    def classes(self) -> int:
        """Q."""
        return 2**self.bits

    @property
    def codes_told(self) -> int:
        """k: how many codes are told of each sample: e[u-1], x[u-1], p[u], and what the pitch foretells of e[u]."""
        return 3 + self.pitch

    @property
    def values_told(self) -> int:
        """I: how many values are told of each sample: taps and powers of e one pitch period ago."""
        return (len(TAPS) + len(WIDTHS)) * self.pitch


@dataclass(frozen=True)
class Told:
    """Of samples u = 0 ... T - 1: what is known before each is made, and what it is."""

    past: Tensor  # (B, 2, T) in [-1, 1]: e[u-1] and x[u-1], companded
    values: Tensor  # (B, T, I) in [-1, 1] and about it
    codes: Tensor  # (B, T, k) int64
    targets: Tensor  # (B, T) int64

    def cut(self, first: int, last: int) -> Told:
        """The same of samples first ... last - 1."""
        values, codes, targets = (each[:, first:last] for each in (self.values, self.codes, self.targets))
        return Told(self.past[..., first:last], values, codes, targets)


def told(
    wav: Tensor, config: ExcitationConfig, filters: Tensor, gain: Tensor, lag: Tensor | None = None,
    voicing: Tensor | None = None, noise: Tensor | None = None,
) -> Told:  # fmt: skip
    """Of waves (B, T), their predictors A (B, T / block, p + 1) and gains (B, T / block), lags and voicing (the same).

    The samples before the first are silence. Lags in samples and voicing 0 to 1 are read where config.pitch says so.
    noise (B, T), in gains: disturbs what is told, not what has to be said.
    """
    scale = gain.repeat_interleave(config.block, 1)
    heard = wav if noise is None else wav + noise * scale
    predicted = predictions(heard, filters, config.block)
    target = mulaw.encode((wav - predicted) / (scale * config.span), config.bits)
    e = target if noise is None else mulaw.encode((heard - predicted) / (scale * config.span), config.bits)
    before = F.pad(e[:, :-1], (1, 0), value=config.classes // 2)
    x_before = mulaw.encode(F.pad(heard[:, :-1], (1, 0)), config.bits)
    codes = torch.stack([before, x_before, mulaw.encode(predicted, config.bits)], dim=2)
    loud = companded(codes[..., :2], config.classes)
    values = wav.new_zeros(*wav.shape, 0)
    if config.pitch:
        assert lag is not None and voicing is not None, "labels with pitch come with it"
        place = periods(lag).repeat_interleave(config.block, 1)
        taps, powers = period_ago(expanded(e, config.classes, config.span), place)
        foretold = foretells(taps, voicing.repeat_interleave(config.block, 1))
        codes = torch.cat([codes, mulaw.encode(foretold / config.span, config.bits)[..., None]], dim=2)
        values = torch.cat([period_ago(companded(e, config.classes), place)[0], powers], dim=2)
    return Told(loud.transpose(1, 2), values, codes, target)


def predictions(wav: Tensor, filters: Tensor, block: int) -> Tensor:
    """p[u] = - a_1 x[u-1] - ... - a_p x[u-p] (B, T) of waves (B, T), T = blocks * block."""
    order = filters.shape[2] - 1
    past = F.pad(wav, (order, 0))[:, :-1].unfold(1, order, 1).unflatten(1, (-1, block))  # (B, blocks, block, p)
    # no matrix product: it rounds otherwise in a batch, and a code next to a boundary would turn; it is slower, too
    return -(past * filters[..., None, 1:].flip(-1)).sum(-1).flatten(1)


def periods(lag: Tensor) -> Tensor:
    """Lags as whole samples, none longer than what is remembered."""
    return lag.round().long().clamp(LEAST_LAG, MEMORY - WIDTHS[-1])


def period_ago(e: Tensor, period: Tensor) -> tuple[Tensor, Tensor]:
    """e[u - period + tap] (B, T, taps) of e (B, T), 0 before the first, and its power there (B, T, widths)."""
    reach = WIDTHS[-1] // 2
    behind = F.pad(e, (WIDTHS[-1], reach))  # silence in front of the first, as generation remembers it
    places = (torch.arange(e.shape[1], device=e.device) - period).clamp(min=-reach - 1) + WIDTHS[-1]
    taps = [behind.gather(1, places + tap) for tap in TAPS]
    square = behind.square()[:, None]
    powers = [loudness(F.avg_pool1d(square, width, 1)[:, 0].gather(1, places - width // 2)) for width in WIDTHS]
    return torch.stack(taps, dim=2), torch.stack(powers, dim=2)


def held(label: Tensor, before: Tensor, classes: Tensor, config: ExcitationConfig) -> Tensor:
    """Labels (B,) that keep the power within `loudest`, after codes (B, HELD - 1); classes (Q,): what each excites.

    A network that hears itself louder than speech ever was may say what is louder still.
    """
    allowed = (config.loudest * HELD - classes[before].double().square().sum(1)).clamp(min=0).sqrt()
    e = classes[label].double()
    return torch.where(e.abs() > allowed, mulaw.nearest(e.sign() * allowed / config.span, config.bits), label)


def foretells(taps: Tensor, voicing: Tensor, weights: Tensor | None = None) -> Tensor:
    """What e[u] may be (...) by taps (..., taps) and voicing (...); weights: WEIGHTS as a tensor, if one is at hand."""
    return (taps @ (taps.new_tensor(WEIGHTS) if weights is None else weights)) * voicing


def loudness(power: Tensor) -> Tensor:
    """A power (...) of excitation as the network hears it; 0 is silence."""
    return LOUD * (1 + power / QUIET).log()


def companded(codes: Tensor, classes: int) -> Tensor:
    """Mu-law codes as the network hears them: -1 to 1, 0 is silence."""
    half = classes // 2
    return (codes - half) / (half - 1)


def expanded(codes: Tensor, classes: int, span: float) -> Tensor:
    """Excitations (in gains) of mu-law codes; with span 1, samples."""
    half = classes // 2
    y = (codes.double() - half) / (half - 1)
    magnitude = torch.expm1(y.abs() * log1p(2 * half - 1)) / (2 * half - 1)
    return (y.sign() * magnitude * span).float()
