"""Held-out speech of a corpus, as a vocoder is checked on it while it trains: groups of utterances, and copies of some.

`seen` are held-out utterances of speakers the training split has, `unseen` those of speakers it has not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from . import audio, metrics
from .corpus import Corpus, Entry
from .mel import log_mel


@dataclass(frozen=True)
class CheckConfig:
    """What is measured on held-out speech while training."""

    clips: int = 32  # utterances per group (seen speakers, unseen speakers) the loss is measured on
    seconds: float = 4.0  # of each
    synthesize: int = 2  # utterances to synthesise, score and keep as audio


class HeldOut:
    """The clips that are measured: at most `config.clips` a group, the same ones whenever they are asked for."""

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.corpus, self.config = corpus, config
        held_out = corpus.split("valid") or corpus.split("test")
        unseen = [e for e in corpus.split("valid") + corpus.split("test") if e.speaker in corpus.unseen_speakers]
        self.groups = {
            "seen": spread([e for e in held_out if e.speaker not in corpus.unseen_speakers], config.clips),
            "unseen": spread(unseen, config.clips),
        }

    def clip(self, entry: Entry, device: torch.device) -> Tensor:
        """The wave (T,) of an entry, or its first `seconds`; T a multiple of hop_length."""
        hop, rate = self.corpus.config.hop_length, self.corpus.config.sample_rate
        samples = min(entry.samples, int(self.config.seconds * rate) // hop * hop)
        return torch.from_numpy(self.corpus.wav(entry)[:samples]).to(device)

    def listen(
        self,
        model: Any,
        folder: Path,
        scores: Sequence[str],
        speaker: Callable[[Entry], Tensor | None] | None = None,
        copy: Callable[[Entry, Tensor], Tensor] | None = None,
    ) -> dict[str, float]:
        """Synthesise some clips from their mels into folder/ID.wav; the mean of each score over them.

        speaker: what `synthesize` is told about an entry's speaker, by models that want to be told.
        copy: what makes the copy (T,) of an entry's clip (T,) instead, for models that need more than its mel.
        """
        entries = spread(self.groups["seen"] + self.groups["unseen"], self.config.synthesize)

        def by_mel(entry: Entry, wav: Tensor) -> Tensor:
            told = {"speaker": speaker(entry)} if speaker else {}
            made: Tensor = model.synthesize(log_mel(wav, model.config.mel), seed=0, **told)
            return made

        rows = [self._copy(model, entry, folder, scores, copy or by_mel) for entry in entries]
        return {name: float(np.mean([row[name] for row in rows])) for name in (rows[0] if rows else ())}

    def _copy(
        self, model: Any, entry: Entry, folder: Path, scores: Sequence[str], copy: Callable[[Entry, Tensor], Tensor]
    ) -> dict[str, float]:
        wav = self.clip(entry, next(model.parameters()).device)
        made = copy(entry, wav).cpu().numpy()
        folder.mkdir(parents=True, exist_ok=True)
        audio.save(folder / f"{Path(entry.id).name}.wav", made, model.sample_rate)
        return metrics.score(wav.cpu().numpy(), made, model.sample_rate, metrics=scores)


def spread(entries: list[Entry], count: int) -> list[Entry]:
    """`count` of the entries, evenly spaced through them: every speaker of a sorted list gets its share."""
    if len(entries) <= count:
        return entries
    return [entries[i] for i in np.linspace(0, len(entries) - 1, count).round().astype(int)]
