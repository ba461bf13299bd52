"""Gradients past a choice that has none: what the decoder wants of the chosen vector is handed on to the encoding."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-6  # norms below have no direction


def straight_through(x: Tensor, chosen: Tensor) -> Tensor:
    """Value of `chosen` (R, D), exactly; its gradient reaches x (R, D) as it is, and `chosen` where that is learned."""
    return chosen + (x - x.detach())


def rotation(x: Tensor, chosen: Tensor) -> Tensor:
    """Value of `chosen` (R, D), exactly; x gets the gradient of having been turned and scaled into it (2410.06424).

    q = |e| / |x| R x, with R the rotation in the plane of x and e that takes the one direction to the other, both held
    constant: R x = x - 2 r (r . x) + 2 e' (x' . x), where x', e' have norm 1 and r is the direction of x' + e'.
    Where x or e is zero there is nothing to turn: the gradient is then the straight one.
    """
    with torch.no_grad():
        long, short = chosen.norm(dim=-1, keepdim=True), x.norm(dim=-1, keepdim=True)
        straight = torch.minimum(long, short) < TINY
        source, target = x / short.clamp_min(TINY), chosen / long.clamp_min(TINY)
        middle = source + target
        middle = middle / middle.norm(dim=-1, keepdim=True).clamp_min(TINY)
        scale = long / short.clamp_min(TINY)

    def along(direction: Tensor) -> Tensor:
        return (x * direction).sum(-1, keepdim=True)

    turned = scale * (x - 2 * middle * along(middle) + 2 * target * along(source))
    moved = torch.where(straight, x, turned)
    return chosen + (moved - moved.detach())
