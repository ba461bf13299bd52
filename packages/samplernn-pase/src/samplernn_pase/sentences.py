"""What prosody learns from: of each sentence of a voice its phones, how long they last, its mel and its pitch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder_core.corpus import Corpus, Entry

from . import features, hts_label, label_corpus, linguistic
from .feature_file import FOLDER
from .model import PITCH_MIDDLE, PITCH_SPREAD
from .prosody import NUMBERS, Prosody, ProsodyConfig
from .prosody_layers import cosines

MOST = 200  # sentences by which sharpness and pace are measured
SHARPEST = 1.5


@dataclass(frozen=True)
class Sentence:
    """One of them: labels, phones (P, 55), frames of each (P,), mel (F, M) and pitch (F, 2)."""

    id: str
    phones: list[hts_label.Phone]
    raw: Tensor
    counts: Tensor
    mel: Tensor
    pitch: Tensor


@dataclass(frozen=True)
class Batch:
    """Several of them, padded, as Prosody.forward has them; mel (B, M, F) is normalised, inside (B, F) no padding."""

    raw: Tensor
    counts: Tensor
    mel: Tensor
    height: Tensor
    voicing: Tensor
    inside: Tensor


def prepared(
    corpus: Corpus,
    config: ProsodyConfig,
    labels: Path | None = None,
    *,
    splits: tuple[str, ...] = ("train", "valid"),
    progress: bool = True,
) -> list[Sentences]:
    """The sentences of the voice in each split; makes mel, pitch and labels where they are missing.

    labels: a folder of ID.lab; None: those that alignment makes. Raises ValueError where the first split has none.
    """
    folder = labels or corpus.folder / FOLDER / "labels"
    features.make_mel(corpus, progress=progress)
    features.make_pitch(corpus, progress=progress)
    if labels is None:
        label_corpus.of_corpus(corpus, folder, progress=progress)
    seen = features.Features.open(corpus, "mel80", mel=config.mel, pitch=True)
    model = Prosody(config)
    parts = []
    for split in splits:
        entries = [entry for entry in corpus.split(split) if entry.speaker == config.voice]
        made = [_sentence(model, seen, entry, label_corpus.place(folder, entry.id)) for entry in entries]
        parts.append(Sentences([sentence for sentence in made if sentence is not None], config))
    if not len(parts[0]):
        raise ValueError(f"no recording of {config.voice!r} in the split train has labels in {folder}; expected texts")
    return parts


def _sentence(model: Prosody, seen: features.Features, entry: Entry, path: Path) -> Sentence | None:
    """None where there are no labels, or they are of another length: more than 50 ms off."""
    if not path.is_file():
        return None
    phones = hts_label.read(path)
    counts = torch.from_numpy(linguistic.frame_counts(phones))
    frames = min(int(counts.sum()), entry.frames)
    if abs(int(counts.sum()) - entry.frames) > 10 or not (counts > 0).all():
        return None
    counts[-1] += frames - int(counts.sum())
    assert seen.pitch is not None
    first = entry.offset // (entry.samples // entry.frames)
    pitch = torch.from_numpy(np.array(seen.pitch[first : first + frames]))
    return Sentence(
        entry.id, phones, model.raw(phones), counts, torch.from_numpy(np.array(seen.of(entry)[:frames])), pitch
    )


class Sentences:
    """Sentences of one voice, and batches of them."""

    def __init__(self, sentences: Sequence[Sentence], config: ProsodyConfig) -> None:
        self.sentences = list(sentences)
        self.config = config
        mels = (
            torch.cat([s.mel.float() for s in self.sentences]) if self.sentences else torch.zeros(1, config.mel.n_mels)
        )
        self.mean, self.std = mels.mean(0), mels.std(0, correction=0).clamp(min=1e-2)

    def __len__(self) -> int:
        return len(self.sentences)

    def measure(self, model: Prosody) -> None:
        """Tell a new model what is usual: means and deviations of numbers and bands."""
        numbers = torch.cat([sentence.raw[:, NUMBERS] for sentence in self.sentences])
        defined = ~numbers.isnan()
        count = defined.sum(0).clamp(min=1)
        mean = torch.where(defined, numbers, 0.0).sum(0) / count
        std = (torch.where(defined, numbers - mean, 0.0).square().sum(0) / count).sqrt()
        model.number_mean.copy_(mean)
        model.number_std.copy_(torch.where(std > 1e-3, std, 1.0))
        model.mel_mean.copy_(self.mean)
        model.mel_std.copy_(self.std)

    @torch.inference_mode()
    def measure_sharpness(self, model: Prosody) -> None:
        """How much less the guessed mels' cosines vary than the true ones' do where somebody speaks."""
        basis = cosines(len(model.mel_mean))
        sums = torch.zeros(2, len(basis))
        for i in range(0, len(self), max(1, len(self) // MOST)):
            batch = self.batch([i], model)
            guess = model(batch.raw, batch.counts)
            loud = batch.mel[0].mean(0) > 0
            for row, mel in zip(sums, (batch.mel[0], guess.mel[0].float()), strict=True):
                spread = basis @ (mel * model.mel_std[:, None])[:, loud]
                row += (spread - spread.mean(1, keepdim=True)).square().sum(1)
        model.sharpness.copy_((sums[0] / sums[1].clamp(min=1e-6)).sqrt().clamp(1, SHARPEST))

    @torch.inference_mode()
    def measure_pace(self, model: Prosody) -> None:
        """Let the phones that are no pause last as long in all as they do here."""
        totals = torch.zeros(2)
        for sentence in self.sentences[:MOST]:
            spoken = torch.tensor([phone.name not in hts_label.SILENCES for phone in sentence.phones])
            real = torch.ones(1, len(spoken), dtype=torch.bool)
            guess = model.duration(model.encode(sentence.raw[None], real))[0, 0].exp()
            totals += torch.stack([sentence.counts[spoken].sum(), guess[spoken].sum()])
        assert model.duration.bias is not None
        model.duration.bias += (totals[0] / totals[1]).log()

    def batch(self, which: Sequence[int], model: Prosody | None = None) -> Batch:
        """These sentences, padded; normalised as the model has it, or as they are themselves."""
        mean, std = (self.mean, self.std) if model is None else (model.mel_mean, model.mel_std)
        rows = [self.sentences[i] for i in which]
        phones, frames = max(len(row.counts) for row in rows), max(len(row.mel) for row in rows)
        raw, counts = (
            torch.zeros(len(rows), phones, rows[0].raw.shape[1]),
            torch.zeros(len(rows), phones, dtype=torch.long),
        )
        mel, pitch = torch.zeros(len(rows), frames, len(mean)), torch.zeros(len(rows), frames, 2)
        pitch[..., 0] = 100.0
        for i, row in enumerate(rows):
            raw[i, : len(row.raw)], counts[i, : len(row.counts)] = row.raw, row.counts
            mel[i, : len(row.mel)], pitch[i, : len(row.pitch)] = (row.mel.float() - mean) / std, row.pitch
        inside = torch.arange(frames) < torch.tensor([len(row.mel) for row in rows])[:, None]
        height = (pitch[..., 0].log() - PITCH_MIDDLE) / PITCH_SPREAD
        return Batch(raw, counts, mel.transpose(1, 2), height, pitch[..., 1], inside)


class Batches:
    """The batch of a step, a pure function of (seed, step): whole sentences of about one length, each once an epoch."""

    def __init__(self, sentences: Sentences, size: int, seed: int) -> None:
        self.sentences, self.size, self.seed = sentences, min(size, len(sentences)), seed
        self.lengths = np.array([len(sentence.mel) for sentence in sentences.sentences])

    def __call__(self, step: int, rank: int, world_size: int) -> Batch:
        """Batch of a step from 1 on, of a process."""
        per_epoch = len(self.sentences) // self.size
        epoch, place = divmod((step - 1) * world_size + rank, per_epoch)
        draw = np.random.default_rng((self.seed, epoch))
        order = np.argsort(self.lengths * draw.uniform(0.9, 1.1, len(self.lengths)), kind="stable")
        left = draw.integers(len(order) - per_epoch * self.size + 1)  # who sits out
        bucket = draw.permutation(per_epoch)[place]
        return self.sentences.batch(order[left:][bucket * self.size : (bucket + 1) * self.size].tolist())
