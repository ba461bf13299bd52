"""What a CUDA graph cannot hold, found as a block runs, on any device: waiting for the device, and data of the host's.

A graph repeats the kernels of the block that it was captured from. A value that the host looked at is not looked at
again, and one that it handed over is not handed over again: while it captures torch refuses both, with an error that
says little and a capture in pieces. Here the same is found before, with the name of the function that does it:

    with Watched(torch.device("cuda")):
        block()                              # RuntimeError: aten.lift_fresh.default makes a tensor of Python's numbers
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

WAITS = ("_local_scalar_dense", "equal", "is_nonzero", "item", "masked_select", "nonzero", "repeat_interleave",
         "_unique2", "unique_dim", "bincount")  # fmt: skip
HANDS_OVER = ("lift", "lift_fresh", "lift_fresh_copy")


class Watched(TorchDispatchMode):
    """While entered, whatever a graph on `device` cannot hold raises RuntimeError."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.kind = device.type

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in place of its kernels."""
        name = func.overloadpacket.__name__
        if name in WAITS or (name.startswith("index") and _of_choices(args)):
            raise RuntimeError(f"{func} waits for the device, in a block that is to be a CUDA graph")
        if name in HANDS_OVER:
            raise RuntimeError(f"{func} makes a tensor of Python's numbers, in a block that is to be a CUDA graph")
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves((args, kwargs, made)):
            if isinstance(tensor, Tensor) and tensor.device.type != self.kind:
                place = tensor.device.type
                raise RuntimeError(f"{func} meets a tensor on {place}, in a block that is to be a graph on {self.kind}")
        return made


def _of_choices(args: Any) -> bool:
    """Whether some of a function's indices are true or false: how many are true has to be waited for."""
    return any(isinstance(each, Tensor) and each.dtype == torch.bool for each in tree_leaves(args[1:2]))
