"""Training batches of samplernn-pase: chunks of whole utterances in order, with the frames that are read around them.

    wav       | before |---------- chunk: n frames are predicted ----------|
    content   | before |---------------------------------------------------| after |

Before an utterance is silence, its first frame's content and pitch; beyond its end, which few chunks meet exactly, the
same, and nothing there counts: `active` is false. What is random is a pure function of (seed, step, rank).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.training_audio import TrainingAudio, generator, past_noise
from vocoder_core.speakers import numbers

from .sequence import BEGINS, EMPTY, Epochs, Row

if TYPE_CHECKING:
    from .features import Features
    from .model import SampleRNNPASE


@dataclass(frozen=True)
class CropConfig:
    """How training speech is cut. Defaults are the paper's."""

    frames: int = 13  # a chunk: 1,040 samples, 65 ms, through which gradients travel
    carry: bool = True  # states travel from chunk to chunk; the public refactor's never did
    past_noise: float = 0.0  # highest deviation of noise on the past that is told: a model that runs free meets its own
    # errors. Laplacian, in steps of 1/128, or with a linear prediction in gains of its error

    def __post_init__(self) -> None:
        if self.frames < 1:
            raise ValueError(f"crop.frames is {self.frames}; expected 1 or more")
        if self.past_noise < 0:
            raise ValueError(f"crop.past_noise is {self.past_noise}; expected 0 or more")


@dataclass(frozen=True)
class Batch:
    """One step's worth, B slots: see `SampleRNNPASE.forward`."""

    wav: Tensor  # (B, (before + n) hop)
    content: Tensor  # (B, before + n + after, C)
    reset: Tensor  # (B,) 0 goes on, 1 begins, 2 empty
    active: Tensor  # (B, n hop) bool: what counts
    pitch: Tensor | None = None  # (B, before + n, 2)
    speaker: Tensor | None = None  # (B,) int64, which of the model's speakers
    noise: Tensor | None = None  # (B, (before + n) hop)


class Batches:
    """batches(step, rank, world_size) -> Batch: what `vocoder_core.train.fit` calls once per step."""

    def __init__(
        self, corpus: Corpus, features: Features, model: SampleRNNPASE, crop: CropConfig, batch_size: int, seed: int,
        device: torch.device | str,
    ) -> None:  # fmt: skip
        """Raises ValueError where no training utterance has features, or one is of a speaker the model lacks."""
        self.crop, self.batch_size, self.seed, self.device = crop, batch_size, seed, device
        self.features, self.context, self.hop = features, model.context, corpus.config.hop_length
        self.audio = TrainingAudio(corpus, device)
        self.used = np.array([i for i, e in enumerate(self.audio.entries) if e.id not in features.left_out], np.int64)
        if not len(self.used):
            raise ValueError("no training utterance has features; run samplernn-pase-preprocess again")
        names = [self.audio.entries[i].speaker for i in self.used]
        self.speaker = numbers(names, model.config.speakers).to(device) if model.config.speakers else None
        self.epochs: dict[int, Epochs] = {}

    def __call__(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step (they count from 1) for one of `world_size` processes."""
        row = self.row(step, world_size)
        mine = slice(rank * self.batch_size, (rank + 1) * self.batch_size)
        utterance, frame, reset = row.utterance[mine], row.frame[mine], row.reset[mine]
        (before, after), frames = self.context, self.crop.frames
        which = self.used[utterance.clip(0)]  # of an empty slot some utterance: nothing of it counts
        starts, lengths = self.audio.starts[which, None], self.audio.frames[which, None]
        place = frame[:, None] + np.arange(-before, frames + after)
        inside = (place >= 0) & (place < lengths) & (reset != EMPTY)[:, None]
        rows = starts + place.clip(0, lengths - 1)
        told = slice(0, before + frames)
        wav = self.audio.waves(np.where(inside, rows, -1)[:, told])
        counts = torch.from_numpy(inside[:, before : before + frames]).to(self.device)
        begins = np.full_like(reset, BEGINS) if not self.crop.carry else reset
        pitch = None if self.features.pitch is None else self._read(self.features.pitch, rows[:, told])
        draw = generator(self.device, self.seed, step, rank)
        return Batch(
            wav,
            self._read(self.features.content, rows),
            torch.from_numpy(begins).to(self.device),
            counts.repeat_interleave(self.hop, 1),
            pitch,
            None if self.speaker is None else self.speaker[torch.from_numpy(utterance.clip(0)).to(self.device)],
            past_noise(wav, self.crop.past_noise, draw) if self.crop.past_noise else None,
        )

    def row(self, step: int, world_size: int = 1) -> Row:
        """What the slots of all processes hear at a step."""
        if world_size not in self.epochs:
            slots = self.batch_size * world_size
            self.epochs[world_size] = Epochs(self.audio.frames[self.used], slots, self.crop.frames, self.seed)
        return self.epochs[world_size].row(step)

    def _read(self, array: np.ndarray, rows: np.ndarray) -> Tensor:
        """Rows (B, N) of a flat array (frames, C), float32 on the device."""
        return torch.from_numpy(np.asarray(array[rows], np.float32)).to(self.device)
