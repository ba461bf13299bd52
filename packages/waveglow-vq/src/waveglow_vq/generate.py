"""generate: noise to waves and waves to noise through the flow, long utterances in pieces that do not show.

The noise of a row is drawn for its whole length first. A piece gets as many frames on either side as its middle can
depend on (the couplings' own reach, not an overlap to be cross-faded), so that the pieces put together are the whole:

    |<- context ->|<------------- piece ------------->|<- context ->|
                                                |<- context ->|<------------- piece ...
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder_core import seeds
from vocoder_core.griffinlim import settled

if TYPE_CHECKING:
    from .model import WaveGlowVQ

PIECE = 1536  # frames: 25 s at a hop of 256 and 16 kHz; half a GB or so for the default network
REACH = 8  # frames on either side that whitening and periodicity look at; their inverses are not cut
LOUDEST = 1.5  # of sigma: beyond it there is only noise


@dataclass(frozen=True)
class Sampling:
    """How waves are drawn."""

    sigma: float  # of the noise, 0 to 1.5
    settle: int  # steps of Griffin-Lim that bring the wave to its mel
    seed: int | Sequence[int] | None
    progress: bool

    def __post_init__(self) -> None:
        if not 0 <= self.sigma <= LOUDEST:
            raise ValueError(f"sigma is {self.sigma}; expected 0 to {LOUDEST}, such as 0.7")
        if self.settle < 0:
            raise ValueError(f"settle is {self.settle}; expected 0 or more steps")


def generate(
    model: WaveGlowVQ, condition: Tensor, how: Sampling, speaker: Tensor | None, z: Tensor | None = None
) -> Tensor:
    """Waves (B, T) in [-1, 1] of conditions (B, D, T / stride), as `synthesize` says.

    speaker (B, S) where the flow hears one; z (B, G, T / G): what to begin from instead of sigma times noise.
    """
    group, samples = model.config.flow.group, condition.shape[-1] * model.condition.stride
    if z is None:
        like = condition.new_empty(len(condition), group, samples // group)
        z = white(how.seed, like, how.sigma)
    wav = condition.new_zeros(len(condition), samples)
    for part in _bar(list(_pieces(model, samples)), how.progress):
        cut = z[:, :, part.first // group : part.last // group]
        made = model.excitation(cut, _columns(model, condition, part), speaker)
        wav[:, part.start : part.end] = made[:, part.start - part.first : part.end - part.first]
    wav = model.voiced(wav, condition)  # by recursions over all samples, which keep their own pieces
    return settled(wav, condition, model.config.mel, how.settle).clamp(-1, 1)


def latent(model: WaveGlowVQ, wav: Tensor, condition: Tensor, speaker: Tensor | None, progress: bool = False) -> Tensor:
    """z (B, G, T / G) of waves (B, T) under conditions (B, D, T / stride): the way back, in pieces too."""
    group, samples = model.config.flow.group, wav.shape[-1]
    z = wav.new_zeros(len(wav), group, samples // group)
    for part in _bar(list(_pieces(model, samples)), progress):
        flowed, _ = model.flow_forward(wav[:, part.first : part.last], _columns(model, condition, part), speaker)
        inner = slice((part.start - part.first) // group, (part.end - part.first) // group)
        z[:, :, part.start // group : part.end // group] = flowed.z[:, :, inner]
    return z


def white(seed: int | Sequence[int] | None, like: Tensor, sigma: float) -> Tensor:
    """sigma * N(0, 1) in the shape (B, G, L), type and place of `like`.

    A row's numbers depend on its seed alone, on every device, and those of a shorter one begin those of a longer one.
    Raises ValueError for another number of seeds than rows.
    """
    rows = []
    for own in seeds.of_rows(seed, len(like)):
        drawn = torch.randn(like.shape[2], like.shape[1], generator=torch.Generator().manual_seed(own))
        rows.append(drawn.T)
    return sigma * torch.stack(rows).to(like) if rows else torch.zeros_like(like)


@dataclass(frozen=True)
class _Piece:
    """Samples first <= start < end <= last: what is made, and what is kept of it."""

    first: int
    start: int
    end: int
    last: int


def _pieces(model: WaveGlowVQ, samples: int) -> Iterator[_Piece]:
    hop = model.config.mel.hop_length
    context = -(-model.flow.context // hop) + (REACH if model.whiten is not None else 0)
    piece = max(PIECE, 4 * context) * hop
    for start in range(0, samples, piece):
        end = min(samples, start + piece)
        yield _Piece(max(0, start - context * hop), start, end, min(samples, end + context * hop))


def _columns(model: WaveGlowVQ, condition: Tensor, part: _Piece) -> Tensor:
    stride = model.condition.stride
    return condition[:, :, part.first // stride : part.last // stride]


def _bar(parts: list[_Piece], progress: bool) -> tqdm[_Piece]:
    """The pieces under a bar, on a terminal and where there are several."""
    return tqdm(parts, unit="piece", disable=None if progress and len(parts) > 1 else True)
