#!/usr/bin/env python3
"""Ask the question of "Problem-Agnostic Speech Embeddings for Multi-Speaker TTS with SampleRNN" (SSW10 2019) offline.

    python tools/ab_speakers.py DATA OUT NAME=FOLDER [NAME=FOLDER ...] [--speaker-weights FILE]

Does a vector that is computed from speech tell a model who speaks as well as a learned one, and does it do so for
somebody whom training never heard; how much of his speech is needed? Models are checkpoints of samplernn-pase over one
prepared corpus DATA. OUT gets speakers.csv, a line a copy, and speakers.md:

    seen     held-out recordings of training speakers, each told its own vector
    unseen   recordings of speakers whom training never heard, told the vector of 1, 10 and 60 s of their other
             recordings, the mean of the model's speakers, and somebody else's (of a lookup: only the last two)

bits: per sample, teacher-forced, of the recording. MCD, F0 RMSE, V/UV and speaker cosine: of a copy against it; cosine
by Resemblyzer, which is also what a model of ge2e is told: bits and MCD do not know it. All vectors of a recording are
heard with the same random numbers and the same statistics of content, of an unseen speaker those of his other
recordings, of which there have to be 10 s. Who has less speech than is asked is heard whole: the note says how much.
Intervals: 95 %, bootstrap over speakers, of means per speaker, where there are eight or more, else over recordings;
differences are paired.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from speaker_tables import MEAN, SCORES, report

if TYPE_CHECKING:
    from samplernn_pase.features import Features
    from samplernn_pase.model import SampleRNNPASE
    from vocoder_core.corpus import Corpus, Entry

Row = dict[str, Any]
SECONDS = (1, 10, 60)  # of seed speech
LEAST = 1.5  # seconds of a recording that is judged
OTHER, OWN, NOBODY = "another speaker", "own", "nobody"
Vectors = dict[str, torch.Tensor]  # what a model is told, by the name of the way: (S,)


def main() -> None:
    """Write the tables and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the prepared corpus of all models")
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER", help="checkpoints; the first is compared with")
    parser.add_argument("--speaker-weights", type=Path, metavar="FILE", help="of PASE or PASE+; ge2e has its own")
    parser.add_argument("--seen", type=int, default=24, help="recordings of seen speakers (default 24)")
    parser.add_argument("--each", type=int, default=2, help="recordings of each unseen speaker (default 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of a recording at most (default 3)")
    parser.add_argument("--bits-only", action="store_true", help="make no copies, which are slow")
    arguments = parser.parse_args()
    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import select, write_csv

    corpus, rows = Corpus.open(arguments.data), list[Row]()
    scores = [] if arguments.bits_only else [score.name for score in select(SCORES)[0]]
    for given in arguments.models:
        name, _, folder = given.partition("=")
        judge = Judge.of(corpus, Path(folder), arguments, scores)
        rows += [{"model": name, **row} for row in judge.rows(name, arguments)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "speakers.csv", rows)
    text = report(rows) + note(corpus, judge.unseen(arguments.each))
    (arguments.out / "speakers.md").write_text(text, encoding="utf-8")
    print(text)


