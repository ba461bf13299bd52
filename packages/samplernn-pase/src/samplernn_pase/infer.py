"""samplernn-pase-infer in.wav out.wav: a recording, or a mel in a file, said by a model, in its own or another voice.

Any length in, the same length out, at the recording's own rate and level; see vocoder_core.inference. A mel says who
speaks. Models of WORLD's features hear what is said in deviations of the recording's own means, and are told who is to
say it: --speaker, one of theirs; --speaker-ref, whoever is heard there; neither, who speaks in the recording itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocoder_core import cli, inference
from vocoder_core.streaming import flow

if TYPE_CHECKING:
    import numpy as np

    from vocoder_core.recurrent.streams import Backend
    from vocoder_core.speakers import Who

    from .model import SampleRNNPASE
    from .speaker import SpeakerEncoder


LOOK_AHEAD = 64  # frames of --stream: streaming.LOOK_AHEAD, which is not imported to answer --help


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("samplernn-pase-infer", "Speech from a recording's features, or from a mel.", stream=True)
    add_speaker_arguments(parser)
    inference.add_sampling_arguments(parser, ("int8", "int16"))
    flow.add_look_ahead(parser, LOOK_AHEAD)
    return cli.run(parser, _infer, argv)


def add_speaker_arguments(parser: argparse.ArgumentParser) -> None:
    """--speaker or --speaker-ref, and --speaker-weights."""
    who = parser.add_mutually_exclusive_group()
    who.add_argument("--speaker", metavar="NAME", help="whose voice: one of the model's speakers")
    who.add_argument("--speaker-ref", metavar="ref.wav", type=Path, help="the voice that is heard there: seconds of it")
    parser.add_argument(
        "--speaker-weights", metavar="FILE", type=Path, help="of the encoder that hears it; ge2e has its own"
    )


def _infer(arguments: argparse.Namespace) -> None:
    from .listening import say
    from .model import SampleRNNPASE

    flow.check(arguments)
    model = SampleRNNPASE.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    config, told = model.config, inference.sampling(arguments)
    if config.content.kind != "mel80" and (flow.asked(arguments) or arguments.input.suffix in (".npy", ".npz")):
        heard = "stdin piece by piece" if flow.asked(arguments) else str(arguments.input)
        raise ValueError(f"{heard}: this model hears {config.content.kind}, not mels; expected a recording")
    if not arguments.stream:
        inference.require_folder(arguments.output)
    who = speaker_of(model, arguments)

    def synthesize(mel: Any) -> Any:
        return model.synthesize(mel[None], who, **told)[0]

    level = inference.level_of(config)
    if config.content.kind == "mel80":
        inference.infer(arguments, config.mel, level, synthesize, _pieces(model, arguments, who, told))
    else:
        inference.rework_file(arguments, config.mel, level, partial(say, model, speaker=who, **told))


def _pieces(model: SampleRNNPASE, arguments: argparse.Namespace, who: Who | None, told: dict[str, Any]) -> flow.Flow:
    """The model piece by piece, as far ahead as it is asked to hear."""
    from .listening import say_pieces

    told = {name: value for name, value in told.items() if name != "progress"}
    told |= {"speaker": who, "look_ahead": flow.look_ahead(arguments, LOOK_AHEAD)}
    return flow.Flow(partial(model.synthesize_stream, **told), partial(say_pieces, model, **told))


def speaker_of(model: SampleRNNPASE, arguments: argparse.Namespace) -> Who | None:
    """Who is to speak, by what `add_speaker_arguments` adds and `input`; None of a model that is told nobody.

    Raises ValueError for somebody whom the model cannot be told, FileNotFoundError.
    """
    from vocoder_core import mel_file

    from .listening import computed, who_speaks

    config, name, recording = model.config.speaker, arguments.speaker, arguments.speaker_ref
    asked = f"--speaker {name}" if recording is None else f"--speaker-ref {recording}"
    if not model.speaker_size:
        if name is not None or recording is not None:
            raise ValueError(f"{asked}: this model has no voices, what it hears says who speaks; leave it out")
        return None
    if name is not None:
        return [name]
    if recording is None and not computed(config):
        known = ", ".join(model.config.speakers[:8])
        raise ValueError(f"this model has to be told who speaks; name one by --speaker: {known or 'its vectors'}")
    if not computed(config):
        raise ValueError(
            f"{asked}: this model's voices are {config.provider}'s, which are not computed from speech; name one by "
            "--speaker, or teach it this one by samplernn-pase-adapt"
        )
    if recording is None and arguments.stream:
        raise ValueError("--stream: who speaks is not known before it is heard; name one, or --speaker-ref")
    if recording is None and arguments.input.suffix in mel_file.SUFFIXES:
        raise ValueError(f"{arguments.input}: a mel is no recording to hear a voice in; name one, or --speaker-ref")
    return who_speaks(model, recording or arguments.input, arguments.speaker_weights)


def copy(
    model: SampleRNNPASE, wav: np.ndarray, sample_rate: int, *, speaker: Who | None = None,
    encoder: SpeakerEncoder | None = None, seed: int | None = None, temperature: float | None = None,
    settle: int | None = None, backend: Backend = "auto",
) -> np.ndarray:  # fmt: skip
    """A mono recording (T,) said by the model: (T,) at the same rate and level, without delay.

    speaker: one of its own, or a vector (1, D). None, of a model whose vectors are computed from speech: whoever speaks
    in the recording, by `encoder`. Raises ValueError for an empty recording, and as `SampleRNNPASE.synthesize` does.
    """
    from .listening import computed, say, vector
    from .speaker import hearing

    config = model.config
    who: Any = [speaker] if isinstance(speaker, str) else speaker
    if who is None and model.speaker_size and computed(config.speaker) and len(wav):
        encoder = encoder or hearing(config.speaker, model.voices)
        who = vector(encoder, wav, sample_rate, config.speaker.seconds)
    work = partial(say, model, speaker=who, seed=seed, temperature=temperature, settle=settle, backend=backend)
    return inference.rework(wav, sample_rate, config.mel, inference.level_of(config), work)


if __name__ == "__main__":
    raise SystemExit(main())
