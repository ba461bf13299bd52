"""rnnms-infer in.wav|mel.npy out.wav: a recording's copy, or a mel's wave, by a trained RNN_MS."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from vocoder_core import cli, inference

if TYPE_CHECKING:
    import numpy as np

    from .model import RNNMS, Backend


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("rnnms-infer", "Speech from a recording's mel, or from a mel.")
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1: calmer, towards 0: buzzy (default 1)")
    parser.add_argument("--backend", choices=["auto", "torch", "graph", "numba", "int8", "int16"], default="auto")
    parser.add_argument(
        "--folds", type=int, default=1, metavar="N", help="cut it where it is quiet, say N parts at once (default 1)"
    )
    return cli.run(parser, _infer, argv)


def _infer(arguments: argparse.Namespace) -> None:
    from .model import RNNMS

    model = RNNMS.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    options = {"seed": arguments.seed, "temperature": arguments.temperature, "backend": arguments.backend}
    options["folds"] = arguments.folds
    synthesize = partial(model.synthesize, progress=True, **options)
    inference.infer(arguments, model.config.mel, level(model), synthesize)


def copy(
    model: RNNMS,
    wav: np.ndarray,
    sample_rate: int,
    *,
    seed: int | None = None,
    temperature: float = 1.0,
    backend: Backend = "auto",
) -> np.ndarray:
    """The vocoder's copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording.
    """
    synthesize = partial(model.synthesize, seed=seed, temperature=temperature, backend=backend)
    return inference.copy(wav, sample_rate, model.config.mel, level(model), synthesize)


def level(model: RNNMS) -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """What brings a wave to the loudness that the model learnt from."""
    from vocoder_core import audio

    return partial(audio.set_loudness, target=model.config.loudness)


if __name__ == "__main__":
    raise SystemExit(main())
