"""Envelope: what of a mel changes slowly along its bands: formants, in which phones differ, without pitch."""

from __future__ import annotations

import torch
from torch import Tensor

WIDTH = 4.0  # bands: what changes faster along them is pitch. cos(pi k (m + 1/2) / M) up to k = M / 4


def envelope(bands: int) -> Tensor:
    """The projection (M, M) of log-mels onto their slow cosines: the spectral envelope, in which phones differ."""
    band, order = torch.arange(bands) + 0.5, torch.arange(max(1, round(bands / WIDTH)))
    basis = torch.cos(torch.pi * order[:, None] * band / bands)
    basis = basis / basis.norm(dim=1, keepdim=True)
    return basis.T @ basis
