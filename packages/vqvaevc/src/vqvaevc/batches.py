"""Training batches of vqvaevc out of a prepared corpus: what is to be said, what the encoder hears of it, and where.

One row is a crop of a recording; the loss is taken of `samples` of it, which all networks have been led up to:

    wav    |.... left: context and warm-up ....|-- samples --|.. right: look-ahead ..|..|
    0                                           at                                      T = frames * hop

Where the encoder hears the wave itself, it hears it somewhere else, louder or softer, and with noise: codes otherwise
learn phases, and from some point on speech gets worse the longer it is trained (mkotha/WaveRNN, README). What is to be
said stays clean. Whatever is random here is a pure function of (seed, step, rank), so that a resumed run sees what it
would have seen, and no epoch repeats another: forked workers that shared NumPy's generator did, before torch 1.9.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.training_audio import TrainingAudio, generator, past_noise, repeated, speaker_weights
from vocoder_core.speakers import numbers

GRID = 64  # samples: `at` is a multiple of it, as codes of the wave are


@dataclass(frozen=True)
class CropConfig:
    """How training audio is cut and disturbed. Defaults are the original's; 0 switches a disturbance off."""

    frames: int = 121  # of the corpus' hop, 64 in the original: 5,632 + 1,024 + 960 samples, and 128 to move `at` in
    samples: int = 1024  # of each row are predicted
    shift: int = 128  # the encoder hears the wave this many samples later, or earlier, at most; of a source wave only,
    gain: float = 0.02  # as much louder or softer: the deviation of its logarithm, one for each row,
    noise: float = 0.003  # and with as much white noise, of full scale
    past_noise: float = 0.0  # highest deviation of noise on the past that the decoder is told: it meets its own errors.
    # Laplacian, in coarse steps of 1/128, or with a linear prediction in gains of its error
    gain_db: float = 0.0  # rows are up to this much softer than the corpus' level, what is to be said as well
    balance: float = 0.0  # speakers are drawn by their seconds to the power 1 - balance: 0 as they are, 1 all alike

    def __post_init__(self) -> None:
        for name in ("frames", "samples"):
            if getattr(self, name) < 1:
                raise ValueError(f"crop.{name} is {getattr(self, name)}; expected 1 or more")
        for name in ("shift", "gain", "noise", "past_noise", "gain_db"):
            if getattr(self, name) < 0:
                raise ValueError(f"crop.{name} is {getattr(self, name)}; expected 0 or more")
        if self.samples % GRID:
            raise ValueError(f"crop.samples is {self.samples}; expected a multiple of {GRID}")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"crop.balance is {self.balance}; expected 0 to 1")


@dataclass(frozen=True)
class Batch:
    """One step's worth. T = frames * hop_length."""

    wav: Tensor  # (B, T) in [-1, 1): what is to be said
    heard: Tensor  # (B, T): what the encoder hears
    at: int  # the first sample that is predicted
    samples: int  # how many are
    seed: int  # of what else the model draws in this step
    speaker: Tensor | None = None  # (B,) int64, which of the model's speakers; None: it has none
    noise: Tensor | None = None  # (B, T): on the past that the decoder is told


class Batches:
    """batches(step, rank, world_size) -> Batch: what `vocoder_core.train.fit` calls once per step."""

    def __init__(
        self,
        corpus: Corpus,
        reach: tuple[int, int],
        crop: CropConfig,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        speakers: Sequence[str] = (),
        disturbed: bool = True,
    ) -> None:
        """reach: samples before and after the predicted ones that the model needs of a crop.

        speakers: the names of the model's, if it has any. disturbed: whether the encoder hears the wave elsewhere.
        Raises ValueError where a crop is too short, and where the training split has other speakers.
        """
        self.crop, self.batch_size, self.seed, self.device = crop, batch_size, seed, device
        self.hop, self.disturbed = corpus.config.hop_length, disturbed
        self.audio = TrainingAudio(corpus, device)
        self.speaker = numbers([e.speaker for e in self.audio.entries], speakers).to(device) if speakers else None
        self.margin = -(-crop.shift // self.hop) if disturbed else 0
        self.weights = speaker_weights([e.speaker for e in self.audio.entries], self.audio.frames, crop.balance)
        first, last = -(-reach[0] // GRID), (crop.frames * self.hop - crop.samples - reach[1]) // GRID
        if last < first:
            needed = -(-(first * GRID + crop.samples + reach[1]) // self.hop)
            raise ValueError(f"crop.frames is {crop.frames}; {crop.samples} samples need {needed} around them")
        self.starts = range(first * GRID, last * GRID + 1, GRID)

    def __call__(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step (they count from 1) for one of `world_size` processes."""
        draw = generator(self.device, self.seed, step, rank)
        places = self.places(step, world_size)[rank * self.batch_size : (rank + 1) * self.batch_size]
        wide = self.audio.waves(places)
        if self.crop.gain_db:
            softer = self.crop.gain_db * torch.rand(len(places), 1, generator=draw, device=self.device)
            wide = wide * 10 ** (-softer / 20)
        edge = self.margin * self.hop
        wav = wide[:, edge : wide.shape[1] - edge].contiguous()
        heard = heard_elsewhere(wide, wav.shape[1], self.crop, draw) if self.disturbed else wav
        word, where = np.random.SeedSequence((self.seed, step, rank, 1)).generate_state(2)
        at = self.starts[int(where) % len(self.starts)]
        speaker = None if self.speaker is None else self.speaker[self.audio.utterances(places[:, self.margin])]
        noise = past_noise(wav, self.crop.past_noise, draw) if self.crop.past_noise else None
        return Batch(wav, heard, at, self.crop.samples, int(word), speaker, noise)

    def places(self, step: int, world_size: int) -> np.ndarray:
        """The frames (B * world_size, margin + frames + margin) of a step's crops; -1 beyond an utterance's ends."""
        count, margin, frames = self.batch_size * world_size, self.margin, self.crop.frames
        return repeated(self.audio.crops(self.seed, step, count, frames, margin, self.weights), margin)


def heard_elsewhere(wide: Tensor, samples: int, crop: CropConfig, draw: torch.Generator) -> Tensor:
    """The middle `samples` of waves (B, edge + T + edge), each row moved, scaled, and with noise: (B, T).

    moved by U{-shift ... shift - 1}, scaled by exp(gain N) once a row, plus noise N at each sample.
    """
    rows, edge = len(wide), (wide.shape[1] - samples) // 2
    moved = torch.zeros(rows, 1, dtype=torch.int64, device=wide.device)
    if crop.shift:
        moved = torch.randint(-crop.shift, crop.shift, (rows, 1), generator=draw, device=wide.device)
    heard = wide.gather(1, edge + moved + torch.arange(samples, device=wide.device))
    if crop.gain:
        heard = heard * torch.exp(crop.gain * torch.randn(rows, 1, generator=draw, device=wide.device))
    if crop.noise:
        heard = heard + crop.noise * torch.randn(heard.shape, generator=draw, device=wide.device)
    return heard
