"""Betas for a trained diffusion: python -m specgrad.search speech/*.wav mine.yaml --checkpoint RUN --steps 6

Coordinate descent on the logarithms of the betas in place of WaveGrad's grid (arXiv 2009.00713, appendix), which takes
hundreds of syntheses. Every schedule is judged on the same recordings with the same random numbers, by the multi-
resolution STFT distance and the log-mel distance of the copies; `specgrad-infer --schedule mine.yaml` then takes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli

if TYPE_CHECKING:
    from .diffusion import DiffusionConfig

FACTORS = (0.25, 0.5, 2.0, 4.0)  # what each beta is tried times; a sweep later, times their square roots
SECONDS = 3.0  # of each recording


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m specgrad.search", description="Find betas for a diffusion.")
    parser.add_argument("speech", type=Path, nargs="+", help="recordings to judge by; 8 are plenty")
    parser.add_argument("output", type=Path, help="YAML file to write")
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    parser.add_argument("--steps", type=int, default=6, help="betas (default 6)")
    parser.add_argument("--sweeps", type=int, default=3, help="times each beta is tried (default 3)")
    cli.add_device_argument(parser)
    return cli.run(parser, _search, argv)


def _search(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio
    from vocoder_core.metrics.spectral import log_mel_mae, mr_stft

    from . import infer, schedules
    from .model import SpecGrad

    model = SpecGrad.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    if model.config.process != "diffusion":
        raise ValueError(
            f"{arguments.checkpoint}: process is {model.config.process}; expected diffusion: a flow has no betas"
        )
    rate, config = model.sample_rate, model.config.diffusion
    clips = [audio.load(path, rate)[0][: int(SECONDS * rate)] for path in arguments.speech]

    def score(betas: tuple[float, ...]) -> float:
        copies = [infer.copy(model, clip, rate, schedule=betas, seed=row) for row, clip in enumerate(clips)]
        pairs = list(zip(clips, copies))
        return sum(mr_stft(clip, made, rate) + 0.5 * log_mel_mae(clip, made, rate) for clip, made in pairs) / len(pairs)

    best, value = descend(score, schedules.choose(None, arguments.steps, config.training), config, arguments.sweeps)
    text = ", ".join(f"{beta:.6g}" for beta in best)
    arguments.output.write_text(f"# distance {value:.4f} over {len(clips)} recordings\nbetas: [{text}]\n")
    print(f"{arguments.output}: betas {text}, distance {value:.4f}")


def descend(
    score: Callable[[tuple[float, ...]], float], start: tuple[float, ...], config: DiffusionConfig, sweeps: int
) -> tuple[tuple[float, ...], float]:
    """The betas of least score found, and that score; none of a level that the network was not trained on."""
    best, value = start, score(start)
    for sweep in range(sweeps):
        for at in reversed(range(len(start))):  # the noisiest step first: it decides most
            for factor in FACTORS:
                tried = (*best[:at], best[at] * factor ** (0.5**sweep), *best[at + 1 :])
                if _allowed(tried, config) and (found := score(tried)) < value:
                    best, value = tried, found
    return best, value


def _allowed(betas: tuple[float, ...], config: DiffusionConfig) -> bool:
    from .diffusion import told

    try:
        told(betas, config)
    except ValueError:
        return False
    return True
