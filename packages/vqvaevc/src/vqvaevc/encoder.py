"""The encoder of the raw wave: 64 samples to a vector, by ten gated convolutions without padding.

van den Oord et al. 2017, "Neural Discrete Representation Learning" (arXiv 1711.00937), as mkotha/WaveRNN (MIT, 2019)
has it: 1,381,376 parameters at 128 channels. Written from the description; the original with the same weights is the
test oracle.

    wav (B, 1, T) -> 10 x [ conv k4 -> tanh(a) sigmoid(b) -> 1x1, + what the convolution's last tap read ] -> 1x1 x 2

Strides 2 2 2 1 2 1 2 1 2 1; a further (2, 1) halves the rate of the codes. Vector j sees samples 64 j ... 64 j + 549.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .timing import KERNEL, code_field, code_hop

STRIDES = (2, 2, 2, 1, 2, 1, 2, 1, 2, 1)
GATED_SPREAD = 2.967  # first weights of a gated convolution: uniform, so that its output has its input's variance


class WaveEncoder(nn.Module):
    """wav (B, T) in [-1, 1] -> vectors (B, D, (T - field + hop) // hop)."""

    def __init__(self, channels: int = 128, strides: tuple[int, ...] = STRIDES, dim: int = 128) -> None:
        super().__init__()
        self.hop, self.field = code_hop(strides), code_field(strides)
        self.layers = nn.ModuleList(
            GatedDown(channels if i else 1, channels, stride) for i, stride in enumerate(strides)
        )
        self.final = nn.Conv1d(channels, channels, 1)
        # its bias stays: were the input zero and the bias, too, the vector would be zero, which has no direction
        self.last = nn.Conv1d(channels, dim, 1)

    def forward(self, wav: Tensor) -> Tensor:
        """See the class. Raises ValueError for a wave that is shorter than what one vector sees."""
        if wav.shape[1] < self.field:
            raise ValueError(f"the encoder got {wav.shape[1]} samples; expected {self.field} or more")
        x = wav[:, None]
        for layer in self.layers:
            x = layer(x)
        vectors: Tensor = self.last(torch.relu(self.final(x)))
        return vectors


class GatedDown(nn.Module):
    """One layer: (B, C_in, L) -> (B, C, (L - 4) // stride + 1)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.stride, self.residual = stride, channels_in == channels
        self.wide = nn.Conv1d(channels_in, 2 * channels, KERNEL, stride=stride)
        gated_first(self.wide)
        self.narrow = nn.Conv1d(channels, channels, 1)
        assert self.narrow.bias is not None, "it has one"
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        a, b = self.wide(x).chunk(2, dim=1)
        y: Tensor = self.narrow(torch.tanh(a) * torch.sigmoid(b))
        if self.residual:
            y = y + x[:, :, KERNEL - 1 :: self.stride]  # what the last tap of each output read
        return y


def gated_first(layer: nn.Conv1d) -> None:
    """First weights of a convolution whose output is gated: uniform, bias 0."""
    bound = GATED_SPREAD / (KERNEL * layer.in_channels) ** 0.5
    nn.init.uniform_(layer.weight, -bound, bound)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
