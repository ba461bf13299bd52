"""What a file keeps of a recording's codes, and what they cost: between conversion.Codes and vocoder_core.codes_file.

codes    log2(K) bits each, `code_rate` of them a second: 3,101 bit/s in the original
pitch    log2(64) = 6 bits a frame, of models that keep it
"""

from __future__ import annotations

from math import log2
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vocoder_core import codes_file
from vocoder_core.codes_file import Book, Coded
from vocoder_core.pitch import LEVELS

from .condition import WaveCodes
from .conversion import Codes
from .timing import UNIT

if TYPE_CHECKING:
    from .model import VQVAEVC


def book(model: VQVAEVC) -> Book:
    """What the codes of this model are. Raises ValueError for a model without codes."""
    if model.quantizer is None:
        raise ValueError(f"this model has no codes: encoder.source is {model.config.encoder.source}")
    keeps_pitch = model.config.encoder.source == "codec" and model.config.labels.pitch
    return codes_file.book(model.quantizer, LEVELS + 1 if keeps_pitch else 0)


def kept(codes: Codes, sample_rate: int, samples: int, gain: float) -> Coded:
    """Codes of one recording of so many samples at that rate, which `gain` took to the model's level, for a file."""
    pitch = None if codes.pitch is None else codes.pitch[0].cpu()
    return Coded(codes.codes[0].cpu(), sample_rate, samples, gain, pitch)


def codes_of(model: VQVAEVC, coded: Coded) -> Codes:
    """The codes that were kept, as one row. Raises ValueError where they are fewer or more than the recording needs."""
    own, hop, rate = model.sample_rate, model.config.mel.hop_length, coded.sample_rate
    frames = max(1, -(-((2 * coded.samples * own + rate) // (2 * rate)) // hop))
    wanted = count(model, frames * hop)
    if len(coded.codes) != wanted or (coded.pitch is not None and len(coded.pitch) != frames):
        raise ValueError(
            f"the file holds {len(coded.codes)} codes of a recording of {coded.samples} samples at {rate} Hz; "
            f"expected {wanted}: encode it again"
        )
    pitch = None if coded.pitch is None else coded.pitch[None]
    return Codes(coded.codes[None], frames * hop, pitch)


def count(model: VQVAEVC, samples: int) -> int:
    """How many codes a wave of so many samples, whole frames, becomes: of the wave also those before and behind it."""
    if isinstance(model.condition, WaveCodes):
        return -(-model.timing.units(samples) * UNIT // model.timing.hop)
    return -(-samples // model.condition.code_hop)


def described(codes: Tensor, base: int, rate: float) -> str:
    """So many codes (N,) below `base`, `rate` of them a second, as a sentence: how many, bits a second, entropy."""
    share = torch.bincount(codes.cpu()) / len(codes)
    entropy = -float((share * share.clamp(min=1e-9).log2()).sum())
    return f"{len(codes)}, {rate:.4g} a second, {rate * log2(base):.4g} bit/s (entropy {rate * entropy:.4g})"
