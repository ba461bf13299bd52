"""Score a voice of rnnms on held-out speech of a prepared corpus: bits per sample, and the table of a model card.

    python tools/score_voice.py DATA OUT [--checkpoint FOLDER] [--clips 60] [--metrics core,eval,distill_mos]

OUT gets the listening page, scores.csv, scores.json and scores.md: mean and 95 % bootstrap interval of every
score beside Griffin-Lim 60 on the same mel and WORLD, over utterances held out of training, half of them by speakers
held out too.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from rnnms import RNNMS
    from vocoder_core.corpus import Corpus, Entry


def main() -> None:
    """Print the tables and write them into OUT/scores.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by rnnms-preprocess")
    parser.add_argument("out", type=Path, help="folder for the page and the tables")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=60, help="held-out utterances (default 60)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each at most (default 5)")
    parser.add_argument("--metrics", help="scores or groups (default: core and eval)")
    parser.add_argument("--temperature", type=float, default=1.0)
    arguments = parser.parse_args()

    from rnnms import RNNMS
    from vocoder_core.corpus import Corpus

    model, corpus = RNNMS.from_pretrained(arguments.checkpoint), Corpus.open(arguments.data)
    chosen = held_out(corpus, arguments.clips)
    lines = [*bits(model, corpus, chosen, arguments.seconds), "", table(model, corpus, chosen, arguments)]
    (arguments.out / "scores.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


def held_out(corpus: Corpus, count: int) -> dict[str, list[Entry]]:
    """Test utterances of speakers heard and never heard in training, evenly spread over the sorted list of each."""
    from rnnms.check import spread

    test = corpus.split("test")
    groups = {
        "seen": [entry for entry in test if entry.speaker not in corpus.unseen_speakers],
        "unseen": [entry for entry in test if entry.speaker in corpus.unseen_speakers],
    }
    return {name: spread(entries, count // 2) for name, entries in groups.items()}


def cut(corpus: Corpus, entry: Entry, seconds: float) -> np.ndarray:
    """The first `seconds` of an utterance, whole frames of it."""
    hop = corpus.config.hop_length
    return corpus.wav(entry)[: int(seconds * corpus.config.sample_rate) // hop * hop]


def bits(model: RNNMS, corpus: Corpus, groups: dict[str, list[Entry]], seconds: float) -> list[str]:
    """A line per group: bits per sample with its interval, every sample predicted from the true ones before it."""
    import torch

    from rnnms.check import bits_per_sample
    from vocoder_core.metrics import summarise

    lines = ["| bits per sample | n | mean [95 %] |", "|:--|--:|--:|"]
    for name, entries in groups.items():
        values = bits_per_sample(model, [torch.from_numpy(cut(corpus, entry, seconds)) for entry in entries])
        mean, low, high, n = summarise([{"bits": value} for value in values])["bits"]
        lines.append(f"| {name} speakers | {n} | {mean:.3f} [{low:.3f}, {high:.3f}] |")
    return lines


def table(model: RNNMS, corpus: Corpus, groups: dict[str, list[Entry]], arguments: argparse.Namespace) -> str:
    """Write the listening page; the score table as Markdown."""
    from tqdm import tqdm

    from rnnms.infer import copy
    from vocoder_core.report import Clip, write_page

    clips = []
    for name, entries in groups.items():
        for entry in tqdm(entries, desc=f"{name} speakers", disable=None):
            wav = cut(corpus, entry, arguments.seconds)
            made = copy(model, wav, model.sample_rate, seed=0, temperature=arguments.temperature)
            clips.append(Clip(entry.id, wav, {"rnnms": made}, entry.text, f"{name} speaker"))
    metrics = arguments.metrics.split(",") if arguments.metrics else None
    write_page(
        arguments.out, clips, model.sample_rate, title="rnnms", mel=model.config.mel, metrics=metrics, progress=True
    )
    return (arguments.out / "scores.md").read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
