"""What is measured on held-out speech while vqvaevc trains: bits per sample, use of codes, whom they betray, copies.

- `seen_bits`, `unseen_bits`, their parts `_bits_coarse` and `_bits_fine`, of codecs `_mel_l1`: of speakers the training
  split has and has not
- `perplexity`, `active_codes` of the codes of all those clips, `bits_per_second`: their entropy
- `probe_accuracy`: how often a linear probe on how often each code occurs names the speaker of a held-out clip, beside
  `probe_chance`, one in the number of speakers
- `mr_stft`, `log_mel_mae`, `pesq` of a few copies, by the codes where the model has some, in run_dir/samples/STEP/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder_core import metrics, validation
from vocoder_core.corpus import Corpus, Entry
from vocoder_core.validation import HeldOut, spread
from vocoder_core.vq.speaker_probe import speaker_probe

from .batches import GRID
from .model import VQVAEVC

SCORES = ("mr_stft", "log_mel_mae", "pesq")  # PESQ where it is installed
FIGURES = ("loss", "bits", "bits_coarse", "bits_fine", "mel_l1")  # nats and bits a sample; of a codec, nats a band
ROWS = 8  # clips a pass


@dataclass(frozen=True)
class CheckConfig(validation.CheckConfig):
    """What is measured on held-out speech while training."""

    probe: int = 4  # training utterances of each held-out speaker that the speaker probe is fitted on; 0: no probe


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then. See the file."""

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.held_out, self.config = HeldOut(corpus, config), config
        self.scores = [score.name for score in metrics.select(SCORES)[0]]

    def __call__(self, model: VQVAEVC, step: int, run_dir: Path) -> dict[str, float]:
        """The figures of the file's docstring."""
        figures: dict[str, float] = {}
        device = next(model.parameters()).device
        for name, entries in self.held_out.groups.items():
            if entries:
                clips = [self.held_out.clip(entry, device) for entry in entries]
                told = bits_of(model, clips, [entry.speaker for entry in entries])
                figures |= {f"{name}_{key}": value for key, value in told.items()}
        if model.quantizer is not None:
            figures |= self.codes(model)
        if model.config.encoder.source == "none":  # it says nothing in particular, of which there is no copy
            return figures

        def copy(entry: Entry, wav: Tensor) -> Tensor:
            return model.infer(wav[None], spoken_by(model, [entry.speaker]), seed=0)[0]

        folder = run_dir / "samples" / f"{step:07d}"
        return figures | self.held_out.listen(model, folder, self.scores, copy=copy)

    def codes(self, model: VQVAEVC) -> dict[str, float]:
        """How the codes of all clips are used, and what they say about who speaks."""
        assert model.quantizer is not None, "asked of models that have codes"
        seen, others = self.held_out.groups["seen"], self.held_out.groups["unseen"]
        fitted = self._fitted_on(seen)
        counts = np.array([self._histogram(model, entry) for entry in [*seen, *others, *fitted]])
        figures = usage(counts[: len(seen) + len(others)].sum(0), model.code_rate)
        if not fitted:
            return figures
        names = sorted({entry.speaker for entry in seen})
        who = np.array([names.index(entry.speaker) for entry in [*seen, *fitted]])
        asked = np.arange(len(who)) < len(seen)
        accuracy = speaker_probe(np.concatenate([counts[: len(seen)], counts[len(seen) + len(others) :]]), who, asked)
        return figures | {"probe_accuracy": accuracy, "probe_chance": 1 / len(names)}

    def _fitted_on(self, seen: list[Entry]) -> list[Entry]:
        """Training utterances of the same speakers."""
        own: dict[str, list[Entry]] = {entry.speaker: [] for entry in seen}
        for entry in self.held_out.corpus.split("train"):
            if entry.speaker in own:
                own[entry.speaker].append(entry)
        return [entry for entries in own.values() for entry in spread(entries, self.config.probe)]

    def _histogram(self, model: VQVAEVC, entry: Entry) -> np.ndarray:
        """How often each code occurs in a clip (K,)."""
        assert model.quantizer is not None
        codes = model.encode(self.held_out.clip(entry, next(model.parameters()).device)[None]).codes[0]
        return np.bincount(codes.cpu().numpy(), minlength=model.quantizer.size)


def usage(counts: np.ndarray, rate: float) -> dict[str, float]:
    """Perplexity, codes that occur, and bits a second, of how often each code occurs (K,) at `rate` codes a second."""
    share = counts[counts > 0] / counts.sum()
    entropy = -float((share * np.log2(share)).sum())
    return {
        "perplexity": 2**entropy,
        "active_codes": float(len(share)),
        "codes_per_second": rate,
        "bits_per_second": entropy * rate,
        "bits_per_second_at_most": log2(len(counts)) * rate,
    }


@torch.inference_mode()
def bits_of(model: VQVAEVC, wavs: Sequence[Tensor], speakers: Sequence[str]) -> dict[str, float]:
    """What the model's loss says of waves (T,), mean over their samples from the first that it can be led up to.

    speakers: a name for each. Waves that are too short for it are left out; {} where all of them are.
    """
    left, right = model.reach
    at = -(-left // GRID) * GRID
    sums: dict[str, float] = {}
    total = 0
    for length in sorted({len(wav) for wav in wavs}):
        samples = (length - right - at) // GRID * GRID
        rows = [i for i, wav in enumerate(wavs) if len(wav) == length]
        for some in (rows[i : i + ROWS] for i in range(0, len(rows) if samples > 0 else 0, ROWS)):
            wav = torch.stack([wavs[i] for i in some])
            made = model(wav, wav, at, samples, spoken_by(model, [speakers[i] for i in some]))
            for name, value in model.loss(made).items():
                sums[name] = sums.get(name, 0.0) + float(value) * samples * len(some)
            total += samples * len(some)
    return {name: sums[name] / total for name in FIGURES if name in sums}


def spoken_by(model: VQVAEVC, names: Sequence[str]) -> Tensor | None:
    """Vectors (B, S) of speakers, of one whom training never heard the mean of all; None of a model without any."""
    if model.speakers is None:
        return None
    return torch.stack([model.speakers.vector(name) for name in names]).to(next(model.parameters()))
