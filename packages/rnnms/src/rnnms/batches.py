"""Training batches of mel and labels out of a prepared corpus, computed on the training device.

Two ways to cut the corpus, both pure functions of the step, so that a resumed run sees what it would have seen:

    crops (paper)      each row a random crop; the decoder starts from zeros
    lanes (stateful)   the shuffled corpus end to end, cut into B lanes of equal length; step s reads the s-th piece of
                       every lane, and the decoder's state is carried from piece to piece (truncated BPTT)

      lane 0  |utt 7 ... |utt 2 .|      step 0  step 1  step 2 ...
      lane 1  |. utt 2|utt 9 ...        [----]  [----]  [----]   the mel sees `context` frames more on both sides
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus, Entry
from vocoder_core.corpus.training_audio import TrainingAudio, generator
from vocoder_core.mel import log_mel

from .model import RNNMS

BLOCK = 16  # steps of lanes whose mels are computed at once: short pieces would compute each frame's mel many times


@dataclass(frozen=True)
class CropConfig:
    """How training audio is cut and disturbed. Defaults are the public recipe's; 0 switches a disturbance off."""

    frames: int = 24  # univoc 0.2: 24 frames, 4800 samples
    context: int = 0  # frames the encoder sees beyond the crop on either side; univoc 0.1: 16, ours 48
    stateful: bool = False  # lanes with a carried decoder state instead of random crops
    label_noise: float = (
        0.0  # highest Laplacian deviation, in codes, of the past samples: the model meets its own errors
    )
    past_gain_db: float = 0.0  # half of the rows hear their past this much too loud or soft at most
    mel_noise: float = 0.0  # standard deviation added to the mel: so that predicted mels work too
    gain_db: float = 0.0  # uniform in +-gain_db: so that other loudnesses work

    def __post_init__(self) -> None:
        amounts = ("context", "label_noise", "mel_noise", "gain_db")
        for name, low in [("frames", 1), *((name, 0) for name in amounts)]:
            if getattr(self, name) < low:
                raise ValueError(f"crop.{name} is {getattr(self, name)}; expected at least {low}")


@dataclass(frozen=True)
class Batch:
    """One step's worth."""

    mel: Tensor  # (B, M, context + frames + context)
    past: Tensor  # (B, frames * hop_length) int64: the samples before the predicted ones, disturbed
    target: Tensor  # (B, frames * hop_length) int64
    fresh: bool  # the decoder starts from zeros


