"""Codes of speech in a file, codes.npz, and the refusal of those that another codebook gave: they would be noise.

codes (N,)       uint16: at so many bits a second as `waveglow-vq-encode` says
sample_rate, samples, gain      the recording's rate in Hz, its length, and what took it to the model's level
codebook         a fingerprint of the vectors that the codes stand for
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from .model import WaveGlowVQ

FIELDS = ("codes", "sample_rate", "samples", "gain", "codebook")


@dataclass(frozen=True)
class Coded:
    """A recording as codes."""

    codes: Tensor  # (N,) int64, on the CPU
    sample_rate: int  # Hz, of the recording
    samples: int  # of the recording
    gain: float  # linear, what took it to the model's level


def write(path: str | Path, coded: Coded, model: WaveGlowVQ) -> None:
    """Write codes as .npz. Raises ValueError for another suffix."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: codes are kept as .npz; expected a name like codes.npz")
    values = coded.codes.cpu().numpy().astype(np.uint16)
    with open(path, "wb") as file:
        np.savez(
            file, codes=values, sample_rate=coded.sample_rate, samples=coded.samples, gain=coded.gain,
            codebook=fingerprint(model),
        )  # fmt: skip


def read(path: str | Path, model: WaveGlowVQ) -> Coded:
    """The codes in a file. Raises ValueError when they are none, or another model's; OSError."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except (ValueError, EOFError, AttributeError):  # an .npy is an array, which is no context
        raise ValueError(f"{path}: not a readable file of codes; expected what waveglow-vq-encode writes") from None
    missing = [name for name in FIELDS if name not in arrays]
    if missing:
        raise ValueError(f"{path}: holds no {missing[0]}; expected what waveglow-vq-encode writes")
    if str(arrays["codebook"]) != fingerprint(model):
        raise ValueError(
            f"{path}: its codes are of another codebook; decode them with the checkpoint that encoded them"
        )
    codes, rate, samples = arrays["codes"], int(arrays["sample_rate"]), int(arrays["samples"])
    if codes.ndim != 1 or not codes.size or codes.dtype != np.uint16 or rate < 1 or samples < 1:
        raise ValueError(f"{path}: {codes.dtype} codes of shape {codes.shape}; expected uint16 (N,), damaged otherwise")
    return Coded(torch.from_numpy(codes.astype(np.int64)), rate, samples, float(arrays["gain"]))


def fingerprint(model: WaveGlowVQ) -> str:
    """What tells the vectors of a model's codes from another's; the same in half precision, in which voices ship."""
    quantizer = model.condition.quantizer
    if quantizer is None:
        raise ValueError("this model hears mels and has no codes; expected one with condition.source codes or wav")
    with torch.no_grad():
        vectors = quantizer.decode(torch.arange(quantizer.size, device=next(model.parameters()).device)[None])
    return hashlib.sha256(vectors.half().cpu().numpy().tobytes()).hexdigest()[:16]
