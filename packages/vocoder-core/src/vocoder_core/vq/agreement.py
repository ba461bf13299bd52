"""What the processes of a training run agree on inside a quantiser's forward pass; alone, nothing happens."""

from __future__ import annotations

import torch.distributed as dist
from torch import Tensor


def processes() -> int:
    """How many train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def summed(values: Tensor) -> Tensor:
    """The sum over all processes, on each of them."""
    if processes() > 1:
        values = values.contiguous()
        dist.all_reduce(values)
    return values


def of_the_first(values: Tensor) -> Tensor:
    """Those of rank 0, on every process."""
    if processes() > 1:
        values = values.contiguous()
        dist.broadcast(values, 0)
    return values
