"""Score voice conversion on held-out speech of a prepared corpus: whose voice it is, and whether it says the same.

    python tools/score_conversion.py DATA OUT NAME=FOLDER [NAME=FOLDER ...] [--vocoder griffin-lim]

Every held-out utterance (speakers that training never heard first) is said in the voices of several training speakers.
A model is a checkpoint folder of any vocoder that converts (converters.py).
OUT gets conversion.csv, a line a pair, and conversion.md, a column a model, beside the recording itself and a copy of
its own mel by the same Griffin-Lim:

    to target, to source   cosine of Resemblyzer's embedding with the target's training speech, and with the very
                           utterance that was converted, which is the harder comparison
    converted              the part of the pairs that are nearer to the target
    phone error            pocketsphinx' phones against those it hears in the recording: a copy of its mel has some, too
    F0 correlation         of log F0 (pYIN) with the recording's, frames voiced in both: intonation
    F0 off target          semitones between the mean of log F0 and that of the target's training speech
    speaker probe          how often a linear classifier names the speaker from how often each code occurs in 4 s

Needs what `make oracles` installs. Intervals: 95 %, bootstrap over pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from probe_codes import code_figures, most_heard
from score_voice import cut

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus, Entry

Row = dict[str, Any]
Say = Callable[[np.ndarray, str], np.ndarray]  # wave (T,), target -> wave
LEAST_SECONDS, REFERENCES = 3.0, 4  # of a source; recordings of a target
COLUMNS = {
    "target": "cosine to target ↑", "source": "cosine to source ↓", "converted": "converted ↑",
    "phone_error": "phone error ↓", "f0_correlation": "F0 correlation ↑", "f0_off": "F0 off target (semitones) ↓",
}  # fmt: skip


def main() -> None:
    """Print the table and write it into OUT/conversion.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the prepared corpus")
    parser.add_argument("out", type=Path, help="folder for the tables")
    parser.add_argument("models", nargs="+", metavar="NAME=FOLDER", help="checkpoints with codes")
    parser.add_argument("--vocoder", choices=("own", "griffin-lim"), default="own", help="who speaks (default own)")
    parser.add_argument("--sources", type=int, default=12, help="held-out utterances (default 12)")
    parser.add_argument("--targets", nargs="+", metavar="SPEAKER", help="default: the 8 with most training speech")
    parser.add_argument("--each", type=int, default=4, help="targets of each utterance, in turn (default 4)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each utterance at most (default 5)")
    parser.add_argument("--like", default="", help="only sources whose speaker's name begins so")
    parser.add_argument("--no-f0", action="store_true", help="leave out the F0 correlation, which is slow")
    arguments = parser.parse_args()

    import torch

    from converters import converter
    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import write_csv

    corpus = Corpus.open(arguments.data)
    pairs = Pairs.chosen(corpus, arguments.sources, arguments.targets or most_heard(corpus, 8), arguments)
    rows, facts = reference_rows(pairs), {}
    for given in arguments.models:
        name, _, folder = given.partition("=")
        made = converter(Path(folder))
        with torch.inference_mode():
            rows += pairs.rows(name, made.say if arguments.vocoder == "own" else made.griffin_lim)
        facts[name] = code_figures(made, corpus)
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_csv(arguments.out / "conversion.csv", rows)
    text = table(rows, facts)
    (arguments.out / "conversion.md").write_text(text, encoding="utf-8")
    print(text)


