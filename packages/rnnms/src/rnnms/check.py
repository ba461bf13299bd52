"""What is measured on held-out speech while RNN_MS trains: bits per sample, and a few syntheses with scores."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from vocoder_core import audio, metrics
from vocoder_core.corpus import Corpus, Entry
from vocoder_core.mel import log_mel

from .model import RNNMS
from .settings import CheckConfig


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then.

    Bits per sample are means over held-out utterances (whole, or their first `seconds`), of speakers the training set
    has (`seen_bits`) and has not (`unseen_bits`). Audio goes to run_dir/samples/STEP/.
    """

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.corpus, self.config = corpus, config
        held_out = corpus.split("valid") or corpus.split("test")
        unseen = [e for e in corpus.split("valid") + corpus.split("test") if e.speaker in corpus.unseen_speakers]
        self.groups = {
            "seen": spread([e for e in held_out if e.speaker not in corpus.unseen_speakers], config.clips),
            "unseen": spread(unseen, config.clips),
        }

    def __call__(self, model: RNNMS, step: int, run_dir: Path) -> dict[str, float]:
        figures = {}
        for name, entries in self.groups.items():
            if entries:
                figures[f"{name}_bits"] = float(np.mean([self.bits(model, entry) for entry in entries]))
        heard = spread(self.groups["seen"] + self.groups["unseen"], self.config.synthesize)
        scores = [self._synthesize(model, entry, run_dir / "samples" / f"{step:07d}") for entry in heard]
        for name in scores[0] if scores else ():
            figures[name] = float(np.mean([score[name] for score in scores]))
        return figures

    @torch.inference_mode()
    def bits(self, model: RNNMS, entry: Entry) -> float:
        """Bits per sample of an utterance, every sample predicted from the true ones before it."""
        wav, mel = self._clip(model, entry)
        codes = model.labels(wav[None])
        past = F.pad(codes, (1, 0), value=2 ** (model.config.bits - 1))[:, :-1]
        logits, _ = model(mel[None], past)
        return F.cross_entropy(logits[0].float(), codes[0]).item() / log(2)

    def _synthesize(self, model: RNNMS, entry: Entry, folder: Path) -> dict[str, float]:
        wav, mel = self._clip(model, entry)
        made = model.synthesize(mel, seed=0).cpu().numpy()
        folder.mkdir(parents=True, exist_ok=True)
        audio.save(folder / f"{Path(entry.id).name}.wav", made, model.sample_rate)
        return metrics.score(wav.cpu().numpy(), made, model.sample_rate, metrics=["mr_stft", "log_mel_mae"])

    def _clip(self, model: RNNMS, entry: Entry) -> tuple[torch.Tensor, torch.Tensor]:
        hop = model.config.mel.hop_length
        samples = min(entry.samples, int(self.config.seconds * model.sample_rate) // hop * hop)
        wav = torch.from_numpy(self.corpus.wav(entry)[:samples]).to(next(model.parameters()).device)
        return wav, log_mel(wav, model.config.mel)


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """`count` of the entries, evenly spaced through them: every speaker of a sorted list gets its share."""
    if len(entries) <= count:
        return entries
    return [entries[i] for i in np.linspace(0, len(entries) - 1, count).round().astype(int)]
