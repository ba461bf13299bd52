"""specgrad-infer in.wav|mel.npz out.wav: a recording's copy, or a mel's wave, in one to fifty steps.

Any length in, the same length out, at the recording's own rate and level; see vocoder_core.inference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli, inference

if TYPE_CHECKING:
    import numpy as np

    from vocoder_core.speakers import Who

    from .model import SpecGrad


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("specgrad-infer", "Speech from a recording's mel, or from a mel.")
    parser.add_argument("--steps", type=int, metavar="N", help="from noise to speech (default: a flow 4, else 6)")
    parser.add_argument(
        "--schedule",
        metavar="NAME|FILE",
        help="of a diffusion: wg50 wg6 wg3 pg12 pg6, linear or even with --steps, or a YAML file of `betas: [...]`",
    )
    parser.add_argument("--speaker", metavar="NAME", help="who speaks, for a model trained with speakers")
    return cli.run(parser, _infer, argv)


def _infer(arguments: argparse.Namespace) -> None:
    from .model import SpecGrad

    if arguments.steps is not None and arguments.steps < 1:
        raise ValueError(f"--steps is {arguments.steps}; expected 1 or more")
    model = SpecGrad.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    options = {name: getattr(arguments, name) for name in ("steps", "schedule", "seed", "speaker")}
    inference.infer(arguments, model.config.mel, level(model), partial(model.synthesize, progress=True, **options))


def copy(
    model: SpecGrad,
    wav: np.ndarray,
    sample_rate: int,
    *,
    steps: int | None = None,
    schedule: str | Path | Sequence[float] | None = None,
    seed: int | None = None,
    speaker: Who | None = None,
) -> np.ndarray:
    """The vocoder's copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording, and as `SpecGrad.synthesize` does.
    """
    synthesize = partial(model.synthesize, steps=steps, schedule=schedule, seed=seed, speaker=speaker)
    return inference.copy(wav, sample_rate, model.config.mel, level(model), synthesize)


def level(model: SpecGrad) -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """What brings a wave to the peak that the model learnt from."""
    from vocoder_core import audio

    return lambda wav, sample_rate: audio.set_peak(wav, model.config.level_db)


if __name__ == "__main__":
    raise SystemExit(main())
