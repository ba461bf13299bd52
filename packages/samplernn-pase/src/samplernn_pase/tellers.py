"""What the samples that were said tell the tiers, in torch: as mu-law of the wave, or behind a linear prediction."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import excitation, mulaw
from vocoder_core.recurrent import excitation_teller

from . import labels
from .labels import LabelConfig


@dataclass(frozen=True)
class Frames:
    """What K frames of each row are told."""

    conds: Tensor  # (B, K, C)
    filters: Tensor  # (B, K, p + 1): predictors,
    gain: Tensor  # (B, K): their gains; without a prediction ones
    lag: Tensor  # (B, K): the pitch period in samples,
    voicing: Tensor  # (B, K): and how voiced it is; ones where labels want none

    @property
    def count(self) -> int:
        """K."""
        return self.conds.shape[1]

    def cut(self, first: int, last: int) -> Frames:
        """Frames first ... last - 1."""
        return Frames(*(each[:, first:last] for each in (self.conds, self.filters, self.gain, self.lag, self.voicing)))


class Waves:
    """Samples that are mu-law of the wave. `kept`: samples that the tiers read."""

    def __init__(self, config: LabelConfig, rows: int, kept: int, device: torch.device) -> None:
        self.config, self.kept = config, kept
        self.codes = torch.full((rows, kept), config.classes // 2, device=device)
        self.samples = labels.decode(torch.arange(config.classes, device=device), config)

    def begin(self, frames: Frames, samples: int) -> None:
        """The next samples."""
        self.t = 0
        self.codes = F.pad(self.codes[:, -self.kept :], (0, samples))

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, 0) and codes (B, 0) that the sample tier is told beside the past ones."""
        return self.samples.new_zeros(len(self.codes), 0), self.codes[:, :0]

    def take(self, label: Tensor) -> None:
        """The sample's class (B,) is drawn."""
        self.codes[:, self.kept + self.t] = label
        self.t += 1

    def window(self, taps: int) -> Tensor:
        """The last codes (B, taps), the oldest first."""
        now = self.kept + self.t
        return self.codes[:, now - taps : now]

    def past(self, frame: int) -> Tensor:
        """What a frame tier hears (B, channels frame) of the last samples: decoded, as training hears them."""
        return self.samples[self.window(frame)]

    def end(self) -> Tensor:
        """The wave (B, samples)."""
        return self.samples[self.codes[:, self.kept :]]

    def state(self) -> list[Tensor]:
        """What is remembered: the last codes (B, kept)."""
        return [self.codes[:, self.codes.shape[1] - self.kept :]]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        (self.codes,) = state


class Excitations(excitation_teller.Excitations):
    """Samples that are mu-law of what a prediction by the mel leaves. The rest as in Waves."""

    def __init__(self, config: LabelConfig, rows: int, kept: int, device: torch.device) -> None:
        silence = excitation_teller.Excitations.silence(config.excitation(kept), rows, kept, device)
        super().__init__(silence.config, silence.codes, silence.wav, silence.excitation)

    def begin(self, frames: Frames, samples: int) -> None:  # type: ignore[override]
        """The next samples: whole frames."""
        super().begin(frames.filters, frames.gain, excitation.periods(frames.lag), frames.voicing)

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, I) and codes (B, k) that the sample tier is told beside the past ones."""
        values, codes = super().told()
        return values, codes[:, 1:]  # the first is the last of the window

    def window(self, taps: int) -> Tensor:
        """The last codes (B, taps) of the excitation, the oldest first."""
        now = excitation.MEMORY + self.t
        return self.excitation[:, now - taps : now]

    def past(self, frame: int) -> Tensor:
        """What a frame tier hears (B, 2 frame): the excitation of the last samples, then the samples, companded."""
        now = self.kept + self.t
        wav = mulaw.nearest(self.wav[:, now - frame : now], self.config.bits)
        return excitation.companded(torch.cat([self.window(frame), wav], dim=1), self.config.classes)


def teller(config: LabelConfig, rows: int, hop: int, device: torch.device) -> Waves | Excitations:
    """What tells samples of such labels; hop: samples of a frame, and of the past that tiers read."""
    return Excitations(config, rows, hop, device) if config.order else Waves(config, rows, hop, device)
