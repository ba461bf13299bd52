"""Running streams of samples: which loop, the rows of a batch on threads, weights where one core reads them fastest."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Backend = Literal["auto", "torch", "graph", "numba", "int8", "int16"]
TIERS = ("int8", "int16")  # kernels in whole numbers (integers.py), of vocoders that have them

logger = logging.getLogger(__name__)


def choose(backend: Backend, device: torch.device, tiers: Sequence[str] = ()) -> Backend:
    """The loop that a backend's name means on a device: "auto" is numba on a CPU that has it, a graph on CUDA, both
    exact in float32.

    tiers: those of TIERS that the vocoder has. Raises ValueError for an unknown one, and for one that needs numba, a
    CPU or CUDA, where they are missing.
    """
    known = ("auto", "torch", "numba", *tiers)
    if backend not in (*known, "graph"):
        *others, last = (repr(name) for name in known)
        raise ValueError(f"backend is {backend!r}; expected {', '.join(others)} or {last}, or 'graph' on CUDA")
    if backend == "graph" and device.type != "cuda":
        raise ValueError(f"backend is 'graph' on {device.type}; a CUDA graph runs on a CUDA GPU: choose 'auto'")
    if device.type == "cuda" and backend in ("auto", "graph"):
        return "graph"
    if backend == "torch" or (backend == "auto" and device.type != "cpu"):
        return "torch"
    if backend in TIERS and device.type != "cpu":
        raise ValueError(f"backend is {backend!r} on {device.type}; expected 'torch' there, whole numbers are for CPUs")
    if importlib.util.find_spec("numba"):
        return "numba" if backend == "auto" else backend
    if backend != "auto":
        raise ValueError(
            f"backend is {backend!r}, for which numba is not installed; run `pip install numba` or choose 'torch'"
        )
    logger.warning("numba is not installed: generating with the torch loop, several times slower; `pip install numba`")
    return "torch"


def shares(count: int) -> list[slice]:
    """Rows 0 ... count - 1 in as many equal parts as torch may use threads, each for one of them."""
    parts = max(1, min(count, torch.get_num_threads()))
    ends = [count * k // parts for k in range(parts + 1)]
    return [slice(first, last) for first, last in pairwise(ends)]


def side_by_side(row: Callable[[int], None], count: int) -> None:
    """row(0) to row(count - 1) on as many threads as torch may use, for work that holds no lock."""
    if count == 1:
        return row(0)  # a thread for each frame of a stream would take longer than the frame
    pool = ThreadPoolExecutor(max(1, min(count, torch.get_num_threads())))
    try:
        for future in [pool.submit(row, b) for b in range(count)]:
            future.result()
    finally:
        pool.shutdown(cancel_futures=True)  # after Ctrl-C: only the rows under way are waited for


def compile_aloud(run: Callable[[], object]) -> None:
    """Run what compiles a kernel, or loads what an earlier process compiled; say so where that takes long."""
    notice = threading.Timer(2.0, logger.warning, ["compiling the CPU kernel: some seconds, once"])
    notice.start()
    try:
        run()
    finally:
        notice.cancel()


def pack(*tensors: Tensor, halves: bool = False) -> list[np.ndarray]:
    """Contiguous float32 copies in one block (`in_one_block`).

    halves: as the bits of 16-bit floats instead, int16 (primitives.number), if that loses nothing of any of them: so it
    is with weights out of a file of 16-bit floats, and the kernel reads half as much.
    """
    values = [tensor.detach().float().cpu() for tensor in tensors]
    if halves and all(torch.equal(value.half().float(), value) for value in values):
        values = [value.half().view(torch.int16) for value in values]
    return in_one_block([value.numpy() for value in values])


def in_one_block(sources: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Contiguous copies in one block that begins and ends with a large page, each copy at a cache line.

    numpy asks for large pages where they are to be had; on ordinary ones the kernel runs at two thirds of the speed,
    because 15 MB a sample are then more pages than the processor keeps addresses of.
    """
    line, page = 64, 2**21  # bytes
    starts = np.cumsum([0] + [-(-source.nbytes // line) * line for source in sources])
    block = np.empty((-(-int(starts[-1]) // page) + 1) * page, np.uint8)
    block = block[-block.ctypes.data % page :]
    arrays = []
    for start, source in zip(starts, sources):
        array = block[start : start + source.nbytes].view(source.dtype).reshape(source.shape)
        array[...] = source
        arrays.append(array)
    return arrays
