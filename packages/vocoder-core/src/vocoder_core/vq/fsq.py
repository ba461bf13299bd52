"""`fsq`: finite scalar quantisation (2309.15505). No table: each channel is rounded to one of its L levels.

    h = (L - 1)(1 + eps) / 2,  o = 1/2 for even L, else 0    q = round( h tanh(z + atanh(o / h)) - o ) / floor(L / 2)

The code is the number whose digits are the channels' levels, the first channel's counting least. Where D is not the
number of channels, a linear layer leads to them and one back. There are no losses, and no code can die for good.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .config import QuantizerConfig
from .estimators import straight_through
from .quantizer import Quantizer

EPS = 1e-3


class FiniteScalar(Quantizer):
    """`levels` of the config; its size is their product."""

    levels: Tensor
    places: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        levels = torch.tensor(config.levels)
        self.register_buffer("levels", levels, persistent=False)
        self.register_buffer("places", levels.cumprod(0) // levels, persistent=False)
        direct = config.dim == len(levels)
        self.enter: nn.Module = nn.Identity() if direct else nn.Linear(config.dim, len(levels))
        self.leave: nn.Module = nn.Identity() if direct else nn.Linear(len(levels), config.dim)

    def _quantize(self, rows: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        bounded = self._bounded(self.enter(rows))
        rounded = straight_through(bounded, bounded.detach().round())
        codes = self._number(rounded.detach())
        return self.leave(rounded / (self.levels // 2)), codes, {}, {"duplicates": rows.new_zeros(())}

    def _codes(self, rows: Tensor) -> Tensor:
        return self._number(self._bounded(self.enter(rows)).round())

    def _vectors(self, codes: Tensor) -> Tensor:
        digits = codes[:, None] // self.places % self.levels
        half = self.levels // 2
        return self.leave(((digits - half) / half).to(self.used.recent))

    def _bounded(self, z: Tensor) -> Tensor:
        half = (self.levels - 1).to(z) * (1 + EPS) / 2
        offset = torch.where(self.levels % 2 == 0, 0.5, 0.0).to(z)
        return half * (z + (offset / half).atanh()).tanh() - offset

    def _number(self, rounded: Tensor) -> Tensor:
        return ((rounded.long() + self.levels // 2) * self.places).sum(-1)
