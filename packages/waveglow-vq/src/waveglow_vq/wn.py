"""WN: the dilated convolutions that tell a coupling of the flow how to shift and scale, at group rate.

WaveGlow (Prenger et al. 2018, arXiv 1811.00002, section 2) without its autoregression: WaveNet's gate, not causal.

    a0 (B, L, h) -> start -> x --+--> [x(t-d), x(t), x(t+d)] -> 2C + condition -> tanh * sigmoid -> 2C: residual, skip
                                 +<--------------------------------------------------------- residual |       |
                                                                                       sum of skips <-+-------+ -> end

One column of x stands for G samples. Everything is kept (B, L, C), so that each layer is one matrix product.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class WN(nn.Module):
    """half (B, L, h) and the condition of each layer -> shift and raw log-scale, both (B, L, h)."""

    def __init__(self, half: int, channels: int, layers: int, kernel: int, normed: bool) -> None:
        super().__init__()
        self.channels, self.layers, self.kernel = channels, layers, kernel
        norm = weight_norm if normed else _as_it_is
        self.start = norm(nn.Linear(half, channels))
        self.dilated = nn.ModuleList(norm(nn.Linear(kernel * channels, 2 * channels)) for _ in range(layers))
        self.res_skip = nn.ModuleList(
            norm(nn.Linear(channels, (1 if i + 1 == layers else 2) * channels)) for i in range(layers)
        )
        self.end = nn.Linear(channels, 2 * half)  # zero: an untrained coupling changes nothing
        nn.init.zeros_(self.end.weight)
        nn.init.zeros_(self.end.bias)

    @property
    def context(self) -> int:
        """Columns on either side that an output column depends on."""
        return sum((self.kernel - 1) // 2 * 2**i for i in range(self.layers))

    def forward(self, half: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """half (B, L, h), condition (B, N, layers, 2C), L a multiple of N -> shift, raw log-scale (B, L, h) fp32."""
        x, skips = self.start(half), None
        for i in range(self.layers):
            raw = self._gates(x, i, condition[:, :, i])
            gated = torch.tanh(raw[..., : self.channels]) * torch.sigmoid(raw[..., self.channels :])
            out = self.res_skip[i](gated)
            skip = out if i + 1 == self.layers else out[..., self.channels :]
            skips = skip if skips is None else skips + skip
            if i + 1 < self.layers:
                x = x + out[..., : self.channels]
        told = self.end(skips)
        shift, log_scale = (told if told.dtype == torch.float64 else told.float()).chunk(2, dim=-1)
        return shift, log_scale

    def _gates(self, x: Tensor, layer: int, condition: Tensor) -> Tensor:
        """Dilated convolution (B, L, C) -> (B, L, 2C), plus the condition (B, N, 2C) of the L / N columns it lasts."""
        dilated, dilation = self.dilated[layer], 2**layer
        assert isinstance(dilated, nn.Linear)
        # the matrix as a convolution over (B, C, 1, L) that lies in memory as (B, L, C): a fifth quicker than taps laid
        # side by side, which are copies
        kernel = dilated.weight.unflatten(1, (self.kernel, -1)).transpose(1, 2)[:, :, None]
        reach = (0, (self.kernel - 1) // 2 * dilation)
        image = x.transpose(1, 2)[:, :, None]
        raw = F.conv2d(image, kernel, dilated.bias, padding=reach, dilation=(1, dilation))[:, :, 0].transpose(1, 2)
        if condition.shape[1] == x.shape[1]:
            return raw + condition
        return (raw.unflatten(1, (condition.shape[1], -1)) + condition[:, :, None]).flatten(1, 2)


def _as_it_is(module: nn.Module) -> nn.Module:
    return module
