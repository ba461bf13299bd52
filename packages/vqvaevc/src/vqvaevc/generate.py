"""From what the decoder is told to waves: seeds, uniforms, backend, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from .condition import Conditioned

if TYPE_CHECKING:
    from .model import VQVAEVC

Backend = Literal["auto", "torch", "numba"]


@dataclass(frozen=True)
class Sampling:
    """How samples are drawn."""

    temperature: float = 1.0
    seed: int | Sequence[int] | None = None
    backend: Backend = "auto"
    progress: bool = False


def generate(model: VQVAEVC, made: Conditioned, samples: int, speaker: Tensor | None, how: Sampling) -> Tensor:
    """Waves (B, samples)."""
    raise NotImplementedError
