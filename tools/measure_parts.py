"""What each part of specgrad's default voice contributes: held-out scores after each stage of its synthesis.

    python tools/measure_parts.py DATA [--checkpoint FOLDER] [--clips 30]

Stages: Griffin-Lim on the spectrum that fits the mel; the settled noise, which is Griffin-Lim on the learned spectrum;
that filtered to the mel; after 1, 2, 4 and 6 steps of the flow from it. Prints a Markdown table with 95 % intervals.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from score_voice import cut, held_out

if TYPE_CHECKING:
    from collections.abc import Iterator

    from specgrad import SpecGrad

SCORES = ("pesq", "mr_stft", "log_mel_mae", "f0_rmse", "vuv_f1", "periodicity_rmse")


def main() -> None:
    """Score every stage on every clip, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by specgrad-preprocess")
    parser.add_argument("--checkpoint", type=Path, help="default: the weights in the package")
    parser.add_argument("--clips", type=int, default=30, help="held-out utterances (default 30)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each at most (default 4)")
    arguments = parser.parse_args()

    from tqdm import tqdm

    from specgrad import SpecGrad
    from vocoder_core import metrics
    from vocoder_core.corpus import Corpus

    corpus, model = Corpus.open(arguments.data), SpecGrad.from_pretrained(arguments.checkpoint)
    chosen = [item.name for item in metrics.select(SCORES)[0]]
    entries = [entry for group in held_out(corpus, "test", arguments.clips).values() for entry in group]
    rows: dict[str, list[dict[str, float]]] = {}
    for seed, entry in enumerate(tqdm(entries, disable=None)):
        wav = cut(corpus, entry, arguments.seconds)
        for name, made in stages(model, wav, seed):
            rows.setdefault(name, []).append(metrics.score(wav, made, model.sample_rate, chosen))
    print(metrics.markdown({name: metrics.summarise(each) for name, each in rows.items()}))


def stages(model: SpecGrad, wav: np.ndarray, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """(name, wave) after each stage, from the same noise."""
    import torch

    from specgrad.settle import matched
    from vocoder_core.griffinlim import griffin_lim
    from vocoder_core.mel import log_mel

    config = model.config
    with torch.inference_mode():
        mel = log_mel(torch.from_numpy(wav), config.mel)
        condition = model.condition(mel[None])
        white = torch.randn(1, len(wav), generator=torch.Generator().manual_seed(seed * 1009))  # as synthesize draws it
        yield "Griffin-Lim 60", griffin_lim(mel, config.mel, seed=seed).numpy()
        noise = model.prior(white, condition)
        yield "settled noise", noise[0].clamp(-1, 1).numpy()
        yield "filtered to the mel", matched(noise, model.noise_grid, mel[None], config.mel)[0].clamp(-1, 1).numpy()
        for steps in (1, 2, 4, 6):
            yield f"flow, {steps} step{'s'[: steps - 1]}", model.synthesize(mel, steps=steps, seed=seed).numpy()


if __name__ == "__main__":
    main()
