"""Distances, and k-means with k-means++ seeding: where a codebook begins."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PER_CODE = 64  # points a code that k-means looks at


def squared_distances(points: Tensor, centres: Tensor) -> Tensor:
    """|p - c|^2 (R, K) of points (R, D) and centres (K, D).

    One matrix product, taken about the centres' mean: far from the origin |p|^2 + |c|^2 - 2 p . c cancels digits.
    """
    middle = centres.detach().mean(0)
    p, c = points - middle, centres - middle
    return (p * p).sum(-1, keepdim=True) + (c * c).sum(-1) - 2 * p @ c.T


def totals(points: Tensor, codes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """How many points (R, D) each code has (K,), and their sums (K, D)."""
    # a product: index_add, which is the faster one, gives other bits each time on GPUs
    hits = F.one_hot(codes, size).to(points)
    return hits.sum(0), hits.T @ points


@torch.no_grad()
def kmeans(points: Tensor, size: int, iterations: int = 10, start: Tensor | None = None) -> Tensor:
    """Centres (K, D) of points (R, D): Lloyd's iterations from `start` (K, D), or from k-means++ by torch's generator.

    Looks at 64 K points at most. A centre that has no points stays where it is.
    """
    if len(points) > PER_CODE * size:
        points = points[torch.randperm(len(points), device=points.device)[: PER_CODE * size]]
    centres = _spread(points, size) if start is None else start
    for _ in range(iterations):
        counts, sums = totals(points, squared_distances(points, centres).argmin(-1), size)
        centres = torch.where(counts[:, None] > 0, sums / counts.clamp_min(1)[:, None], centres)
    return centres


def _spread(points: Tensor, size: int) -> Tensor:
    """k-means++: each centre a point, drawn in proportion to its squared distance from the centres before it."""
    chosen = torch.randint(len(points), (1,), device=points.device)
    nearest = (points - points[chosen]).square().sum(-1)
    for _ in range(size - 1):
        last = torch.multinomial(nearest + 1e-20, 1)  # all zero when the points are fewer than the centres
        nearest = torch.minimum(nearest, (points - points[last]).square().sum(-1))
        chosen = torch.cat([chosen, last])
    return points[chosen]
