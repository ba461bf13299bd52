"""The invertible 1x1 convolution between couplings: a matrix that mixes the channels (Glow, arXiv 1807.03039, 3.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Mixing(nn.Module):
    """x (B, L, ch) -> W x, with the log of W's volume change. Starts as a random rotation."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(rotation(size))

    def matrix(self) -> tuple[Tensor, Tensor]:
        """W (ch, ch) and log |det W|, finite gradients wherever W is regular, whatever the sign of its determinant."""
        weight = self.weight.float() if self.weight.dtype != torch.float64 else self.weight
        return weight, torch.linalg.slogdet(weight).logabsdet


class TriangularMixing(nn.Module):
    """The same with W = P L (U + diag(sign * exp(s))), which cannot become singular: log |det W| = sum of s."""

    lower_mask: Tensor
    permutation: Tensor
    sign: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        permutation, lower, upper = torch.linalg.lu(rotation(size))
        diagonal = upper.diagonal()
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.lower, self.upper = nn.Parameter(lower), nn.Parameter(upper)
        self.log_diagonal = nn.Parameter(diagonal.abs().log())

    def matrix(self) -> tuple[Tensor, Tensor]:
        """W (ch, ch) and log |det W|."""
        lower = self.lower.tril(-1) + torch.eye(len(self.sign)).to(self.lower)
        upper = self.upper.triu(1) + torch.diag(self.sign * self.log_diagonal.exp())
        with torch.autocast(lower.device.type, enabled=False):
            return self.permutation @ lower @ upper, self.log_diagonal.sum()


def rotation(size: int) -> Tensor:
    """A random rotation (size, size), its determinant +1."""
    matrix = torch.linalg.qr(torch.randn(size, size)).Q
    matrix[:, 0] *= torch.linalg.det(matrix).sign()
    return matrix