class Batches:
    """batches(step, rank, world_size) -> Batch: what `vocoder_core.train.fit` calls once per step."""

    def __init__(self, corpus: Corpus, model: RNNMS, crop: CropConfig, batch_size: int, seed: int) -> None:
        self.model, self.crop, self.batch_size, self.seed = model, crop, batch_size, seed
        self.device = next(model.parameters()).device
        self.audio = TrainingAudio(corpus, self.device)
        self._lanes: Lanes | None = None
        self._block: tuple[tuple[int, int], Tensor, Tensor] | None = None  # (first step, lanes), its mels and labels

    def __call__(self, step: int, rank: int = 0, world_size: int = 1) -> Batch:
        """The batch of a step (they count from 1) for one of `world_size` processes."""
        size = self.batch_size * world_size
        rows = slice(rank * self.batch_size, (rank + 1) * self.batch_size)
        if not self.crop.stateful:
            places = self.audio.crops(self.seed, step, size, self.crop.frames, self._margin)[rows]
            mel, labels = self._features(places, step, rank)
            return self._cut(mel, labels, 0, step, rank, fresh=True)
        if self._lanes is None or self._lanes.count != size:
            self._lanes = Lanes(self.audio.entries, size, self.crop.frames, self.seed)
        begin, pieces = self._lanes.block(step)
        if self._block is None or self._block[0] != (begin, size):
            places = self._lanes.places(begin, self._margin, pieces)[rows]
            self._block = ((begin, size), *self._features(places, begin, rank))
        _, mel, labels = self._block
        return self._cut(mel, labels, (step - begin) * self.crop.frames, step, rank, fresh=self._lanes.first(step))

    @property
    def _margin(self) -> int:
        """Frames beyond the crop: the encoder's context, and half a window so that no mel frame used sees an edge."""
        mel = self.model.config.mel
        return self.crop.context + 1 + -(-mel.win_length // (2 * mel.hop_length))

    def _features(self, places: np.ndarray, step: int, rank: int) -> tuple[Tensor, Tensor]:
        """Mel (B, M, context + N + context), labels (B, (margin + N + margin) * hop) of frame numbers; -1: silence."""
        config, draw = self.model.config, generator(self.device, self.seed, step, rank, 0)
        wav = self.audio.waves(places)
        if self.crop.gain_db:
            decibels = self.crop.gain_db * (2 * torch.rand(len(wav), 1, generator=draw, device=self.device) - 1)
            wav = (wav * 10 ** (decibels / 20)).clamp(-1, 1)
        edge = self._margin - self.crop.context
        return log_mel(wav, config.mel)[..., edge : places.shape[1] - edge], self.model.labels(wav)

    def _cut(self, mel: Tensor, labels: Tensor, frame: int, step: int, rank: int, fresh: bool) -> Batch:
        """The crop that begins `frame` frames into what _features gave, disturbed as the settings say."""
        crop, hop, draw = self.crop, self.model.config.mel.hop_length, generator(self.device, self.seed, step, rank, 1)
        mel = mel[..., frame : frame + crop.frames + 2 * crop.context]
        if crop.mel_noise:
            mel = mel + crop.mel_noise * torch.randn(mel.shape, generator=draw, device=self.device)
        first, samples = (self._margin + frame) * hop, crop.frames * hop
        past, target = labels[:, first - 1 : first + samples - 1], labels[:, first : first + samples]
        return Batch(mel, self._disturbed(past, draw), target, fresh)

    def _disturbed(self, past: Tensor, draw: torch.Generator) -> Tensor:
        """Past codes with Laplacian noise, each row's deviation uniform in 0..label_noise codes.

        Teacher forcing shows only flawless pasts; a network that runs free meets its own errors (LPCNet's noise, Valin
        & Skoglund 2019). Too much of it, and the network's own distribution becomes as wide.
        """
        if not self.crop.label_noise:
            return past
        deviation = self.crop.label_noise * torch.rand(len(past), 1, generator=draw, device=self.device)
        logs = torch.rand(2, *past.shape, generator=draw, device=self.device).clamp(min=1e-7).log()
        laplacian = (logs[0] - logs[1]) / 2**0.5  # of deviation 1
        return (past + (deviation * laplacian).round().long()).clamp(0, 2**self.model.config.bits - 1)


class Lanes:
    """Where step s of B parallel lanes through a shuffled corpus lies. A new shuffle every epoch."""

    def __init__(self, entries: list[Entry], count: int, frames: int, seed: int) -> None:
        self.count, self.frames, self.seed = count, frames, seed
        self.offset = np.array([entry.offset for entry in entries])
        self.length = np.array([entry.frames for entry in entries])
        self.samples_per_frame = entries[0].samples // entries[0].frames
        self.per_epoch = int(self.length.sum()) // (count * frames)  # steps
        if not self.per_epoch:
            raise ValueError(
                f"the corpus has {self.length.sum()} frames, too few for {count} lanes of {frames} each; "
                "lower train.batch_size or crop.frames"
            )
        self._order: tuple[int, np.ndarray] | None = None

    def first(self, step: int) -> bool:
        """Whether this step (they count from 1) starts an epoch, where the lanes jump."""
        return (step - 1) % self.per_epoch == 0

    def block(self, step: int) -> tuple[int, int]:
        """First step and number of steps, within the epoch, of the block whose mels are worth computing together."""
        epoch, piece = divmod(step - 1, self.per_epoch)
        begin = piece - piece % BLOCK
        return epoch * self.per_epoch + begin + 1, min(BLOCK, self.per_epoch - begin)

    def places(self, step: int, margin: int, pieces: int = 1) -> np.ndarray:
        """Frame numbers in the audio array (B, margin + pieces * frames + margin); -1 beyond the lanes' ends."""
        epoch, piece = divmod(step - 1, self.per_epoch)
        order = self._frames_of(epoch)
        lane = np.arange(self.count)[:, None] * (self.per_epoch * self.frames)
        at = lane + piece * self.frames + np.arange(-margin, pieces * self.frames + margin)
        inside = (at >= 0) & (at < len(order))
        return np.where(inside, order[at.clip(0, len(order) - 1)], -1)

    def _frames_of(self, epoch: int) -> np.ndarray:
        """Every frame of the corpus in this epoch's order. The last one asked for is kept: 28 kB a minute of speech."""
        if self._order is None or self._order[0] != epoch:
            shuffled = np.random.default_rng((self.seed, epoch)).permutation(len(self.length))
            starts = self.offset[shuffled] // self.samples_per_frame
            frames = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, self.length[shuffled])])
            self._order = (epoch, frames)
        return self._order[1]
