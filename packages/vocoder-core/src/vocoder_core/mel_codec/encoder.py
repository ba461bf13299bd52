"""Encoder: a mel as vectors that hold what is said and little of who says it.

mel (B, M, F) -> by mean and deviation of each band -> conv 5 -> stride r -> conv layers -> (B, D, ceil(F / r))
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from .decoder import layer

FIRST_KERNEL = 5


class Encoder(nn.Module):
    """Mels (B, M, F) -> vectors (B, D, ceil(F / r)) to be quantised.

    bands: M. dim: D. channels: of its layers. frames_per_code: r. layers: after the first two. instance_norm: each
    channel by its mean and deviation over time, which say who speaks.
    """

    def __init__(
        self, bands: int, dim: int, *, channels: int, frames_per_code: int, layers: int, instance_norm: bool = True
    ) -> None:
        super().__init__()
        self.stride, self.norm = frames_per_code, instance_norm
        self.first = nn.Conv1d(bands, channels, FIRST_KERNEL, padding=FIRST_KERNEL // 2)
        self.reach = 2 * self.stride if self.stride > 1 else 3
        self.down = nn.Conv1d(channels, channels, self.reach, stride=self.stride)
        self.layers = nn.ModuleList(layer(channels, (1, 2)[i % 2]) for i in range(layers))
        self.last = nn.Conv1d(channels, dim, 1)

    def forward(self, mel: Tensor) -> Tensor:
        """See the class."""
        missing = -mel.shape[2] % self.stride
        x = F.gelu(self._normal(self.first(self._normal(mel))))
        before = (self.reach - self.stride) // 2
        after = self.reach - self.stride - before + missing
        x = self.down(F.pad(x, (before, after)))
        for each in self.layers:
            x = x + each(F.gelu(self._normal(x)))
        return self.last(F.gelu(self._normal(x)))

    def _normal(self, x: Tensor) -> Tensor:
        """Each channel (B, C, F) by its mean and deviation over time."""
        return F.layer_norm(x.float(), x.shape[2:]) if self.norm else x
