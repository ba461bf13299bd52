"""What one sample tells the next, in torch: both bytes of it, its class, or its excitation behind a prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vocoder_core import excitation
from vocoder_core.recurrent import excitation_teller

from . import labels
from .labels import LabelConfig
from .warmup import State


@dataclass(frozen=True)
class Units:
    """What the decoder is told of K units of 64 samples of each row."""

    vectors: Tensor  # (B, D, K), D may be 0
    filters: Tensor  # (B, K * UNIT / block, p + 1): predictors,
    gain: Tensor  # (B, K * UNIT / block)
    lag: Tensor  # (B, K * UNIT / block): the pitch period in samples,
    voicing: Tensor  # (B, K * UNIT / block): and how voiced it is; ones where labels want none

    @property
    def count(self) -> int:
        """K."""
        return self.vectors.shape[2]

    def periods(self) -> Tensor:
        """Lags as whole samples, none longer than what is remembered."""
        return excitation.periods(self.lag)

    def cut(self, first: int, last: int) -> Units:
        """Units first ... last - 1."""
        blocks = self.gain.shape[1] // max(1, self.vectors.shape[2])
        a, b = first * blocks, last * blocks
        frames = (each[:, a:b] for each in (self.filters, self.gain, self.lag, self.voicing))
        return Units(self.vectors[..., first:last], *frames)


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
        return labels.joined(torch.stack(self.said, dim=1)) if self.said else self.values[:, :0]

    def state(self) -> list[Tensor]:
        """What is remembered between two units."""
        return [self.values]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        (self.values,) = state


class Waves:
    """What is told of samples said as mu-law: the one before."""

    def __init__(self, config: LabelConfig, state: State) -> None:
        self.config, self.codes = config, state.codes
        self.classes = labels.expanded(torch.arange(config.classes, device=state.codes.device), config)

    def begin(self, units: Units) -> None:
        """A unit begins."""
        self.said: list[Tensor] = []

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, 0) and codes (B, 1) that the WaveRNN is told."""
        return self.classes.new_zeros(len(self.codes), 0), self.codes

    def take(self, label: Tensor) -> None:
        """The sample's class (B,) is drawn."""
        self.codes = label[:, None]
        self.said.append(label)

    def past(self) -> Tensor:
        """What the context stack is told of the next sample, (B, 1)."""
        return labels.companded(self.codes, self.config)

    def end(self) -> Tensor:
        """The unit's wave (B, 64)."""
        said = torch.stack(self.said, dim=1) if self.said else self.codes[:, :0]
        return self.classes[said].clamp(-1, 1)

    def state(self) -> list[Tensor]:
        """What is remembered between two units."""
        return [self.codes]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        (self.codes,) = state


class Excitations(excitation_teller.Excitations):
    """What is told of samples said as what a prediction by the mel leaves of them."""

    def __init__(self, config: LabelConfig, state: State) -> None:
        super().__init__(config.excitation, state.codes, state.wav, state.excitation)

    def begin(self, units: Units) -> None:  # type: ignore[override]
        """A unit begins."""
        super().begin(units.filters, units.gain, units.periods(), units.voicing)

    def past(self) -> Tensor:
        """What the context stack is told of the next sample, (B, 2)."""
        return excitation.companded(self.codes, self.config.classes)


def teller(config: LabelConfig, state: State) -> Bytes | Waves | Excitations:
    """What tells samples of such labels, after a state."""
    if config.kind == "dual":
        return Bytes(state)
    return Excitations(config, state) if config.order else Waves(config, state)
