"""The command X-infer IN OUT, as far as all vocoders share it: a recording's copy, or the wave of a mel in a file.

A recording of n samples at any rate and with any number of channels comes back with n samples at that rate, at its own
level: it is mixed down, resampled, brought to the level the model knows, and all of that is undone at the end.

    def _infer(arguments):
        model = RNNMS.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
        inference.infer(arguments, model.config.mel, level, synthesize)
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from . import cli

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .mel import MelConfig

    Level = Callable[[np.ndarray, int], tuple[np.ndarray, float]]  # wav (T,), Hz -> wav at the model's level, gain
    Synthesize = Callable[[Tensor], Tensor]  # mel (M, F) -> wav (F * hop_length,)


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """The arguments of X-infer; a vocoder adds its own."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("input", type=Path, help="in.wav (flac, ogg, mp3 ... any rate) or mel.npy, mel.npz: (M, F)")
    parser.add_argument("output", type=Path, help="out.wav (or .flac, .ogg)")
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (default 0)")
    parser.add_argument("--rate", choices=["input", "model"], default="input", help="sample rate of the output")
    cli.add_device_argument(parser)
    return parser


def infer(arguments: argparse.Namespace, config: MelConfig, level: Level, synthesize: Synthesize) -> None:
    """Read what the arguments of `parser` name, synthesise, write, and say so."""
    from . import audio, mel_file

    if not arguments.output.parent.is_dir():
        raise FileNotFoundError(f"{arguments.output.parent}: no such folder for the output; make it first")
    if arguments.input.suffix in mel_file.SUFFIXES:
        wav, rate = synthesize(mel_file.read(arguments.input, config)).cpu().numpy(), config.sample_rate
    else:
        source, rate = audio.load(arguments.input)
        if arguments.rate == "model":
            source, rate = audio.resample(source, rate, config.sample_rate), config.sample_rate
        wav = copy(source, rate, config, level, synthesize)
    audio.save(arguments.output, wav, rate)
    print(f"{arguments.output}: {len(wav) / rate:.2f} s at {rate} Hz")


def copy(wav: np.ndarray, sample_rate: int, config: MelConfig, level: Level, synthesize: Synthesize) -> np.ndarray:
    """The copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording.
    """
    import numpy as np
    import torch

    from . import audio

    if not len(wav):
        raise ValueError("the recording is empty; expected at least one sample")
    own, gain = level(audio.resample(wav, sample_rate, config.sample_rate), config.sample_rate)
    made = synthesize(analyse(torch.from_numpy(own), config))
    result = audio.resample(made[: len(own)].cpu().numpy() / gain, config.sample_rate, sample_rate)[: len(wav)]
    return np.pad(result, (0, len(wav) - len(result))).astype(np.float32)


def analyse(wav: Tensor, config: MelConfig) -> Tensor:
    """The mel (M, F) of a wave (T,) at the model's rate, F >= 1, F * hop_length >= T: zeros fill the last frame."""
    import torch.nn.functional as F

    from .mel import log_mel

    hop = config.hop_length
    return log_mel(F.pad(wav, (0, -len(wav) % hop if len(wav) else hop)), config)
