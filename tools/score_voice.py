"""Score a vocoder's voice on held-out speech of a prepared corpus: the tables of a model card.

    python tools/score_voice.py rnnms DATA OUT [--checkpoint FOLDER] [--clips 60]
    python tools/score_voice.py specgrad DATA OUT --steps 1 2 4 6 16
    python tools/score_voice.py waveglow-vq DATA OUT --settle 0 8

OUT gets the listening page, scores.csv, scores.json and scores.md: mean and 95 % bootstrap interval of every
score beside Griffin-Lim 60 on the same mel and WORLD, over utterances held out of training, half of them by speakers
held out too. tools/plot_steps.py draws scores.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voices import VOICES, Voice

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus, Entry

METRICS = "core,eval,distill_mos,distill_mos_drop,dnsmos_p808,dnsmos_p808_drop"


def main() -> None:
    """Print the tables and write them into OUT/scores.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vocoder", choices=sorted(VOICES))
    parser.add_argument("data", type=Path, help="a corpus prepared by its X-preprocess")
    parser.add_argument("out", type=Path, help="folder for the page and the tables")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=60, help="held-out utterances (default 60)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each at most (default 5)")
    parser.add_argument("--metrics", default=METRICS, help=f"scores or groups (default {METRICS}, where installed)")
    parser.add_argument("--temperature", type=float, help="rnnms, samplernn-pase, vqvaevc: of draws (default: its own)")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 6], help="specgrad: default 1 2 4 6")
    parser.add_argument("--sigma", type=float, nargs="+", help="waveglow-vq: a system for each (default: its own)")
    parser.add_argument(
        "--settle",
        type=int,
        nargs="+",
        help="waveglow-vq, vqvaevc, samplernn-pase: a system for each (default: its own)",
    )
    parser.add_argument(
        "--backend", nargs="+", help="autoregressive ones: a system for each, as numba and int8 (default: auto)"
    )
    parser.add_argument("--split", default="test", help="of the corpus (default test)")
    arguments = parser.parse_args()

    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import select

    _, absent = select(arguments.metrics.split(","))
    for reason in dict.fromkeys(absent.values()):
        print(f"left out: {', '.join(name for name in absent if absent[name] == reason)}: {reason}")
    voice = VOICES[arguments.vocoder]
    model, corpus = voice.vocoder().from_pretrained(arguments.checkpoint), Corpus.open(arguments.data)
    chosen = held_out(corpus, arguments.split, arguments.clips)
    own = own_figures(voice, model, corpus, chosen, arguments.seconds)
    write(voice, model, corpus, chosen, arguments)
    rows = json.loads((arguments.out / "scores.json").read_text(encoding="utf-8"))["clips"]
    parts = [own, (arguments.out / "scores.md").read_text(encoding="utf-8"), recordings(rows), groups(rows, chosen)]
    text = "\n".join(part for part in parts if part)
    (arguments.out / "scores.md").write_text(text, encoding="utf-8")
    print(text)


def held_out(corpus: Corpus, split: str, count: int) -> dict[str, list[Entry]]:
    """Utterances of speakers heard and never heard in training, evenly spread over the sorted list of each.

    Where one of the two has too few, the other one fills up.
    """
    from vocoder_core.validation import spread

    every = corpus.split(split)
    unseen = [entry for entry in every if entry.speaker in corpus.unseen_speakers]
    seen = [entry for entry in every if entry.speaker not in corpus.unseen_speakers]
    few = min(len(unseen), max(count - count // 2, count - len(seen)))
    return {"seen": spread(seen, count - few), "unseen": spread(unseen, few)}


def cut(corpus: Corpus, entry: Entry, seconds: float) -> np.ndarray:
    """The first `seconds` of an utterance, whole frames of it."""
    hop = corpus.config.hop_length
    return corpus.wav(entry)[: int(seconds * corpus.config.sample_rate) // hop * hop]


def own_figures(voice: Voice, model: Any, corpus: Corpus, chosen: dict[str, list[Entry]], seconds: float) -> str:
    """A table of the figures that only this vocoder has, a line per figure and group; nothing where it has none."""
    from vocoder_core.metrics import summarise

    lines = []
    for group, entries in chosen.items():
        figures = voice.figures(model, [cut(corpus, entry, seconds) for entry in entries])
        for name, values in figures.items():
            mean, low, high, n = summarise([{name: value} for value in values])[name]
            lines.append(f"| {name}, {group} speakers | {n} | {mean:.3f} [{low:.3f}, {high:.3f}] |")
    return "\n".join(["| figure | n | mean [95 %] |", "|:--|--:|--:|", *lines, ""]) if lines else ""


def write(
    voice: Voice, model: Any, corpus: Corpus, chosen: dict[str, list[Entry]], arguments: argparse.Namespace
) -> None:
    """Synthesise and score every clip; the listening page and the tables."""
    from tqdm import tqdm

    from vocoder_core.report import Clip, write_page

    clips = []
    for name, entries in chosen.items():
        for entry in tqdm(entries, desc=f"{name} speakers", disable=None):
            wav = cut(corpus, entry, arguments.seconds)
            copies = voice.copies(model, wav, arguments)
            clips.append(Clip(entry.id, wav, copies, entry.text, f"{name} speaker"))
    write_page(
        arguments.out, clips, model.sample_rate, title=arguments.vocoder, mel=model.config.mel,
        metrics=arguments.metrics.split(","), progress=True,
    )  # fmt: skip


def recordings(rows: list[dict[str, Any]]) -> str:
    """What the scores that need no reference give the recordings themselves: the score plus its drop."""
    from vocoder_core.metrics import SCORES, markdown, summarise

    first = [row for row in rows if row["system"] == rows[0]["system"]]
    alone = [
        {item.name: row[item.name] + row[f"{item.name}_drop"] for item in SCORES if f"{item.name}_drop" in row}
        for row in first
    ]
    return markdown({"Recording": summarise(alone)}) if alone[0] else ""


def groups(rows: list[dict[str, Any]], chosen: dict[str, list[Entry]]) -> str:
    """The same scores of speakers seen and unseen apart: a table each."""
    from vocoder_core.metrics import markdown, summarise

    parts = []
    for group, entries in chosen.items():
        ids = {entry.id for entry in entries}
        systems = dict.fromkeys(row["system"] for row in rows)
        table = {s: summarise([row for row in rows if row["system"] == s and row["clip"] in ids]) for s in systems}
        parts.append(f"Speakers {group} in training:\n\n{markdown(table)}" if entries else "")
    return "\n".join(part for part in parts if part)


if __name__ == "__main__":
    main()
