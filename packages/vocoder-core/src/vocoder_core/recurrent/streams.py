"""Running streams of samples: which loop, the rows of a batch on threads, weights where one core reads them fastest."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy as np
import torch
from torch import Tensor

Backend = Literal["auto", "torch", "numba"]

logger = logging.getLogger(__name__)


def choose(backend: Backend, device: torch.device) -> Literal["torch", "numba"]:
    """The loop that a backend's name means on a device: "auto" is numba on a CPU that has it.

    Raises ValueError for an unknown one, and for "numba" where it is missing.
    """
    if backend not in ("auto", "torch", "numba"):
        raise ValueError(f"backend is {backend!r}; expected 'auto', 'torch' or 'numba'")
    if backend == "torch" or (backend == "auto" and device.type != "cpu"):
        return "torch"
    if importlib.util.find_spec("numba"):
        return "numba"
    if backend == "numba":
        raise ValueError("backend is 'numba', which is not installed; run `pip install numba` or choose 'torch'")
    logger.warning("numba is not installed: generating with the torch loop, several times slower; `pip install numba`")
    return "torch"


def side_by_side(row: Callable[[int], None], count: int) -> None:
    """row(0) to row(count - 1) on as many threads as torch may use, for work that holds no lock."""
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
    """Contiguous float32 copies in one block that begins and ends with a large page, each copy at a cache line.

    halves: as the bits of 16-bit floats instead, int16 (primitives.number), if that loses nothing of any of them: so it
    is with weights out of a file of 16-bit floats, and the kernel reads half as much.

    numpy asks for large pages where they are to be had; on ordinary ones the kernel runs at two thirds of the speed,
    because 15 MB a sample are then more pages than the processor keeps addresses of.
    """
    line, page = 64, 2**21  # bytes
    values = [tensor.detach().float().cpu() for tensor in tensors]
    if halves and all(torch.equal(value.half().float(), value) for value in values):
        values = [value.half().view(torch.int16) for value in values]
    starts = np.cumsum([0] + [-(-value.nbytes // line) * line for value in values])
    block = np.empty((-(-int(starts[-1]) // page) + 1) * page, np.uint8)
    block = block[-block.ctypes.data % page :]
    arrays = []
    for start, value in zip(starts, values):
        source = value.numpy()
        array = block[start : start + value.nbytes].view(source.dtype).reshape(source.shape)
        array[...] = source
        arrays.append(array)
    return arrays
