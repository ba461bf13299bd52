"""What one sample tells the next behind a linear prediction, in torch: excitation.told, sample by sample.

    teller.begin(filters, gain, period, voicing)     # of the next blocks
    values, codes = teller.told()                    # what the network is told of the next sample
    teller.take(label)                               # what it drew
    ...
    wav = teller.end()                               # (B, T)

The same compiled: excitation_kernel.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import excitation, mulaw
from ..excitation import MEMORY, TAPS, WEIGHTS, WIDTHS, ExcitationConfig


class Excitations:
    """Rows that say one sample after another. See the file."""

    def __init__(self, config: ExcitationConfig, codes: Tensor, wav: Tensor, said: Tensor) -> None:
        """codes (B, 2) int64: e[u-1] and x[u-1]; wav (B, order or more): the last samples; said (B, MEMORY): codes."""
        self.config, self.codes, self.wav, self.excitation = config, codes, wav, said
        self.kept = wav.shape[1]
        self.classes = excitation.expanded(
            torch.arange(config.classes, device=codes.device), config.classes, config.span
        )
        reach = WIDTHS[-1] // 2
        self.around = torch.arange(-reach, reach + 1, device=codes.device)
        # tensors from the start: what is made of Python's numbers while samples are said, no CUDA graph can hold
        self.taps, self.weights = torch.tensor(TAPS, device=codes.device), torch.tensor(WEIGHTS, device=codes.device)

    @staticmethod
    def silence(config: ExcitationConfig, rows: int, kept: int, device: torch.device) -> Excitations:
        """Rows in front of which nothing was said; kept: samples that are remembered."""
        said = torch.full((rows, MEMORY), config.classes // 2, device=device)
        return Excitations(config, said[:, :2], torch.zeros(rows, kept, device=device), said)

    def begin(self, filters: Tensor, gain: Tensor, period: Tensor, voicing: Tensor) -> None:
        """The next blocks: filters (B, blocks, p + 1), gain, period (int64) and voicing (B, blocks)."""
        self.t, self.filters, self.gain, self.period, self.voicing = 0, filters, gain, period, voicing
        samples = gain.shape[1] * self.config.block
        self.wav = F.pad(self.wav[:, self.wav.shape[1] - self.kept :], (0, samples))
        self.excitation = F.pad(self.excitation[:, -MEMORY:], (0, samples), value=self.config.classes // 2)

    def told(self) -> tuple[Tensor, Tensor]:
        """Values (B, I) and codes (B, k) that are told of the next sample."""
        block, now = self.t // self.config.block, self.kept + self.t
        last = self.wav[:, now - self.config.order : now].flip(1).double()
        self.predicted = -(last * self.filters[:, block, 1:]).sum(1).float()
        codes = [self.codes, mulaw.nearest(self.predicted, self.config.bits)[:, None]]
        values = self.gain.new_zeros(len(self.gain), 0)
        if self.config.pitch:
            values, foretold = self.period_ago(block)
            codes.append(mulaw.nearest(foretold / self.config.span, self.config.bits)[:, None])
        return values, torch.cat(codes, dim=1)

    def period_ago(self, block: int) -> tuple[Tensor, Tensor]:
        """Values (B, taps + widths) of the excitation one pitch period ago, and what it foretells (B,)."""
        codes = self.excitation.gather(1, MEMORY + self.t - self.period[:, block, None] + self.around)
        middle = len(self.around) // 2
        taps = codes[:, middle + self.taps]
        square = self.classes[codes].square()
        powers = [square[:, middle - width // 2 : middle + width // 2 + 1].mean(1) for width in WIDTHS]
        loud = excitation.loudness(torch.stack(powers, dim=1))
        values = torch.cat([excitation.companded(taps, self.config.classes), loud], dim=1)
        return values, excitation.foretells(self.classes[taps], self.voicing[:, block], self.weights)

    def take(self, label: Tensor) -> None:
        """The sample's class (B,) is drawn; what is louder than speech is held."""
        now = MEMORY + self.t
        before = self.excitation[:, now - excitation.HELD + 1 : now]
        label = excitation.held(label, before, self.classes, self.config)
        wav = (self.predicted + self.gain[:, self.t // self.config.block] * self.classes[label]).clamp(-1, 1)
        self.wav[:, self.kept + self.t], self.excitation[:, now] = wav, label
        self.codes = torch.stack([label, mulaw.nearest(wav, self.config.bits)], dim=1)
        self.t += 1

    def end(self) -> Tensor:
        """The waves (B, T) of the blocks that were begun."""
        return self.wav[:, self.kept :]

    def state(self) -> list[Tensor]:
        """What is remembered between two blocks."""
        return [self.codes, self.wav[:, self.wav.shape[1] - self.kept :], self.excitation[:, -MEMORY:]]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        self.codes, self.wav, self.excitation = state
