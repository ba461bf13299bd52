"""The parts of prosody: convolutions along phones or frames, phones repeated to frames, cosines along a mel's bands."""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vocoder_core.mel import MelConfig, filterbank

KERNEL = 5
VOICED = 0.4  # a frame that is less likely voiced is not


class Layers(nn.Module):
    """Convolutions (B, C, T) -> (B, D, T), each added to what it reads; blind for what is not `real` (B, T)."""

    def __init__(self, inputs: int, width: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.enter = nn.Conv1d(inputs, width, 1)
        reach = [2 ** (i % 3) for i in range(layers)]
        convs = [nn.Conv1d(width, width, KERNEL, padding=by * (KERNEL // 2), dilation=by) for by in reach]
        for layer in convs:
            nn.init.kaiming_uniform_(layer.weight, a=(5 * layers) ** 0.5)  # their sum is of the size of one, unnormed
        self.layers = nn.ModuleList(convs)

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        """See the class."""
        mask = real[:, None].to(x)
        x = self.enter(x)
        for layer in self.layers:
            x = x + layer(F.dropout(F.gelu(x), self.dropout, self.training) * mask.to(x))
        return x


def joined(x: Tensor, by: int) -> Tensor:
    """Frames (B, C, F), `by` of them in one step: (B, by C, steps); zeros after the last."""
    x = F.pad(x, (0, -x.shape[2] % by))
    return x.unflatten(2, (-1, by)).transpose(2, 3).flatten(1, 2)


def parted(x: Tensor, by: int, frames: int) -> Tensor:
    """What `joined` undoes: steps (B, by C, steps) -> frames (B, C, F)."""
    return x.unflatten(1, (-1, by)).transpose(2, 3).flatten(2)[..., :frames]


def cosines(bands: int) -> Tensor:
    """The orthonormal cosines along the bands (M, M), a row for each."""
    at = torch.arange(bands, dtype=torch.float64)
    basis = torch.cos(torch.pi * at[:, None] * (at + 0.5) / bands) * (2 / bands) ** 0.5
    basis[0] /= 2**0.5
    return basis.float()


def centres(mel: MelConfig) -> Tensor:
    """The middle of each band (M,), in Hz."""
    weights = torch.from_numpy(filterbank(mel)).float()
    hertz = torch.linspace(0, mel.sample_rate / 2, weights.shape[1])
    return (weights @ hertz) / weights.sum(1).clamp(min=1e-12)


def voiced(logits: Tensor) -> Tensor:
    """How likely frames are voiced, of logits; what is likelier not is 0."""
    likely = torch.sigmoid(logits.float())
    return torch.where(likely > VOICED, likely, 0.0)


def expanded(phones: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Phones (B, D, P) as often as they have frames, with where in the phone (B, D + 4, F); which are real (B, F)."""
    ends = counts.cumsum(1)
    frame = torch.arange(int(ends[:, -1].max()), device=counts.device)
    which = torch.searchsorted(ends, frame.expand(len(counts), -1).contiguous(), right=True)
    inside = which < counts.shape[1]
    which = which.clamp(max=counts.shape[1] - 1)
    count = counts.gather(1, which)
    begin = ends.gather(1, which) - count
    since, left = (frame - begin).clamp(min=0), (ends.gather(1, which) - 1 - frame).clamp(min=0)
    spot = torch.stack([since / count.clamp(min=1), since.clamp(max=20) / 10, left.clamp(max=20) / 10,
                        count.clamp(min=1).log() / log(20)], dim=1)  # fmt: skip
    repeated = phones.gather(2, which[:, None].expand(-1, phones.shape[1], -1))
    return torch.cat([repeated, spot.to(repeated)], dim=1) * inside[:, None], inside
