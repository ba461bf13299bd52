"""vqvaevc-infer in.wav out.wav [--speaker NAME]: a recording through its codes and back, in its own or a named voice.

Any length in, the same length out, at the recording's own rate and level; see vocoder_core.inference. Models that hear
mels read them from files, too.
"""

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

    from vocoder_core.speakers import Who
    from vocoder_core.streaming.pieces import Source

    from .generate import Backend
    from .model import VQVAEVC


LOOK_AHEAD = 20  # frames of --stream: streaming.LOOK_AHEAD, which is not imported to answer --help


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("vqvaevc-infer", "Speech from a recording's codes, or from a mel.", stream=True)
    parser.add_argument("--speaker", metavar="NAME", help="whose voice (default: as it was, where the model can)")
    inference.add_sampling_arguments(parser, ("int8", "int16"))
    flow.add_look_ahead(parser, LOOK_AHEAD)
    return cli.run(parser, _infer, argv)


def _infer(arguments: argparse.Namespace) -> None:
    from vocoder_core import mel_file

    from .model import VQVAEVC

    flow.check(arguments)
    model = VQVAEVC.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    told, mels = inference.sampling(arguments), model.config.encoder.source in ("mel", "codec")
    if not arguments.stream and arguments.input.suffix in mel_file.SUFFIXES:
        if arguments.speaker is not None:
            raise ValueError(f"--speaker {arguments.speaker} with a mel, which says who speaks; expected a recording")
    elif flow.asked(arguments) and mels and arguments.speaker is not None:
        raise ValueError(
            f"--speaker {arguments.speaker} needs the whole recording; leave --stream and --look-ahead out"
        )
    elif (arguments.speaker is not None and mels) or model.config.encoder.source == "none":
        if flow.asked(arguments):
            raise ValueError("--stream with encoder.source none, which hears nothing; expected a file")
        work = partial(model.infer, speaker=arguments.speaker, **told)
        inference.rework_file(arguments, model.config.mel, level(model), work)
        return
    pieces = _pieces(model, arguments, told)
    inference.infer(arguments, model.config.mel, level(model), partial(model.synthesize, **told), pieces)


def _pieces(model: VQVAEVC, arguments: argparse.Namespace, told: dict[str, Any]) -> flow.Flow:
    """The model piece by piece, as far ahead as it is asked to hear."""
    from . import streaming

    how = model.how(**told, look_ahead=flow.look_ahead(arguments, LOOK_AHEAD))

    def of_mel(mel: Source) -> Iterator[Tensor]:
        return (wav[0] for wav in streaming.spoken(model, [mel], how))

    def of_wave(wav: Tensor | Iterator[Tensor]) -> Iterator[Tensor]:
        return (made[0] for made in streaming.copied(model, wav, arguments.speaker, how))

    return flow.Flow(of_mel, of_wave)


def copy(
    model: VQVAEVC,
    wav: np.ndarray,
    sample_rate: int,
    *,
    speaker: Who | None = None,
    seed: int | None = None,
    temperature: float = 1.0,
    settle: int | None = None,
    backend: Backend = "auto",
) -> np.ndarray:
    """A mono recording (T,) through the model's codes and back; (T,) at the same rate and level, without delay.

    Raises ValueError for an empty recording, and as `VQVAEVC.infer` does.
    """
    told: dict[str, Any] = {"seed": seed, "temperature": temperature, "settle": settle, "backend": backend}
    work = partial(model.infer, speaker=speaker, **told)
    return inference.rework(wav, sample_rate, model.config.mel, level(model), work)


def level(model: VQVAEVC) -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """What brings a wave to the level that the model learnt from."""
    return inference.level_of(model.config)


if __name__ == "__main__":
    raise SystemExit(main())
