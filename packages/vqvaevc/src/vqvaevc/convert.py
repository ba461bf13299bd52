"""vqvaevc-convert in.wav out.wav --target NAME [--target NAME2 ...]: what was said, in the voices of training speakers.

The recording is encoded once, and decoded in all voices as one batch. One target gives out.wav; of several each has a
file of its own, out.NAME.wav, or out/NAME.wav where out is a folder.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vocoder_core import cli, inference

from .infer import level

if TYPE_CHECKING:
    import numpy as np

    from .generate import Backend
    from .model import VQVAEVC


def main(argv: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = inference.parser("vqvaevc-convert", "A recording in the voices of other speakers.", mels=False)
    parser.add_argument(
        "--target", metavar="NAME", action="append", required=True,
        help="whose voice: a speaker of the training set; more than one may be named",
    )  # fmt: skip
    inference.add_sampling_arguments(parser, ("int8", "int16"))
    return cli.run(parser, _convert, argv)


def _convert(arguments: argparse.Namespace) -> None:
    from vocoder_core import audio

    from .model import VQVAEVC

    outputs = files(arguments.output, arguments.target)
    for path in outputs:
        inference.require_folder(path)
    model = VQVAEVC.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
    wav, rate = audio.load(arguments.input)
    if arguments.rate == "model":
        wav, rate = audio.resample(wav, rate, model.sample_rate), model.sample_rate
    made = convert(model, wav, rate, arguments.target, **inference.sampling(arguments))
    for path, one in zip(outputs, made):
        audio.save(path, one, rate)
        print(f"{path}: {len(one) / rate:.2f} s at {rate} Hz")


def files(output: Path, targets: Sequence[str]) -> list[Path]:
    """Where each target's wave goes. Raises ValueError for a name that comes twice."""
    if len(set(targets)) < len(targets):
        raise ValueError(f"--target names {', '.join(targets)}; expected each of them once")
    names = [name.replace("/", "_") for name in targets]  # of speakers whose folders lay in folders
    if output.is_dir():
        return [output / f"{name}.wav" for name in names]
    if len(targets) == 1:
        return [output]
    return [output.with_name(f"{output.stem}.{name}{output.suffix}") for name in names]


def convert(
    model: VQVAEVC,
    wav: np.ndarray,
    sample_rate: int,
    targets: Sequence[str],
    *,
    seed: int | None = None,
    temperature: float = 1.0,
    settle: int | None = None,
    backend: Backend = "auto",
    progress: bool = False,
) -> list[np.ndarray]:
    """A mono recording (T,) in the voice of each target; each (T,) at the same rate and level, without delay.

    Raises ValueError for an empty recording, and as `VQVAEVC.convert` does.
    """
    own, gain = inference.prepare(wav, sample_rate, model.config.mel, level(model))
    made = model.convert(
        own, list(targets), temperature=temperature, settle=settle, seed=seed, backend=backend, progress=progress
    )  # fmt: skip
    return [inference.restore(row, gain, model.sample_rate, sample_rate, len(wav)) for row in made]


if __name__ == "__main__":
    raise SystemExit(main())
