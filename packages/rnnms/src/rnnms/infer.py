"""rnnms-infer in.wav|mel.npy out.wav: a recording's copy, or a mel's wave, by a trained RNN_MS."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, inference
from vocoder_core.streaming import flow

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from vocoder_core.streaming.pieces import Source

    from .model import RNNMS, Backend


LOOK_AHEAD = 16  # frames of --stream: ahead.LOOK_AHEAD, which is not imported to answer --help


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("rnnms-infer", "Speech from a recording's mel, or from a mel.", stream=True)
    parser.add_argument("--temperature", type=float, default=1.0, help="below 1: calmer, towards 0: buzzy (default 1)")
    parser.add_argument("--backend", choices=["auto", "torch", "graph", "numba", "int8", "int16"], default="auto")
    parser.add_argument(
        "--folds", type=int, default=1, metavar="N", help="cut it where it is quiet, say N parts at once (default 1)"
    )
    flow.add_look_ahead(parser, LOOK_AHEAD)
    return cli.run(parser, _infer, argv)


def _infer(arguments: argparse.Namespace) -> None:
    from .model import RNNMS

    flow.check(arguments)
    if arguments.folds != 1 and flow.asked(arguments):
        raise ValueError(f"--folds {arguments.folds} needs the whole utterance; leave out --stream and --look-ahead")
    model = RNNMS.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    options = {"seed": arguments.seed, "temperature": arguments.temperature, "backend": arguments.backend}
    synthesize = partial(model.synthesize, progress=True, folds=arguments.folds, **options)
    pieces = _pieces(model, arguments, options) if arguments.folds == 1 else None
    inference.infer(arguments, model.config.mel, level(model), synthesize, pieces)


def _pieces(model: RNNMS, arguments: argparse.Namespace, options: dict[str, Any]) -> flow.Flow:
    """The model piece by piece, as far ahead as it is asked to hear."""
    from vocoder_core.streaming.frames import MelOfWave, mel_frames

    config, look_ahead = model.config.mel, flow.look_ahead(arguments, LOOK_AHEAD)

    def of_mel(mel: Source | Iterator[Tensor]) -> Iterator[Tensor]:
        return model.synthesize_stream(mel, look_ahead=look_ahead, **options)

    def of_wave(wav: Tensor | Iterator[Tensor]) -> Iterator[Tensor]:
        return of_mel(mel_frames(wav, config) if isinstance(wav, Iterator) else MelOfWave(wav, config))

    return flow.Flow(of_mel, of_wave)


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