@dataclass(frozen=True)
class Pairs:
    """Held-out waves and the targets each one is said by, with what the judges hear in the recordings."""

    corpus: Corpus
    waves: Sequence[np.ndarray]
    names: Sequence[str]  # of the utterances
    targets: Sequence[Sequence[str]]  # of each
    embeddings: dict[str, np.ndarray]  # of targets, unit length
    pitches: dict[str, float]  # of targets, mean log F0; empty: left out

    @classmethod
    def chosen(cls, corpus: Corpus, count: int, targets: Sequence[str], arguments: argparse.Namespace) -> Pairs:
        """`count` test utterances, one speaker after the other, those never heard in training first."""
        rate = corpus.config.sample_rate
        every = [e for e in corpus.split("test") if e.speaker.startswith(arguments.like)]
        entries = in_turn([e for e in every if e.samples >= LEAST_SECONDS * rate], corpus.unseen_speakers)[:count]
        if not entries:
            raise ValueError(f"{corpus.folder} has no test utterance of {LEAST_SECONDS} s by {arguments.like!r}")
        own, each = [], min(arguments.each, len(targets))
        for i, entry in enumerate(entries):
            turn = [targets[(i * each // 2 + j) % len(targets)] for j in range(len(targets))]
            own.append([target for target in turn if target != entry.speaker][:each])
        embeddings = {target: speaker_embedding(corpus, target) for target in targets}
        waves = [cut(corpus, entry, arguments.seconds) for entry in entries]
        pitches = {} if arguments.no_f0 else {target: mean_pitch(corpus, target) for target in targets}
        return cls(corpus, waves, [entry.id for entry in entries], own, embeddings, pitches)

    def rows(self, system: str, say: Say) -> list[Row]:
        """A row of scores for each pair."""
        from tqdm import tqdm

        rows = []
        for name, wav, targets in tqdm(list(zip(self.names, self.waves, self.targets)), desc=system, disable=None):
            heard = Judged.of(wav, self)
            for target in targets:
                scores = heard.scores(say(wav, target), target, self)
                rows.append({"system": system, "utterance": name, "to": target, **scores})
        return rows


@dataclass(frozen=True)
class Judged:
    """What the judges hear in a wave."""

    embedding: np.ndarray
    phones: list[str]
    log_f0: np.ndarray  # (F,), NaN where unvoiced; empty: left out

    @classmethod
    def of(cls, wav: np.ndarray, pairs: Pairs) -> Judged:
        """Listen to a wave (T,)."""
        from vocoder_core.metrics.neural import RATE

        if pairs.corpus.config.sample_rate != RATE:
            raise ValueError(f"the corpus has {pairs.corpus.config.sample_rate} Hz; expected {RATE}, what judges hear")
        return judged(np.clip(wav, -1, 1).astype(np.float32).tobytes(), bool(pairs.pitches))

    def scores(self, wav: np.ndarray, target: str, pairs: Pairs) -> Row:
        """Scores of a conversion (T,) of this wave, towards the target."""
        from vocoder_core.metrics.neural import edit_distance

        made = Judged.of(wav, pairs)
        to_target, to_source = float(made.embedding @ pairs.embeddings[target]), float(made.embedding @ self.embedding)
        frames = min(len(self.log_f0), len(made.log_f0))
        both = np.isfinite(self.log_f0[:frames] + made.log_f0[:frames])
        enough = both.sum() > 20 and made.log_f0[:frames][both].std() > 0 and self.log_f0[:frames][both].std() > 0
        pitch = np.corrcoef(self.log_f0[:frames][both], made.log_f0[:frames][both])[0, 1] if enough else float("nan")
        own = made.log_f0[np.isfinite(made.log_f0)]
        off = 12 / np.log(2) * abs(own.mean() - pairs.pitches[target]) if len(own) > 20 else float("nan")
        errors = edit_distance(self.phones, made.phones) / len(self.phones) if self.phones else float("nan")
        return {
            "target": to_target, "source": to_source, "converted": float(to_target > to_source),
            "phone_error": errors, "f0_correlation": float(pitch), "f0_off": float(off),
        }  # fmt: skip


@lru_cache(maxsize=1)  # of a recording and of its copy, which are the same for every target
def judged(samples: bytes, f0: bool) -> Judged:
    """What is heard in float32 samples at 16 kHz."""
    from vocoder_core.metrics.neural import RATE, _phones
    from vocoder_core.metrics.pitch import track

    wav = np.frombuffer(samples, dtype=np.float32).copy()
    return Judged(embedding(wav), _phones(wav), np.log(track(wav, RATE)[0]) if f0 else np.empty(0))


def reference_rows(pairs: Pairs) -> list[Row]:
    """The recording itself, and the copy of its mel that a perfect codec would leave to Griffin-Lim."""
    import torch

    from vocoder_core.griffinlim import griffin_lim
    from vocoder_core.mel import log_mel
    from vocoder_core.mel_presets import PRESETS

    mel = PRESETS["asr16"]

    def copy(wav: np.ndarray, target: str) -> np.ndarray:
        return np.asarray(griffin_lim(log_mel(torch.from_numpy(wav), mel), mel))

    return pairs.rows("recording", lambda wav, target: wav) + pairs.rows("Griffin-Lim copy", copy)


def in_turn(entries: Sequence[Entry], first: set[str]) -> list[Entry]:
    """One utterance of each speaker, then the next of each; in each round the speakers of `first` lead."""
    rounds: dict[str, int] = {}
    order = []
    for entry in entries:
        rounds[entry.speaker] = rounds.get(entry.speaker, 0) + 1
        order.append((rounds[entry.speaker], entry.speaker not in first, entry.speaker))
    return [entries[i] for i in sorted(range(len(entries)), key=order.__getitem__)]


def references(corpus: Corpus, speaker: str) -> list[np.ndarray]:
    """A speaker's longest training recordings, 10 s of each."""
    own = sorted((e for e in corpus.split("train") if e.speaker == speaker), key=lambda e: -e.samples)[:REFERENCES]
    if not own:
        raise ValueError(f"{speaker!r} has no training speech in {corpus.folder}; expected a training speaker")
    return [cut(corpus, entry, 10) for entry in own]


def mean_pitch(corpus: Corpus, speaker: str) -> float:
    """Mean log F0 of a speaker's longest training recordings."""
    from vocoder_core.metrics.pitch import track

    found = np.concatenate([np.log(track(wav, corpus.config.sample_rate)[0]) for wav in references(corpus, speaker)])
    return float(np.nanmean(found))


def speaker_embedding(corpus: Corpus, speaker: str) -> np.ndarray:
    """Unit mean of the embeddings of a speaker's longest training recordings."""
    mean = np.mean([embedding(wav) for wav in references(corpus, speaker)], axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


def embedding(wav: np.ndarray) -> np.ndarray:
    """Resemblyzer's unit vector of a wave at 16 kHz; NaN where it hears no speech."""
    from vocoder_core.metrics.neural import RATE, _speaker_encoder

    encoder, preprocess = _speaker_encoder()
    speech = preprocess(wav, RATE)
    if len(speech) == 0:
        return np.full(256, np.nan)
    vector = encoder.embed_utterance(speech)
    return np.asarray(vector / np.linalg.norm(vector))


def table(rows: Sequence[Row], facts: dict[str, dict[str, str]]) -> str:
    """Markdown: a line a figure, a column a system; mean and 95 % interval."""
    from vocoder_core.metrics import summarise

    systems = list(dict.fromkeys(row["system"] for row in rows))
    means = {system: summarise([row for row in rows if row["system"] == system]) for system in systems}
    lines = ["| figure | " + " | ".join(systems) + " |", "|:--|" + "--:|" * len(systems)]
    for figure in dict.fromkeys(figure for known in facts.values() for figure in known):
        lines.append(f"| {figure} | " + " | ".join(facts.get(s, {}).get(figure, "–") for s in systems) + " |")
    for name, title in COLUMNS.items():
        cells = ["{:.3f} [{:.3f}, {:.3f}]".format(*means[system][name][:3]) for system in systems]
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    pairs = sum(row["system"] == systems[0] for row in rows)
    return "\n".join(lines) + f"\n\n{pairs} pairs of {len({row['utterance'] for row in rows})} utterances.\n"


if __name__ == "__main__":
    main()
