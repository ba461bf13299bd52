"""White, PriorGrad's and SpecGrad's noise at equal compute: the same small network trained from each, then scored.

    python tools/ablate_prior.py DATA OUT [--steps 1500] [--clips 24]

Every row has the same flow, network, seed, batches and number of steps; only the noise it starts from differs. The
network works in coordinates divided by an envelope of the mel in all rows but the first, where they are plain. Runs and
scores lie in OUT: the same command goes on where it stopped. Prints a Markdown table of held-out clips.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from score_voice import cut, held_out

if TYPE_CHECKING:
    from vocoder_core.corpus import Corpus

NETWORK = ("stft.channels=128", "stft.layers=4", "stft.encoder_layers=2")
PAPER = ("shaping.phase=minimum", "shaping.smoothing=cepstrum", "shaping.iterations=0")
PLAIN = ("stft.floor=20", "flow.spectrum=0")  # so far above the spectrum that the envelope is flat
VARIANTS = {
    "white, plain network": (*PAPER, *PLAIN, "shaping.prior=white"),
    "white": (*PAPER, "shaping.prior=white"),
    "PriorGrad": (*PAPER, "shaping.prior=priorgrad"),
    "SpecGrad": PAPER,
    "SpecGrad, default": (),  # a learned envelope, and frames of the noise that agree with each other
}
SCORES = ("pesq", "mr_stft", "log_mel_mae", "lsd", "mcd", "vuv_f1", "periodicity_rmse", "estoi")


def main() -> None:
    """Train what is not trained, score what is not scored, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by specgrad-preprocess")
    parser.add_argument("out", type=Path, help="folder of the runs and scores")
    parser.add_argument("--steps", type=int, default=1500, help="of training, each variant (default 1500)")
    parser.add_argument("--sampler", type=int, default=4, help="steps from noise to speech (default 4)")
    parser.add_argument("--clips", type=int, default=24, help="held-out utterances (default 24)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each at most (default 3)")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME",
                        help=f"default: all of {', '.join(VARIANTS)}")  # fmt: skip
    arguments = parser.parse_args()

    from vocoder_core.corpus import Corpus
    from vocoder_core.metrics import markdown, summarise

    corpus, summaries = Corpus.open(arguments.data), {}
    for name in arguments.variants:
        run = arguments.out / name.replace(", ", "-").replace(" ", "-")
        train(arguments.data, run, VARIANTS[name], arguments.steps)
        summaries[name] = summarise(scores(corpus, run, arguments))
        print(markdown(summaries), flush=True)


def train(data: Path, run: Path, overrides: tuple[str, ...], steps: int) -> None:
    """A run of that many steps, or nothing where it is done."""
    from specgrad.train import main as specgrad_train

    settings = [*(f"model.{one}" for one in (*NETWORK, *overrides)), f"train.steps={steps}", "train.batch_size=16"]
    settings += [f"train.valid_every={steps}", "train.save_every=100", "check.synthesize=0", "check.clips=8"]
    if specgrad_train([str(data), str(run), *(part for one in settings for part in ("--set", one))]):
        raise SystemExit(f"{run}: training stopped")


def scores(corpus: Corpus, run: Path, arguments: argparse.Namespace) -> list[dict[str, float]]:
    """A row per held-out clip, kept beside the run with what was asked."""
    from tqdm import tqdm

    from specgrad import SpecGrad
    from specgrad.infer import copy
    from vocoder_core import metrics

    asked = {name: getattr(arguments, name) for name in ("steps", "sampler", "clips", "seconds")}
    path = run / "scores.json"
    if path.exists() and (kept := json.loads(path.read_text(encoding="utf-8")))["asked"] == asked:
        return list(kept["rows"])
    model = SpecGrad.from_pretrained(run)
    chosen = [item.name for item in metrics.select(SCORES)[0]]
    entries = [entry for group in held_out(corpus, "test", arguments.clips).values() for entry in group]
    rows = []
    for entry in tqdm(entries, desc=run.name, disable=None):
        wav = cut(corpus, entry, arguments.seconds)
        made = copy(model, wav, model.sample_rate, steps=arguments.sampler, seed=0)
        rows.append(metrics.score(wav, made, model.sample_rate, chosen))
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"asked": asked, "rows": rows}), encoding="utf-8")
    os.replace(part, path)
    return rows


if __name__ == "__main__":
    main()
