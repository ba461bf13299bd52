"""From latents to codes: seeds, uniforms, backend, chunks. The loops themselves: loops.py; the CPU kernel: kernel.py.

Sampling is by inverse CDF with counter-based uniforms: sample t of a stream uses u(seed, t), whatever came before, on
whatever device, in whatever batch. So a seed names one utterance: alone, in a batch, in chunks, or again tomorrow.
"""

from __future__ import annotations

import importlib.util
import logging
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from .loops import NumbaLoop, TorchLoop

if TYPE_CHECKING:
    from .model import Backend, Decoder

logger = logging.getLogger(__name__)

CHUNK = 1000  # samples a row makes between two looks at the progress bar and at Ctrl-C


@torch.inference_mode()
def generate_codes(
    decoder: Decoder,
    latents: Tensor,
    seed: int | Sequence[int] | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
    progress: bool = False,
) -> Tensor:
    """Codes (B, F * hop_length) int64 drawn from the decoder, given latents (B, F, 2C).

    seed: one for all rows, one per row, or None for fresh ones. temperature: 0 takes the likeliest class every time.
    backend: "torch", "numba" (CPU), or "auto": numba on a CPU that has it.
    Raises ValueError for a wrong seed, temperature or backend.
    """
    batch, frames = latents.shape[:2]
    hop = decoder.hop_length
    keys = stream_keys(seed, batch)
    if not 0 <= temperature < float("inf"):  # NaN fails this too
        raise ValueError(f"temperature is {temperature}; expected 0 or more: 1 samples the model's distribution")
    loop = choose(backend, latents.device)(decoder, batch, temperature) if batch and frames else None
    codes = torch.empty(batch, frames * hop, dtype=torch.int64, device=latents.device)
    step = max(1, CHUNK // hop)
    with tqdm(total=frames, unit=" frames", disable=None if progress else True) as bar:
        for start in range(0, frames if loop else 0, step):
            part = latents[:, start : start + step]
            here = slice(start * hop, (start + part.shape[1]) * hop)
            assert loop is not None, "frames without a loop"
            codes[:, here] = loop(part, uniforms(keys, here.start, here.stop))
            bar.update(part.shape[1])
    return codes


def choose(backend: Backend, device: torch.device) -> type[TorchLoop] | type[NumbaLoop]:
    """The loop behind a backend's name. Raises ValueError for an unknown one, and for "numba" where it is missing."""
    if backend not in ("auto", "torch", "numba"):
        raise ValueError(f"backend is {backend!r}; expected 'auto', 'torch' or 'numba'")
    if backend == "torch" or (backend == "auto" and device.type != "cpu"):
        return TorchLoop
    if importlib.util.find_spec("numba"):
        return NumbaLoop
    if backend == "numba":
        raise ValueError("backend is 'numba', which is not installed; run `pip install numba` or choose 'torch'")
    logger.warning("numba is not installed: generating with the torch loop, several times slower; `pip install numba`")
    return TorchLoop


def stream_keys(seed: int | Sequence[int] | None, batch: int) -> np.ndarray:
    """A 64-bit key (B,) for each row: equal seeds, equal keys. Raises ValueError when the rows outnumber the seeds."""
    if seed is None:
        seeds = [secrets.randbits(64) for _ in range(batch)]
    elif isinstance(seed, (int, np.integer)):
        seeds = [int(seed)] * batch
    else:
        seeds = [int(value) for value in seed]
    if len(seeds) != batch:
        raise ValueError(f"seed has {len(seeds)} values for {batch} rows; expected one for each row, or a single one")
    return _mixed(np.array([value % 2**64 for value in seeds], np.uint64))


def uniforms(keys: np.ndarray, start: int, stop: int) -> np.ndarray:
    """u(key, t) for t = start .. stop - 1: (B, stop - start) float64, odd multiples of 2^-24, so exact in float32.

    Never 0 and never 1: a class of probability below 2^-24 at either end of the range is a click, and is not drawn.
    SplitMix64 (Steele, Lea & Flood 2014): counters in golden-ratio steps from the key, mixed; upper 23 bits.
    """
    counters = np.arange(start, stop, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    bits = _mixed(keys[:, None] + counters) >> np.uint64(41)
    return (2 * bits.astype(np.float64) + 1) / 2**24


def _mixed(x: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser: a bijection of 64-bit words in which every input bit stirs every output bit."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
