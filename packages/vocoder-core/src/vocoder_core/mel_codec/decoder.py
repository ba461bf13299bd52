"""Decoder: vectors of codes into a mel, in the voice that it is told.

    vectors (B, D, N), speaker (B, S) -> conv layers at N -> r frames a code -> conv layers at F -> mel (B, M, N * r)
                                           side (B, Q, F), such as pitch ----^

It is told who speaks by a vector: it shifts every layer, and scales and shifts (FiLM, Perez et al. 2018) at both rates.
Layers have no norm: what it makes of codes depends on the codes around, never on the length of the file.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig, loudest_level, silence_level

DILATIONS = (1, 2, 4)
DAMPING = 0.7  # of a layer's first weights: sums of many layers start of moderate size
RANGE = 8.0  # deviations of log-mel from silence to the loudest


class Decoder(nn.Module):
    """Vectors (B, D, N), speakers (B, S) and what else is known of each frame (B, Q, N * r) -> mels (B, M, N * r).

    dim: D. channels: of its layers. frames_per_code: r. coarse_layers: at the rate of codes. fine_layers: at that of
    frames. speaker_size: S, 0 where nobody is named. side: Q.
    """

    def __init__(
        self,
        mel: MelConfig,
        dim: int,
        *,
        channels: int,
        frames_per_code: int,
        coarse_layers: int,
        fine_layers: int,
        speaker_size: int = 0,
        side: int = 0,
    ) -> None:
        super().__init__()
        self.stride = frames_per_code
        low, high = silence_level(mel), loudest_level(mel)
        self.middle, self.scale = (low + high) / 2, (high - low) / RANGE
        self.first = nn.Conv1d(dim, channels, 3, padding=1)
        self.coarse = Voiced(channels, coarse_layers, speaker_size)
        self.spread = nn.Conv1d(channels, channels * self.stride, 1)
        self.side = nn.Conv1d(side, channels, 3, padding=1) if side else None
        self.fine = Voiced(channels, fine_layers, speaker_size)
        self.last = nn.Conv1d(channels, mel.n_mels, 1)
        self.colour = nn.Linear(speaker_size, mel.n_mels) if speaker_size else None

    def forward(self, vectors: Tensor, speaker: Tensor | None = None, side: Tensor | None = None) -> Tensor:
        """See the class; a side of fewer frames, N * r - r < F, is taken for silent behind its end."""
        x = self.spread(self.coarse(self.first(vectors), speaker))
        x = x.unflatten(1, (-1, self.stride)).transpose(2, 3).flatten(2)  # (B, C * r, N) -> (B, C, N * r)
        if self.side is not None:
            assert side is not None, "a decoder with side channels hears them"
            x = x + self.side(F.pad(side, (0, x.shape[2] - side.shape[2])))
        out = self.last(F.gelu(self.fine(x, speaker))).float()
        if self.colour is not None:
            out = out + self.colour(speaker)[:, :, None]
        return out * self.scale + self.middle


class Voiced(nn.Module):
    """Residual layers (B, C, F) -> (B, C, F) that each hear the speaker (B, S): x + conv(gelu(x + shift))."""

    def __init__(self, width: int, layers: int, speaker_size: int) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.ModuleList(layer(width, DILATIONS[i % len(DILATIONS)]) for i in range(layers))
        self.speaker = nn.Linear(speaker_size, (2 + layers) * width) if speaker_size else None

    def forward(self, x: Tensor, speaker: Tensor | None) -> Tensor:
        """See the class."""
        if self.speaker is None:
            for each in self.layers:
                x = x + each(F.gelu(x))
            return x
        told = self.speaker(speaker).to(x.dtype)[:, :, None].split(self.width, 1)
        x = torch.addcmul(told[1], x, 1 + told[0])
        for each, shift in zip(self.layers, told[2:]):
            x = x + each(F.gelu(x + shift))
        return x


def layer(channels: int, dilation: int) -> nn.Conv1d:
    """A convolution over three places, (B, C, N) -> (B, C, N), damped at first."""
    made = nn.Conv1d(channels, channels, 3, padding=dilation, dilation=dilation)
    with torch.no_grad():
        made.weight.mul_(DAMPING)
    return made
