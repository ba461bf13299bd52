"""Block: the ConvNeXt layer of the networks that work on frames. Liu et al. 2022, arXiv 2201.03545."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Block(nn.Module):
    """ConvNeXt: depthwise convolution over frames, norm, scale and shift by the noise level, two-layer perceptron."""

    def __init__(self, width: int, kernel: int, expansion: int = 3, level_size: int = 0) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.level = nn.Linear(level_size, 2 * width) if level_size else None
        self.wide = nn.Linear(width, expansion * width)
        self.narrow = nn.Linear(expansion * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        if self.level is not None:
            nn.init.zeros_(self.level.weight)
            nn.init.zeros_(self.level.bias)

    def forward(self, x: Tensor, told: Tensor | None = None) -> Tensor:
        """x (B, N, C), told (B, level_size) -> (B, N, C)."""
        # a 2-D convolution of one row: frames by channels is the layout its CPU kernels are quick in
        weight = self.depthwise.weight.unsqueeze(2)
        rows = F.conv2d(
            x.transpose(1, 2).unsqueeze(2),
            weight,
            self.depthwise.bias,
            padding=(0, weight.shape[-1] // 2),
            groups=weight.shape[0],
        )
        y = self.norm(rows.squeeze(2).transpose(1, 2))
        if self.level is not None and told is not None:
            scale, shift = self.level(told)[:, None].chunk(2, dim=2)
            y = y * (1 + scale) + shift
        return x + self.scale * self.narrow(F.gelu(self.wide(y)))
