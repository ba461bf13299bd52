"""What one sample tells the next, in torch: both bytes of it, or its excitation beside a prediction by the mel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import excitation, mulaw
from vocoder_core.excitation import MEMORY, TAPS, WIDTHS

from . import labels
from .labels import LabelConfig
from .timing import UNIT
from .warmup import State


@dataclass(frozen=True)
class Units:
    """What the decoder is told of K units of 64 samples of each row."""

    vectors: Tensor  # (B, D, K), D may be 0
    filters: Tensor  # (B, K * UNIT / block, p + 1): predictors,
    gain: Tensor  # (B, K * UNIT / block)
    lag: Tensor  # (B, K * UNIT / block): the pitch period in samples,
    voicing: Tensor  # (B, K * UNIT / block): and how voiced it is; ones where labels want none

    def periods(self) -> Tensor:
        """Lags as whole samples, none longer than what is remembered."""
        return excitation.periods(self.lag)

    def cut(self, first: int, last: int) -> Units:
        """Units first ... last - 1."""
        blocks = self.gain.shape[1] // max(1, self.vectors.shape[2])
        a, b = first * blocks, last * blocks
        frames = (each[:, a:b] for each in (self.filters, self.gain, self.lag, self.voicing))
        return Units(self.vectors[..., first:last], *frames)


def of_nothing(config: LabelConfig, channels: int) -> Units:
    """No units of one row, D channels."""
    blocks = torch.ones(1, 0)
    return Units(torch.ones(1, channels, 0), torch.ones(1, 0, config.order + 1), blocks, blocks, blocks)


class Bytes:
    """What is told of 16-bit samples: both bytes of the one before."""

    def __init__(self, state: State) -> None:
        self.values = state.values

    def begin(self, units: Units) -> None:
        """A unit begins."""
        self.said: list[Tensor] = []

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, 2) and codes (B, 0) that the WaveRNN is told."""
        return self.values, self.values[:, :0].long()

    def take(self, label: Tensor) -> None:
        """The sample's bytes (B, 2) are drawn."""
        self.values = labels.scaled(label).to(self.values)
        self.said.append(label)

    def past(self) -> Tensor:
        """What the context stack is told of the next sample, (B, 1)."""
        return self.values[:, :1]

    def end(self) -> Tensor:
        """The unit's wave (B, 64)."""
        return labels.joined(torch.stack(self.said, dim=1))


class Excitations:
    """What is told of samples said as mu-law: as one, or as what a prediction by the mel leaves of it (labels.py)."""

    def __init__(self, config: LabelConfig, state: State) -> None:
        self.config, self.codes, self.wav, self.excitation = config, state.codes, state.wav, state.excitation
        self.classes = labels.expanded(torch.arange(config.classes, device=state.codes.device), config)
        reach = WIDTHS[-1] // 2
        self.around = torch.arange(-reach, reach + 1, device=state.codes.device)

    def begin(self, units: Units) -> None:
        """A unit begins: room for 64 samples, behind those that are still needed."""
        self.t, self.units = 0, units
        self.wav = F.pad(self.wav[:, self.wav.shape[1] - self.config.order :], (0, UNIT))
        self.excitation = F.pad(self.excitation[:, -MEMORY:], (0, UNIT), value=self.config.classes // 2)

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, I) and codes (B, k) that the WaveRNN is told."""
        block, order, bits = self.t * self.units.gain.shape[1] // UNIT, self.config.order, self.config.bits
        self.gain = self.units.gain[:, block]
        self.predicted, values = torch.zeros_like(self.gain), self.gain.new_zeros(len(self.gain), 0)
        if not order:
            return values, self.codes
        last = self.wav[:, self.t : self.t + order].flip(1).double()
        self.predicted = -(last * self.units.filters[:, block, 1:]).sum(1).float()
        codes = [self.codes, mulaw.encode(self.predicted, bits)[:, None]]
        if self.config.pitch:
            values, foretold = self.period_ago(block)
            codes.append(mulaw.encode(foretold / self.config.span, bits)[:, None])
        return values, torch.cat(codes, dim=1)

    def period_ago(self, block: int) -> tuple[Tensor, Tensor]:
        """Values (B, taps + widths) of the excitation one pitch period ago, and what it foretells (B,)."""
        place = MEMORY + self.t - self.units.periods()[:, block, None] + self.around
        codes = self.excitation.gather(1, place.clamp(min=0))
        middle = len(self.around) // 2
        taps = codes[:, [middle + tap for tap in TAPS]]
        square = self.classes[codes].square()
        powers = [square[:, middle - width // 2 : middle + width // 2 + 1].mean(1) for width in WIDTHS]
        loud = excitation.loudness(torch.stack(powers, dim=1))
        values = torch.cat([labels.companded(taps, self.config), loud], dim=1)
        return values, excitation.foretells(self.classes[taps], self.units.voicing[:, block])

    def take(self, label: Tensor) -> None:
        """The sample's class (B,) is drawn."""
        if self.config.order:
            now = MEMORY + self.t
            before = self.excitation[:, now - excitation.HELD + 1 : now]
            label = excitation.held(label, before, self.classes, self.config.excitation)
        wav = (self.predicted + self.gain * self.classes[label]).clamp(-1, 1)
        self.wav[:, self.config.order + self.t] = wav
        self.excitation[:, MEMORY + self.t] = label
        self.codes = label[:, None]
        if self.config.order:
            self.codes = torch.stack([label, mulaw.encode(wav, self.config.bits)], dim=1)
        self.t += 1

    def past(self) -> Tensor:
        """What the context stack is told of the next sample, (B, C)."""
        return labels.companded(self.codes, self.config)

    def end(self) -> Tensor:
        """The unit's wave (B, 64)."""
        return self.wav[:, self.config.order :]
