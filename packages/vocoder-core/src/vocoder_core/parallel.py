"""The processes of one training run: alone, or as many as `torchrun` started, one per GPU or (gloo) on CPUs.

Rank 0 reads and writes files; everything that steers the loop is agreed between all ranks, so that none waits for ever.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """This process (`rank` of `size`) and the device it computes on."""

    rank: int
    size: int
    device: torch.device

    @property
    def main(self) -> bool:
        """Whether this is the process that reads and writes files."""
        return self.rank == 0

    def parallel(self, model: nn.Module) -> nn.Module:
        """The model, wrapped so that backward averages gradients over all processes. Weights of rank 0 go to all."""
        if self.size == 1:
            return model
        return DistributedDataParallel(model, device_ids=[self.device] if self.device.type == "cuda" else None)

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Mean over the processes; NaN or inf in one of them is NaN or inf in all."""
        if self.size > 1:
            dist.all_reduce(values)
            values /= self.size
        return values

    def gather(self, value: T) -> list[T]:
        """What each process holds, in rank order, on every process."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def from_main(self, produce: Callable[[], T]) -> T:
        """The value, or the ValueError or OSError, that `produce` gives on rank 0, on every process."""
        if self.size == 1:
            return produce()
        outcome: list[Any] = [None, None]
        if self.main:
            try:
                outcome[0] = produce()
            except (ValueError, OSError) as error:
                outcome[1] = error
        dist.broadcast_object_list(outcome)
        if outcome[1] is not None:
            raise outcome[1]
        return outcome[0]


@contextmanager
def processes(device: str | torch.device | None = None) -> Iterator[Processes]:
    """Join the group that torchrun's environment describes (none: one process); leave it at the end.

    device None: the GPU of this process (LOCAL_RANK) when there is one, else the CPU.
    """
    joins = int(os.environ.get("WORLD_SIZE", "1")) > 1 and not _in_group()
    place = torch.device(device) if device else torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if place.type == "cuda":
        if place.index is None or joins:
            place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(place)
    if joins:
        # two hours: the other ranks wait in a collective while rank 0 validates; NCCL's ten minutes would kill them
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=timedelta(hours=2))
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), place) if _in_group() else Processes(0, 1, place)
        if joins:
            gc.collect()  # a DDP object that outlives its group aborts one exit in eight (torch 2.13, gloo)
            dist.barrier()
    finally:
        if joins:
            gc.collect()
            dist.destroy_process_group()


def _in_group() -> bool:
    return dist.is_available() and dist.is_initialized()


def moved(tree: Any, device: torch.device | str) -> Any:
    """Dicts, lists and tuples with every tensor in them on `device`."""
    if isinstance(tree, torch.Tensor):
        # towards the CPU it has to wait: otherwise the copy is read before it is there
        return tree.to(device, non_blocking=torch.device(device).type == "cuda")
    if isinstance(tree, dict):
        return {key: moved(value, device) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(moved(value, device) for value in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(moved(value, device) for value in tree)
    return tree
