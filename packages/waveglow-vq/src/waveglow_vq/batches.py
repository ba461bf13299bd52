"""Training batches of waveglow-vq out of a prepared corpus: waves, the mels of where they stand, the step's noise.

A crop's mel is that of its recording, cut: its edges know what lies beside them, as they will when the vocoder is used.
What a likelihood must not see is digital silence, which has infinitely much of it: an utterance shorter than the crop
is repeated, a crop of silence is drawn again, and every sample moves by half a bit (dequantisation). Whatever is random
here is a pure function of (seed, step, rank), so that a resumed run sees what it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus
from vocoder_core.corpus.training_audio import TrainingAudio, generator, repeated, speaker_weights
from vocoder_core.mel import MelConfig, log_mel
from vocoder_core.speakers import numbers

SILENCE = 1e-4  # of full scale: a crop whose deviation is below it is drawn again,
DRAWS = 8  # so often at most


@dataclass(frozen=True)
class CropConfig:
    """How training audio is cut and how loud it is."""

    frames: int = 64  # 16,384 samples; NVIDIA: 16,000, which is 62.5 frames
    gain_db: float = 0.0  # rows are up to this much softer than the corpus' level
    balance: float = 0.0  # speakers are drawn by their seconds to the power 1 - balance: 0 as they are, 1 all alike

    def __post_init__(self) -> None:
        for name, low in (("frames", 1), ("gain_db", 0)):
            if getattr(self, name) < low:
                raise ValueError(f"crop.{name} is {getattr(self, name)}; expected at least {low}")
        if not 0 <= self.balance <= 1:
            raise ValueError(f"crop.balance is {self.balance}; expected 0 to 1")


@dataclass(frozen=True)
class Batch:
    """One step's worth. T = frames * hop_length."""

    wav: Tensor  # (B, T) in [-1, 1]
    mel: Tensor  # (B, M, frames)
    noise: Tensor  # (B, T) uniform in [-1/2, 1/2): what dequantises, in steps of 16 bits
    seed: int  # of what else the model draws in this step
    speaker: Tensor | None = None  # (B,) int64, which of the model's speakers; None: it has none


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
        self.margin = -(-mel.win_length // (2 * mel.hop_length))  # frames whose windows reach into a crop
        self.power = frame_powers(corpus)
        self.weights = speaker_weights([entry.speaker for entry in self.audio.entries], self.audio.frames, crop.balance)

    def __call__(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step (they count from 1) for one of `world_size` processes."""
        draw = generator(self.device, self.seed, step, rank)
        places = self.places(step, world_size)[rank * self.batch_size : (rank + 1) * self.batch_size]
        softer = self.crop.gain_db * torch.rand(len(places), 1, generator=draw, device=self.device)
        wav = self.audio.waves(places) * 10 ** (-softer / 20)
        edge = self.margin * self.mel.hop_length
        inner = wav[:, edge : wav.shape[1] - edge]
        mel = log_mel(wav, self.mel)[..., self.margin : self.margin + self.crop.frames]
        noise = torch.rand(inner.shape, generator=draw, device=self.device) - 0.5
        word = int(np.random.SeedSequence((self.seed, step, rank, 1)).generate_state(1)[0])
        return Batch(inner, mel, noise, word, self._speakers(places))

    def places(self, step: int, world_size: int) -> np.ndarray:
        """The frames (B * world_size, margin + frames + margin) of a step's crops; -1 beyond an utterance's ends."""
        count, margin, frames = self.batch_size * world_size, self.margin, self.crop.frames
        places = self.audio.crops(self.seed, step, count, frames, margin, self.weights)
        for again in range(1, DRAWS):
            silent = self._silent(places)
            if not silent.any():
                break
            other = self.audio.crops(self.seed + again * 2**32, step, count, frames, margin, self.weights)
            places[silent] = other[silent]
        return repeated(places, margin)

    def _silent(self, places: np.ndarray) -> np.ndarray:
        """Which rows (B,) hold next to nothing."""
        inner = places[:, self.margin : self.margin + self.crop.frames]
        power = np.where(inner < 0, 0.0, self.power[inner])
        silent: np.ndarray = power.sum(1) / np.maximum((inner >= 0).sum(1), 1) < SILENCE**2
        return silent

    def _speakers(self, places: np.ndarray) -> Tensor | None:
        """Who speaks in each row."""
        if self.speaker is None:
            return None
        return self.speaker[self.audio.utterances(places[:, self.margin])]


def frame_powers(corpus: Corpus) -> np.ndarray:
    """The variance (frames of the corpus,) within each frame of its audio, of full scale 1."""
    hop = corpus.config.hop_length
    frames = corpus.audio.reshape(-1, hop)
    parts = [frames[i : i + 4096].astype(np.float32).var(1) for i in range(0, len(frames), 4096)]
    return np.concatenate(parts) / np.float32(32768**2) if parts else np.empty(0, np.float32)
