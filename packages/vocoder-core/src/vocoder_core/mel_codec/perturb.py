"""What training does to codes and to the mel they are made from, so that they do not say who speaks.

stretch   the encoder hears formants and pitch of somebody smaller or larger: the mel's bands are read from places
          `factor` times as high. FreeVC (Li et al. 2022, arXiv 2210.15418) resizes spectrograms likewise.
jitter    a code gives way to its neighbour now and then (Chorowski et al. 2019, arXiv 1901.08810), so that none of
          them alone carries anything
drop      vectors that are missing altogether, so that the decoder uses what is around them

Every draw is from the generator that is handed in.
"""

from __future__ import annotations

import torch
from torch import Tensor


def factors(rows: int, amount: float, draw: torch.Generator) -> Tensor:
    """Factors (B,) whose logarithm is uniform in [-amount, amount]."""
    return torch.exp(amount * (2 * torch.rand(rows, generator=draw, device=draw.device) - 1))


def stretch(mel: Tensor, factor: Tensor) -> Tensor:
    """Mel (B, M, F) whose band m is band m * factor (B,) of the one given: linear between bands, the last one beyond.

    A factor above 1 lowers formants and pitch.
    """
    bands = mel.shape[1]
    if bands == 1:
        return mel
    place = (torch.arange(bands, device=mel.device, dtype=mel.dtype) * factor[:, None].to(mel)).clamp(max=bands - 1)
    low = place.floor().clamp(max=bands - 2)
    part = (place - low)[:, :, None]
    index = low.long()[:, :, None].expand_as(mel)
    return torch.lerp(mel.gather(1, index), mel.gather(1, index + 1), part)


def jitter(vectors: Tensor, probability: float, draw: torch.Generator) -> Tensor:
    """Vectors (B, D, N), each one replaced by its left or right neighbour with this probability."""
    count = vectors.shape[2]
    luck = torch.rand(vectors.shape[0], count, generator=draw, device=draw.device)
    step = (luck < probability / 2).long() - ((luck >= probability / 2) & (luck < probability)).long()
    place = (torch.arange(count, device=vectors.device) + step.to(vectors.device)).clamp(0, count - 1)
    return vectors.gather(2, place[:, None].expand_as(vectors))


def drop(vectors: Tensor, probability: float, draw: torch.Generator) -> Tensor:
    """Vectors (B, D, N), each one zero with this probability."""
    kept = torch.rand(vectors.shape[0], 1, vectors.shape[2], generator=draw, device=draw.device) >= probability
    return vectors * kept.to(vectors)
