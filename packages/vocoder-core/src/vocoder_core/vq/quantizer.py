"""Quantizer: what all kinds promise, and Quantized, what a training pass through one gives.

B batch, N vectors of an item, D dimensions, K codes. Computed in the module's own type, fp32, whatever autocast says.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .config import QuantizerConfig
from .usage import Usage


@dataclass(frozen=True)
class Quantized:
    """One pass. `losses` carry their weights: add them all. `stats` are detached scalars on the same device.

    quantized (B, D, N) has the codes' values exactly, and passes gradients on; codes (B, N) int64 in [0, K).
    stats: perplexity, used_fraction, bits_per_code (all of the last 100 to 200 training passes; of this pass in eval),
    duplicates (pairs of codes that coincide, closer than a tenth of the error's deviation), and more by kind.
    """

    quantized: Tensor
    codes: Tensor
    losses: dict[str, Tensor]
    stats: dict[str, Tensor]


class Quantizer(nn.Module, ABC):
    """Vectors (B, D, N) <-> codes (B, N), of `size` K. `config` is resolved: nothing in it is None."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        self.used = Usage(config.size)

    @property
    def size(self) -> int:
        """K, the number of codes."""
        return self.config.size

    def forward(self, x: Tensor) -> Quantized:
        """Quantise x (B, D, N), learn from it in train mode. Raises ValueError for another shape.

        Under DDP each process calls it equally often, once a step.
        """
        rows = self._rows(x)
        with torch.autocast(x.device.type, enabled=False):
            chosen, codes, losses, stats = self._quantize(rows)
            stats |= self.used(codes, self.training)
        return Quantized(self._columns(chosen, x), codes.view(x.shape[0], x.shape[2]), losses, stats)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Codes (B, N) int64 of x (B, D, N): those that forward gives. Learns nothing."""
        rows = self._rows(x)
        with torch.autocast(x.device.type, enabled=False):
            return self._codes(rows).view(x.shape[0], x.shape[2])

    def decode(self, codes: Tensor) -> Tensor:
        """Vectors (B, D, N) of codes (B, N). Raises ValueError for codes that are no integers in [0, K)."""
        if codes.dim() != 2 or codes.is_floating_point():
            raise ValueError(f"decode got {codes.dtype} of shape {tuple(codes.shape)}; expected integers (B, N)")
        if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) < self.size:
            span = f"{int(codes.min())} to {int(codes.max())}"
            raise ValueError(
                f"decode got codes from {span}; expected 0 to {self.size - 1}: they are of another codebook"
            )
        with torch.autocast(codes.device.type, enabled=False):
            vectors = self._vectors(codes.long().flatten())
        return vectors.view(*codes.shape, self.config.dim).transpose(1, 2)

    def after_step(self) -> None:
        """To be called after each update of the weights; most kinds have nothing to do."""

    @abstractmethod
    def _quantize(self, rows: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        """Rows (R, D) -> quantised (R, D), codes (R,), losses, the kind's own stats."""

    @abstractmethod
    def _codes(self, rows: Tensor) -> Tensor:
        """Rows (R, D) -> codes (R,)."""

    @abstractmethod
    def _vectors(self, codes: Tensor) -> Tensor:
        """Codes (R,) -> vectors (R, D)."""

    def _rows(self, x: Tensor) -> Tensor:
        if x.dim() != 3 or x.shape[1] != self.config.dim or not x.is_floating_point():
            given = f"{x.dtype} of shape {tuple(x.shape)}"
            raise ValueError(f"the quantiser got {given}; expected floating point (B, {self.config.dim}, N)")
        return x.transpose(1, 2).reshape(-1, x.shape[1]).to(self.used.recent.dtype)  # the module's, not autocast's

    def _columns(self, rows: Tensor, like: Tensor) -> Tensor:
        return rows.view(like.shape[0], like.shape[2], -1).transpose(1, 2)
