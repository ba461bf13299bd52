"""Overtone: what the wave has been and what the codes say, heard at four rates, for the WaveRNN to speak by.

mkotha/WaveRNN (MIT, 2019), model "43.upconv". Three convolutions look back 10, 46 and 190 samples; three GRUs carry on
what they hear every 64, 16 and 4 samples, each handing four vectors to the faster one. timing.py draws when.

    past (B, C, L) -> conv0 --------------------------------------------+
                        |                                               |
                      conv1 -------------------+                        |
                        |                      |                        |
                      conv2 + condition (1/64) |                        |
                        '--> rnn0 -> x 4 ----> + -> rnn1 -> x 4 ------> + -> rnn2 -> x 4 -> (B, n + W, R)
                             every 64          every 16                 every 4

Who speaks enters every layer: as columns for a one-hot speaker, or as a learned vector. Written from the description.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .encoder import gated_first
from .gru import GRU
from .timing import KERNEL, Timing


@dataclass(frozen=True)
class OvertoneConfig:
    """Sizes of the decoder. The default is the original's: 14,556,352 parameters with 109 speakers."""

    conv: int = 128  # channels of the convolutions
    rnn: int = 512  # R, of the three upper GRUs
    hidden: int = 896  # H, of the WaveRNN's
    linear: int = 896  # of its layer before each softmax
    warmup: int = 64  # W, steps that each GRU is given before it is heard
    advance: int = 15  # units of 64 samples that the condition is ahead: 63 samples more are the look-ahead
    speaker: bool = True  # whether it is told who speaks; a mel says it

    def __post_init__(self) -> None:
        for name in ("conv", "rnn", "hidden", "linear", "warmup"):
            if getattr(self, name) < 1:
                raise ValueError(f"overtone.{name} is {getattr(self, name)}; expected 1 or more")
        if self.advance < 0:
            raise ValueError(f"overtone.advance is {self.advance}; expected 0 or more")
        if self.hidden % 2:
            raise ValueError(f"overtone.hidden is {self.hidden}; expected an even number: half of it says each byte")


class Overtone(nn.Module):
    """The context stack; see the file."""

    def __init__(self, config: OvertoneConfig, timing: Timing, channels: int, condition: int, speaker: int) -> None:
        """channels C of the past, D of the condition (0: none), S of the speaker (0: none)."""
        super().__init__()
        self.timing = timing
        self.convs = nn.ModuleList(Quarter(channels if i == 0 else config.conv, config.conv, speaker) for i in range(3))
        inputs = (config.conv + condition, config.conv + config.rnn, config.conv + config.rnn)
        self.rnns = nn.ModuleList(Upper(size, config.rnn, speaker) for size in inputs)

    def forward(self, past: Tensor, condition: Tensor | None, speaker: Tensor | None) -> Tensor:
        """What is heard (B, n + W, R) from sample `timing.rnn[2]` on.

        past (B, C, left + n): of sample u what is known before it is made. condition (B, D, timing.units(n)).
        """
        heard = []
        for conv in self.convs:
            past = conv(past, speaker)
            heard.append(past.transpose(1, 2))
        slowest = heard[2] if condition is None else torch.cat([heard[2], condition.transpose(1, 2)], dim=2)
        warm, (skip1, skip0) = self.timing.warmup, self.timing.skips
        x: Tensor = self.rnns[0](slowest, speaker, warm)
        for rnn, beside in zip(self.rnns[1:], (heard[1][:, skip1:], heard[0][:, skip0:])):
            x = rnn(torch.cat([beside, x], dim=2), speaker, warm)
        return x


class Quarter(nn.Module):
    """Two gated convolutions of stride 2: (B, C, L) -> (B, C', (L - 10) // 4 + 1)."""

    def __init__(self, channels_in: int, channels: int, speaker: int) -> None:
        super().__init__()
        self.halves = nn.ModuleList(Half(channels_in if i == 0 else channels, channels, speaker) for i in range(2))

    def forward(self, x: Tensor, speaker: Tensor | None) -> Tensor:
        """See the class; speaker (B, S)."""
        for half in self.halves:
            x = half(x, speaker)
        return x


class Half(nn.Module):
    """One of them: sigmoid(a) tanh(b), the other way round than the encoder's."""

    def __init__(self, channels_in: int, channels: int, speaker: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels_in, 2 * channels, KERNEL, stride=2)
        gated_first(self.wide)
        self.speaker = nn.Linear(speaker, 2 * channels, bias=False) if speaker else None

    def forward(self, x: Tensor, speaker: Tensor | None) -> Tensor:
        """See the class."""
        wide = self.wide(x)
        if self.speaker is not None:
            wide = wide + self.speaker(speaker)[:, :, None]
        a, b = wide.chunk(2, dim=1)
        return torch.sigmoid(a) * torch.tanh(b)


class Upper(nn.Module):
    """A GRU and the step down to a rate four times as high: (B, N, I) -> (B, 4 (N - warm), R)."""

    def __init__(self, inputs: int, size: int, speaker: int) -> None:
        super().__init__()
        self.gru = GRU(inputs, size, speaker)
        self.spread = nn.ConvTranspose1d(size, size, 4, stride=4)

    def forward(self, x: Tensor, speaker: Tensor | None, warm: int) -> Tensor:
        """See the class; speaker (B, S)."""
        hidden = self.gru(x, speaker)[:, warm:]
        spread: Tensor = self.spread(hidden.transpose(1, 2)).transpose(1, 2)
        return spread
