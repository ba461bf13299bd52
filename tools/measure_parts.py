"""What each part of specgrad's default voice contributes: held-out scores after each stage of its synthesis.

    python tools/measure_parts.py DATA [--checkpoint FOLDER] [--clips 30]

Stages: Griffin-Lim on the spectrum that fits the mel; on the learned one; with feedback of the mel (the noise the flow
starts from); after 1, 2, 4 and 6 steps of the flow. Prints a Markdown table with 95 % bootstrap intervals.
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

    from specgrad.settle import settled
    from specgrad.shaping import shape, window_gain
    from vocoder_core.griffinlim import griffin_lim
    from vocoder_core.mel import log_mel

    config, grid = model.config, model.noise_grid
    with torch.inference_mode():
        mel = log_mel(torch.from_numpy(wav), config.mel)
        condition = model.condition(mel[None])
        white = torch.randn(1, len(wav), generator=torch.Generator().manual_seed(seed * 1009))  # as synthesize draws it
        noise, aim = shape(white, condition.filters, grid) / window_gain(grid), condition.filters.abs()
        times = config.shaping.iterations
        plain = settled(noise, aim, grid, times, mel[None], config.mel, every=times + 1)
        yield "Griffin-Lim 60", griffin_lim(mel, config.mel, seed=seed).numpy()
        yield f"learned spectrum, {times} iterations", plain[0].clamp(-1, 1).numpy()
        yield "with feedback", model.prior(white, condition)[0].clamp(-1, 1).numpy()
        for steps in (1, 2, 4, 6):
            yield f"flow, {steps} step{'s'[: steps - 1]}", model.synthesize(mel, steps=steps, seed=seed).numpy()


if __name__ == "__main__":
    main()
