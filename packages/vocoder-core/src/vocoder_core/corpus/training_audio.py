"""The training split of a prepared corpus on the device that trains: crops are cut out of it by frame numbers.

Whole in memory as int16, 115 MB an hour at 16 kHz, so that no step waits for a disk. Needs torch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .crops import crops
from .prepared import Corpus


class TrainingAudio:
    """Build with a corpus; `entries` are its training utterances. Raises ValueError where there are none."""

    def __init__(self, corpus: Corpus, device: torch.device | str) -> None:
        self.entries = corpus.split("train")
        if not self.entries:
            raise ValueError("the corpus has no training utterances; expected split 'train' in its manifest")
        hop = corpus.config.hop_length
        self.frames = np.array([entry.frames for entry in self.entries])
        self.starts = np.array([entry.offset for entry in self.entries]) // hop  # in frames
        self._audio = torch.from_numpy(np.array(corpus.audio)).to(device).view(-1, hop)

    def crops(
        self, seed: int, step: int, rows: int, frames: int, margin: int = 0, weights: np.ndarray | None = None
    ) -> np.ndarray:
        """Places (rows, margin + frames + margin) of the random crops of a step, with what surrounds them.

        A place is a frame's number in the corpus; -1, silence, where a crop reaches beyond its utterance. Pure.
        weights (utterances,): of their frames, see `crops`.
        """
        index, first = crops(self.frames, seed, step, rows, frames, weights)
        frame = first[:, None] + np.arange(-margin, frames + margin)
        inside = (frame >= 0) & (frame < self.frames[index, None])
        return np.where(inside, self.starts[index, None] + frame, -1)

    def waves(self, places: np.ndarray) -> Tensor:
        """The waves (B, N * hop_length), float32 in [-1, 1), at places (B, N); -1 is silence."""
        at = torch.from_numpy(places).to(self._audio.device)
        return (self._audio[at.clamp(min=0)].float() / 32768 * (at >= 0)[..., None]).flatten(1)

    def utterances(self, places: np.ndarray) -> Tensor:
        """Which of `entries` (B,) int64 lie at places (B,), none of them silence."""
        return torch.from_numpy(np.searchsorted(self.starts, places, side="right") - 1)


def repeated(places: np.ndarray, margin: int) -> np.ndarray:
    """Places (B, margin + frames + margin) with the utterances that end within their `frames` said again and again."""
    places = places.copy()
    inner = places[:, margin : places.shape[1] - margin]
    for row in np.flatnonzero((inner < 0).any(1)):
        own = places[row][places[row] >= 0]
        places[row] = np.resize(own, places.shape[1])
    return places


def speaker_weights(speakers: Sequence[str], frames: np.ndarray, balance: float) -> np.ndarray | None:
    """Weights (utterances,) that draw a speaker by his frames to the power 1 - balance; None: as they are."""
    if not balance:
        return None
    _, who = np.unique(np.asarray(speakers), return_inverse=True)
    weights: np.ndarray = np.bincount(who, frames)[who] ** -balance
    return weights


def generator(device: torch.device | str, *numbers: int) -> torch.Generator:
    """Random numbers that are a function of these numbers alone, for instance of seed, step and rank."""
    word = np.random.SeedSequence(numbers).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(word))


def past_noise(wav: Tensor, amount: float, draw: torch.Generator) -> Tensor:
    """Laplacian noise like wav (B, T), each row's deviation uniform in 0 ... amount.

    Teacher forcing shows flawless pasts only; a network that runs free meets its own errors, and drifts into noise.
    """
    deviation = amount * torch.rand(len(wav), 1, generator=draw, device=wav.device)
    logs = torch.rand(2, *wav.shape, generator=draw, device=wav.device).clamp(min=1e-7).log()
    return deviation * (logs[0] - logs[1]) / 2**0.5
