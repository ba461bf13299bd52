"""Replayed where there is no GPU: a block's kernels on a tape, called again one by one in place of a CUDA graph.

A tape holds what a graph holds: which kernel, on which memory, with which numbers. What the Python of a block decides,
counts or keeps is over when the tape is made, and a block that needs it again says something else. So a cell that
speaks by a tape as by TorchLoop speaks so by a graph, as far as that can be known without one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from .replay import Replayed


class Taped(Replayed):
    """A loop that says by a tape, from the third block on, what Replayed says by a graph. For tests: it is slow.

    Where Replayed would give way to the plain loop, it raises.
    """

    def _beside(self) -> None:
        self._run()

    def _capture(self) -> None:
        kept = [x for x in (*self.state, self.said) if x is not None]
        before = [x.clone() for x in kept]
        self.graph = Tape()
        with self.graph:
            self._run()
        for x, value in zip(kept, before):  # a capture runs nothing
            x.copy_(value)

    def _give_up(self, error: RuntimeError) -> None:
        raise error


class Tape(TorchDispatchMode):
    """While entered, calls of kernels are noted; `replay` calls them again on the same memory."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, list[Tensor]]] = []

    def __torch_dispatch__(self, func: Any, types: Iterable[type], args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in place of its kernels."""
        made = func(*args, **(kwargs or {}))
        given = {_place(x) for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        fresh = [x for x in tree_leaves(made) if isinstance(x, Tensor)]
        if not fresh or any(_place(x) not in given for x in fresh) or func._schema.is_mutable:  # else it is a view
            self.calls.append((func, args, kwargs or {}, [] if func._schema.is_mutable else fresh))
        return made

    def replay(self) -> None:
        """See the class."""
        for func, args, kwargs, outputs in self.calls:
            made = [x for x in tree_leaves(func(*args, **kwargs)) if isinstance(x, Tensor)]
            for x, value in zip(outputs, made):
                x.copy_(value)


def _place(x: Tensor) -> int:
    return x.untyped_storage()._cdata
