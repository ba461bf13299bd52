"""PASE+: PASE with a recurrent layer and the sum of all its layers; 256 features every 10 ms.

Ravanelli, Zhong, Pascual, Swietojanski, Monteiro, Trmal & Bengio, "Multi-task self-supervised learning for robust
speech recognition" (ICASSP 2020, 2001.09239); the recurrence is a QRNN (Bradbury et al. 2016, 1611.01576).

    layers of PASE -> QRNN of 512 -> Linear -> + of every layer before: Linear, mean over the steps of 10 ms -> norm

Written from the papers and santi-pdp/pase's settings (MIT), with the names that its checkpoints use. Tested against
it, and against salesforce/pytorch-qrnn (BSD), with the same weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .pase import CHANNELS, PASE


class PASEPlus(PASE):
    """Speech -> PASE+'s features -> who speaks; a SpeakerEncoder."""

    name, dim = "pase+", 256

    def __init__(self) -> None:
        super().__init__()
        self.denseskips = nn.ModuleList(nn.Conv1d(channels, self.dim, 1, bias=False) for channels in CHANNELS[:-1])
        self.rnn = QRNN(CHANNELS[-1], 512)

    def gather(self, found: list[Tensor]) -> Tensor:
        """See PASE."""
        gathered: Tensor = self.W(self.rnn(found[-1].permute(2, 0, 1)).permute(1, 2, 0))
        frames = gathered.shape[2]
        for linear, heard in zip(self.denseskips, found):
            steps = heard.shape[2] // frames
            gathered = gathered + linear(heard[..., : frames * steps].unflatten(2, (frames, steps)).mean(3))
        return gathered


class QRNN(nn.Module):
    """(F, B, C) -> (F, B, H), one layer, under the names of salesforce/pytorch-qrnn."""

    def __init__(self, entries: int, size: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([QRNNLayer(entries, size)])

    def forward(self, heard: Tensor) -> Tensor:
        """See the class."""
        for layer in self.layers:
            heard = layer(heard)
        return heard


class QRNNLayer(nn.Module):
    """Quasi-recurrent: gates of this step and the one before, and a mean that they let pass (eqs. 4 and 5, fo-pooling).

    z, f, o = W [x_t, x_t-1];  c_t = sigmoid(f) tanh(z) + (1 - sigmoid(f)) c_t-1;  h_t = sigmoid(o) c_t
    """

    def __init__(self, entries: int, size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(2 * entries, 3 * size)

    def forward(self, heard: Tensor) -> Tensor:
        """(F, B, C) -> (F, B, H)."""
        before = F.pad(heard[:-1], (0, 0, 0, 0, 1, 0))
        new, passed, shown = self.linear(torch.cat([heard, before], dim=2)).chunk(3, dim=2)
        passed = passed.sigmoid()
        pooled: Tensor = shown.sigmoid() * decaying(1 - passed, passed * new.tanh())
        return pooled


def decaying(kept: Tensor, added: Tensor) -> Tensor:
    """c_t = kept_t c_t-1 + added_t from c_-1 = 0, along the first axis, in log2(F) steps (Hillis & Steele 1986).

    After the step of distance d, added_t holds what came in at t - 2d + 1 ... t, and kept_t what is left of anything
    before. Products of gates below 1 may vanish, and nothing is divided by them.
    """
    distance = 1
    while distance < len(added):
        earlier = torch.cat([torch.zeros_like(added[:distance]), added[:-distance]])
        added = added + kept * earlier
        kept = kept * torch.cat([torch.zeros_like(kept[:distance]), kept[:-distance]])
        distance *= 2
    return added
