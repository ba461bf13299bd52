"""Training batches of SpecGrad out of a prepared corpus: waves, their mels, and the random numbers of the step.

A crop is treated as a recording of its own: its mel ends where it ends, as the mel of a short recording does. Whatever
is random here is a pure function of (seed, step, rank), so that a resumed run sees what it would have seen; the loss
draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.training_audio import TrainingAudio, generator
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.speakers import numbers


@dataclass(frozen=True)
class CropConfig:
    """How training audio is cut and how loud it is."""

    frames: int = 64  # 1 s at 16 kHz; the paper: 120 frames of 12.5 ms
    gain_db: float = 12.0  # rows are up to this much softer than the corpus' level: mels of any loudness work

    def __post_init__(self) -> None:
        for name, low in (("frames", 1), ("gain_db", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"crop.{name} is {getattr(self, name)}; expected at least {low}")


@dataclass(frozen=True)
class Batch:
    """One step's worth. T = frames * hop_length."""

    mel: Tensor  # (B, M, frames)
    wav: Tensor  # (B, T) in [-1, 1]
    white: Tensor  # (B, T) standard normal, for the prior to shape
    place: Tensor  # (B,) uniform in [0, 1): where between noise and speech, one in each B-th part over all processes
    speaker: Tensor | None = None  # (B,) int64, which of the model's speakers; (B, S) their vectors; None: it has none


class Batches:
    """batches(step, rank, world_size) -> Batch: what `vocoder_core.train.fit` calls once per step."""

    def __init__(
        self,
        corpus: Corpus,
        mel: MelConfig,
        crop: CropConfig,
        batch_size: int,
        seed: int,
        device: torch.device | str,
        speakers: Sequence[str] = (),
    ) -> None:
        """speakers: the names of the model's, if it has any; ValueError where the training split has others."""
        self.mel, self.crop, self.batch_size, self.seed, self.device = mel, crop, batch_size, seed, device
        self.audio = TrainingAudio(corpus, device)
        self.speaker = numbers([e.speaker for e in self.audio.entries], speakers).to(device) if speakers else None

    def __call__(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step (they count from 1) for one of `world_size` processes."""
        size, count = self.batch_size, self.batch_size * world_size
        draw = generator(self.device, self.seed, step, rank)
        places = self.audio.crops(self.seed, step, count, self.crop.frames)[rank * size : (rank + 1) * size]
        wav = self.audio.waves(places)
        softer = self.crop.gain_db * torch.rand(size, 1, generator=draw, device=self.device)
        wav = wav * 10 ** (-softer / 20)
        white = torch.randn(wav.shape, generator=draw, device=self.device)
        row = rank * size + torch.arange(size, device=self.device)
        place = (row + torch.rand(size, generator=draw, device=self.device)) / count
        speaker = None
        if self.speaker is not None:
            utterance = np.searchsorted(self.audio.starts, places[:, 0], side="right") - 1
            speaker = self.speaker[torch.from_numpy(utterance)]
        return Batch(log_mel(wav, self.mel), wav, white, place, speaker)
