"""generate: the sampler's steps over a batch, long utterances in pieces that do not show.

The white noise of a row is drawn for its whole length first. A piece gets as many frames on either side as its middle
can depend on, so that the pieces put together are the whole:

    |<- context ->|<------------- piece ------------->|<- context ->|
                                                |<- context ->|<------------- piece ...
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from tqdm import tqdm

from vocoder_core import seeds
from vocoder_core.speakers import Who

from . import diffusion, flow
from .settle import matched

if TYPE_CHECKING:
    from .model import SpecGrad

PIECE = 1536  # frames: 25 s at a hop of 256 and 16 kHz; 1 GB or so for the default network


def generate(
    model: SpecGrad,
    mel: Tensor,
    how: int | tuple[float, ...],
    seed: int | Sequence[int] | None,
    speaker: Who | None,
    progress: bool,
) -> Tensor:
    """Waves (B, F * hop) in [-1, 1] of mels (B, M, F). how: steps of a flow, or betas of a diffusion."""
    batch, _, frames = mel.shape
    hop, count = model.config.mel.hop_length, how if isinstance(how, int) else len(how)
    draws = 1 if isinstance(how, int) else count
    own = seeds.of_rows(seed, batch)
    noise = [_white(own, frames * hop, draw, mel) for draw in range(draws)]
    wav = mel.new_zeros(batch, frames * hop)
    context = model.net.context * count + 4 * model.config.shaping.iterations + 8
    piece = max(PIECE, 4 * context)
    starts = range(0, frames, piece)
    for start in tqdm(starts, unit="piece", disable=None if progress and len(starts) > 1 else True):
        first, last = max(0, start - context), min(frames, start + piece + context)
        cut = [white[:, first * hop : last * hop] for white in noise]
        made = _one_piece(model, mel[:, :, first:last], how, cut, speaker)
        end = min(frames, start + piece)
        wav[:, start * hop : end * hop] = made[:, (start - first) * hop : (end - first) * hop]
    return wav.clamp(-1, 1)


def _one_piece(
    model: SpecGrad, mel: Tensor, how: int | tuple[float, ...], white: list[Tensor], speaker: Who | None
) -> Tensor:
    condition = model.condition(mel, speaker)

    def estimate(noisy: Tensor, level: Tensor) -> Tensor:
        return model.estimate(noisy, condition, level)

    shaped = (model.prior(noise, condition) for noise in white)
    if isinstance(how, int):
        wav = flow.sample(estimate, next(shaped), flow.times(how))
        return matched(wav, model.noise_grid, mel, model.config.mel)
    told = diffusion.told(how, model.config.diffusion)
    return diffusion.sample(estimate, next(shaped), how, told, lambda: next(shaped))


def _white(own: list[int], samples: int, draw: int, like: Tensor) -> Tensor:
    """(B, samples) ~ N(0, 1). A row's numbers depend on its seed and the draw alone, on every device."""
    rows = []
    for seed in own:
        generator = torch.Generator().manual_seed((seed * 1009 + draw) % 2**63)
        rows.append(torch.randn(samples, generator=generator))
    return torch.stack(rows).to(like) if rows else like.new_zeros(0, samples)
