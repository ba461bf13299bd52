"""A cell's block as one CUDA graph: captured once, replayed for every block, of all rows at once.

A block is some thousand small kernels (logits, softmax, draw, take; block times), each shorter than its launch. When
captured they are one launch, and the host never waits inside a call:

    told of block i, u of block i --copy--> told, u --+
                                                      v
                                         state --> cell: begin, block samples, end --> said --copy--> [:, i]
                                           ^                   |
                                           +-------copy--------+        told, u, state, said: always the same memory

The first blocks run as they are, which warms up what torch prepares at first use, the second of them on the stream of
the capture, as torch's notes on CUDA graphs demand; from the third on the graph is replayed. With eager=True, and where
the capture fails, every block runs as the first did, on the same memory. What a CPU can test of it: tape.py.

Labels in fp32 are TorchLoop's: the same kernels in the same order, the draw in float64. In bf16 and fp16 (narrow.py)
logits are those of rounded weights.
"""

from __future__ import annotations

import gc
import logging
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .engine import Cell, one_block, where
from .narrow import DTYPES, Narrow, Precision, check_precision
from .watched import Watched

WARM = 2  # blocks that run before one is captured
CAPTURING = threading.Lock()  # one graph at a time

logger = logging.getLogger(__name__)


class Replayed:
    """TorchLoop by a CUDA graph (vocoder_core.recurrent.engine.Loop); see the file."""

    def __init__(self, cell: Cell, temperature: float, precision: Precision = "fp32", eager: bool = False) -> None:
        """eager: the same without a graph, on any device. Raises ValueError for an unknown precision."""
        check_precision(precision)
        self.cell, self.temperature, self.block, self.draws = cell, temperature, cell.block, cell.draws
        self.narrow = None if precision == "fp32" else Narrow(DTYPES[precision])
        self.device = where(cell)
        self.eager = eager
        self.ran = 0  # blocks
        self.graph: Any = None  # what replays one
        self.state = [_own(x) for x in cell.state()]
        self.told: Any = None
        self.said: Tensor | None = None

    @torch.inference_mode()
    def __call__(self, told: Any, uniforms: np.ndarray) -> Tensor:
        """See Loop. On CUDA it waits, at most, for the call before."""
        drawn = torch.from_numpy(uniforms).to(self.device)
        if not drawn.shape[1]:
            return one_block(self.cell, told, drawn, self.temperature)
        said = [self._next(told.cut(i, i + 1), part) for i, part in enumerate(drawn.split(self.block, dim=1))]
        return torch.cat(said, dim=1)

    def _next(self, told: Any, uniforms: Tensor) -> Tensor:
        """What is said (B, block) of one block."""
        if self.told is None:
            self._begin(told, uniforms)
        _fill(self.told, told)
        _copied(self.uniforms, uniforms)
        if self.ran == 0:
            self._first()
        elif self.eager:
            self._run()
        elif self.ran < WARM:
            self._beside()
        else:
            if self.graph is None:
                self._capture()
            if self.graph is not None:
                self.graph.replay()
            else:
                self._run()
        self.ran += 1
        assert self.said is not None, "the first block made it"
        return self.said.clone()

    def _begin(self, told: Any, uniforms: Tensor) -> None:
        """The memory that all blocks share, but for `said`, which the first makes."""
        self.told = replace(told, **{name: _own(value) for name, value in _tensors(told)})
        self.uniforms = _own(uniforms)

    def _run(self) -> None:
        """A block: what is captured."""
        with self.narrow or nullcontext():
            self.cell.resume(list(self.state))
            said = one_block(self.cell, self.told, self.uniforms, self.temperature)
        if self.said is None:
            self.said = _own(said)
        new = [_own(x) for x in self.cell.state()]  # parts of it may lie in what is about to be overwritten
        for kept, x in zip(self.state, new, strict=True):
            _copied(kept, x)
        _copied(self.said, said)
        if self.narrow:
            self.narrow.learning = False  # what is narrowed while capturing would be narrowed again by every replay

    def _first(self) -> None:
        """The first block, in which what no graph can hold is found."""
        try:
            with Watched(self.device):
                self._run()
        except RuntimeError as error:
            if self.eager:
                raise
            self._give_up(error)
            self._run()

    def _beside(self) -> None:
        """A block on the stream of the capture to come."""
        current, self.side = torch.cuda.current_stream(self.device), torch.cuda.Stream(self.device)
        self.side.wait_stream(current)
        with torch.cuda.stream(self.side):
            self._run()
        current.wait_stream(self.side)

    def _capture(self) -> None:
        """A graph of the block, or a warning that says why there is none."""
        graph, current = torch.cuda.CUDAGraph(), torch.cuda.current_stream(self.device)
        collects = gc.isenabled()
        gc.collect()
        gc.disable()  # what dies while capturing might free memory of the device
        try:
            with CAPTURING, torch.cuda.device(self.device):
                with torch.cuda.graph(graph, stream=self.side, capture_error_mode="thread_local"):
                    self._run()
            self.graph = graph
        except RuntimeError as error:
            torch.cuda.set_stream(current)  # torch leaves the other one behind
            self._give_up(error)
        finally:
            if collects:
                gc.enable()

    def _give_up(self, error: RuntimeError) -> None:
        self.eager, reason = True, str(error).partition("\n")[0]
        logger.warning("no CUDA graph (%s): generating by the torch loop, several times slower", reason)


def _own(x: Tensor) -> Tensor:
    """A copy, contiguous."""
    return x.detach().clone(memory_format=torch.contiguous_format)


def _copied(to: Tensor, x: Tensor) -> None:
    """Fills a tensor with another of the same shape and kind: a wider one would be broadcast, or rounded, unseen."""
    if to.shape != x.shape or to.dtype != x.dtype:
        raise RuntimeError(f"{tuple(x.shape)} {x.dtype} where blocks before had {tuple(to.shape)} {to.dtype}")
    to.copy_(x)


def _tensors(told: Any) -> Iterator[tuple[str, Tensor]]:
    """Names and values of what a block is told."""
    for field in fields(told):
        value = getattr(told, field.name)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"a block is told {field.name} = {value!r}; expected a tensor: no graph is told anything else"
            )
        yield field.name, value


def _fill(to: Any, told: Any) -> None:
    """Copies what a block is told."""
    for name, value in _tensors(told):
        _copied(getattr(to, name), value)