@dataclass(frozen=True)
class Judge:
    """A model, its corpus, and what is measured of it."""

    corpus: Corpus
    features: Features
    model: SampleRNNPASE
    scores: Sequence[str]
    seconds: float
    weights: Path | None

    @classmethod
    def of(cls, corpus: Corpus, folder: Path, arguments: argparse.Namespace, scores: Sequence[str]) -> Judge:
        """Of a checkpoint."""
        from samplernn_pase import SampleRNNPASE
        from samplernn_pase.features import Features

        model = SampleRNNPASE.from_pretrained(folder)
        config = model.config
        features = Features.open(corpus, config.content.kind, mel=config.mel, pitch=config.labels.pitch)
        return cls(corpus, features, model, scores, arguments.seconds, arguments.speaker_weights)

    def rows(self, name: str, arguments: argparse.Namespace) -> list[Row]:
        """A row for each recording and each way to be told who speaks."""
        from tqdm import tqdm

        rows = []
        for entry in tqdm(self.seen(arguments.seen), desc=f"{name}, seen", disable=None):
            rows += self.judged(
                entry, self.own(entry.speaker), self.model.normal([entry.speaker], torch.zeros(1, 1, 1))
            )
        unseen = self.unseen(arguments.each)
        for place, (speaker, (tested, rest)) in enumerate(tqdm(unseen.items(), desc=f"{name}, unseen", disable=None)):
            other = unseen[[*unseen][(place + 1) % len(unseen)]][1]
            told, normal = self.strangers(speaker, rest, other, place), self.normal(rest)
            for entry in tested:
                rows += self.judged(entry, told, normal)
        return rows

    # ---- which recordings

    def seen(self, count: int) -> list[Entry]:
        """Held-out recordings of training speakers, one of each in turn."""
        known = {entry.speaker for entry in self.corpus.split("train")}
        every = [e for e in (*self.corpus.split("test"), *self.corpus.split("valid")) if e.speaker in known]
        return in_turn(self.long(every))[:count]

    def unseen(self, each: int) -> dict[str, tuple[list[Entry], list[Entry]]]:
        """Of each speaker whom training never heard: recordings that are judged, and all others, 10 s or more."""
        from samplernn_pase.seed_speech import order

        found = {}
        for name in sorted(self.corpus.unseen_speakers):
            own = order(self.features.usable([entry for entry in self.corpus.entries if entry.speaker == name]))
            tested = self.long(own[::-1])[:each]
            rest = [entry for entry in own if entry not in tested]
            if tested and sum(entry.length for entry in rest) >= SECONDS[1] * self.corpus.config.sample_rate:
                found[name] = tested, rest
        return found

    def long(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are long enough to be judged."""
        return [e for e in self.features.usable(entries) if e.length >= LEAST * self.corpus.config.sample_rate]

    # ---- what the model is told

    def own(self, name: str) -> Vectors:
        """A training speaker's own vector."""
        return {OWN: self.model.voices.vector(name)} if self.model.voices is not None else {NOBODY: torch.zeros(0)}

    def strangers(self, name: str, rest: Sequence[Entry], other: Sequence[Entry], place: int) -> Vectors:
        """What there is to tell of somebody unseen, by other recordings of his and of somebody else's."""
        voices = self.model.voices
        if voices is None:
            return {NOBODY: torch.zeros(0)}
        told = {MEAN: voices.vector(name)}
        if self.encoder is None:
            return told | {OTHER: voices.vector(voices.names[place % len(voices.names)])}
        return {f"{s} s": self.heard(rest, s) for s in SECONDS} | told | {OTHER: self.heard(other, SECONDS[-1])}

    def heard(self, entries: Sequence[Entry], seconds: float) -> torch.Tensor:
        """The vector (S,) of some seconds of what is said in recordings."""
        from samplernn_pase.seed_speech import seed

        assert self.encoder is not None
        wav, _ = seed(self.corpus, entries, seconds)
        return torch.from_numpy(self.encoder.embed(wav, self.corpus.config.sample_rate))

    @cached_property
    def encoder(self) -> Any:
        """What makes the model's vectors from speech; None of a lookup."""
        from samplernn_pase.speaker import COMPUTED, hearing

        config = self.model.config.speaker
        return hearing(config, self.model.voices, self.weights) if config.provider in COMPUTED else None

    def normal(self, entries: Sequence[Entry]) -> torch.Tensor:
        """Statistics of content (1, 2, C) of a speaker by other recordings of his, of a mel everybody's."""
        from samplernn_pase.statistics import of_recording

        content = self.model.config.content
        if not content.by_speaker:
            return self.model.content.normal(None, 1)
        rows = np.concatenate([self.features.of(entry) for entry in entries])
        made = of_recording(rows, content.scored, self.features.statistics.everybody)
        return torch.from_numpy(np.stack([made.mean, made.std])).float()[None]

    # ---- what comes of it

    def judged(self, entry: Entry, told: Vectors, normal: torch.Tensor) -> list[Row]:
        """A row for each way to be told who speaks in a recording."""
        from samplernn_pase.check import bits_of
        from vocoder_core.metrics import score

        hop, model = self.corpus.config.hop_length, self.model
        frames = min(entry.frames, int(self.seconds * self.corpus.config.sample_rate) // hop)
        wav = self.corpus.wav(entry)[: frames * hop]
        content = torch.from_numpy(self.features.of(entry)[:frames].astype(np.float32))[None]
        pitch = None if self.features.pitch is None else self.pitch(entry, frames)
        group = "unseen" if entry.speaker in self.corpus.unseen_speakers else "seen"
        rows: list[Row] = []
        for how, vector in told.items():
            who = vector.detach()[None] if len(vector) else None
            bits = bits_of(model, torch.from_numpy(wav)[None], content, pitch, [entry.speaker], who, normal)
            rows.append({"group": group, "told": how, "speaker": entry.speaker, "utterance": entry.id, "bits": bits})
            if self.scores:
                heard = content.transpose(1, 2) if model.config.content.kind == "mel80" else content
                copy = model.synthesize(heard, who, pitch=pitch, normal=normal, seed=0)[0].numpy()
                rows[-1] |= score(wav, copy, self.corpus.config.sample_rate, self.scores)
        return rows

    def pitch(self, entry: Entry, frames: int) -> torch.Tensor:
        """Lag and voicing (1, F, 2)."""
        first = entry.offset // self.corpus.config.hop_length
        assert self.features.pitch is not None
        return torch.from_numpy(self.features.pitch[first : first + frames].astype(np.float32))[None]


def note(corpus: Corpus, unseen: dict[str, tuple[list[Entry], list[Entry]]]) -> str:
    """How much is heard of unseen speakers where the most is asked."""
    from samplernn_pase.seed_speech import seed

    rate = corpus.config.sample_rate
    heard = [len(seed(corpus, rest, SECONDS[-1])[0]) / rate for _, rest in unseen.values()]
    if not heard:
        return "\nThe corpus has no unseen speakers with recordings enough.\n"
    told = f"{np.mean(heard):.0f} s on average, {min(heard):.0f} to {max(heard):.0f}"
    return f"\n{SECONDS[-1]} s of unseen speakers are {told}, pauses left out.\n"


def in_turn(entries: Sequence[Entry]) -> list[Entry]:
    """One recording of each speaker, then the next of each."""
    rounds: dict[str, int] = {}
    keys = []
    for entry in entries:
        rounds[entry.speaker] = rounds.get(entry.speaker, 0) + 1
        keys.append((rounds[entry.speaker], entry.speaker))
    return [entries[i] for i in sorted(range(len(entries)), key=keys.__getitem__)]


if __name__ == "__main__":
    main()
