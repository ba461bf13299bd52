"""The command X-infer IN OUT, as far as all vocoders share it: a recording's copy, or the wave of a mel in a file.

A recording of n samples at any rate and with any number of channels comes back with n samples at that rate, at its own
level: it is mixed down, resampled, brought to the level the model knows, and all of that is undone at the end.

    def _infer(arguments):
        model = RNNMS.from_pretrained(arguments.checkpoint, device=cli.device(arguments.device))
        inference.infer(arguments, model.config.mel, level, synthesize)

What makes one recording of another, as conversion does, hands `rework` a function of waves in place of one of mels;
what keeps codes in between takes its two halves, `prepare` and `restore`. What speaks piece by piece hands `infer` a
Flow: it is then never held, and may come from stdin, by --stream (streaming/pipes.py).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import cli
from .streaming.flow import Flow, add_stream_arguments, fixed

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .mel import MelConfig

    Level = Callable[[np.ndarray, int], tuple[np.ndarray, float]]  # wav (T,), Hz -> wav at the model's level, gain
    Synthesize = Callable[[Tensor], Tensor]  # mel (M, F) -> wav (F * hop_length,)
    Work = Callable[[Tensor], Tensor]  # wav (F * hop_length,) at the model's rate and level -> wav of the same length


def parser(program: str, description: str, mels: bool = True, stream: bool = False) -> argparse.ArgumentParser:
    """The arguments of X-infer, mels: which takes mels too, stream: and --stream; a vocoder adds its own."""
    parser = argparse.ArgumentParser(prog=program, description=description)
    more, files = " or mel.npy, mel.npz: (M, F)" if mels else "", "?" if stream else None
    parser.add_argument("input", type=Path, help=f"in.wav (flac, ogg, mp3 ... any rate){more}", nargs=files)
    parser.add_argument("output", type=Path, help="out.wav (or .flac, .ogg)", nargs=files)
    if stream:
        add_stream_arguments(parser)
    parser.add_argument("--checkpoint", type=Path, help="a run or checkpoint folder (default: the built-in weights)")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (default 0)")
    parser.add_argument("--rate", choices=["input", "model"], default="input", help="sample rate of the output")
    cli.add_device_argument(parser)
    return parser


def add_sampling_arguments(parser: argparse.ArgumentParser, tiers: Sequence[str] = ()) -> None:
    """--temperature, --settle and --backend: of every command that draws a wave sample by sample.

    tiers: kernels in whole numbers that the vocoder has besides (recurrent.streams).
    """
    parser.add_argument("--temperature", type=float, help="below 1: calmer, to 0: buzzy (default: the model's own)")
    parser.add_argument(
        "--settle", type=int, metavar="STEPS", help="Griffin-Lim from its phases, 0: none (default: the model's own)"
    )
    parser.add_argument(
        "--backend", choices=["auto", "torch", "graph", "numba", *tiers], default="auto", help="what draws the samples"
    )


def sampling(arguments: argparse.Namespace) -> dict[str, Any]:
    """What these options and --seed tell the model, which knows what it does where they say nothing; with progress."""
    told = {name: getattr(arguments, name) for name in ("seed", "temperature", "settle", "backend")}
    return {name: value for name, value in told.items() if value is not None} | {"progress": True}


def level_of(config: Any) -> Level:
    """What brings a wave to the level that a model learnt from: config.level, peak or loudness, at config.level_db."""
    from . import audio

    if config.level == "loudness":
        return partial(audio.set_loudness, target=config.level_db)
    return lambda wav, sample_rate: audio.set_peak(wav, config.level_db)


def infer(
    arguments: argparse.Namespace, config: MelConfig, level: Level, synthesize: Synthesize, flow: Flow | None = None
) -> None:
    """Read what the arguments of `parser` name, a recording or a mel, synthesise, write, and say so.

    flow: piece by piece, in place of `synthesize`.
    """
    from . import audio, mel_file

    if flow is not None and arguments.stream:
        from .streaming import pipes

        pipes.through(flow.of_wave, config, arguments.input_rate, arguments.rate == "model", arguments.gain or 0.0)
    elif arguments.input.suffix not in mel_file.SUFFIXES:
        rework_file(arguments, config, level, lambda own: synthesize(analyse(own, config)), flow)
    else:
        require_folder(arguments.output)
        if getattr(arguments, "gain", None) is not None:
            raise ValueError(f"--gain {arguments.gain} with a mel, which has its level; expected a recording")
        mel = mel_file.MelFile(arguments.input, config)
        if flow is None:
            wav = synthesize(mel.cut(0, mel.frames)).cpu().numpy()
            audio.save(arguments.output, wav, config.sample_rate)
            _say(arguments.output, len(wav), config.sample_rate)
        else:
            made = (wav.cpu().numpy() for wav in flow.of_mel(mel))
            _write(arguments.output, made, config.sample_rate, mel.frames * config.hop_length)


def rework_file(
    arguments: argparse.Namespace, config: MelConfig, level: Level, work: Work, flow: Flow | None = None
) -> None:
    """Read the recording that the arguments of `parser` name, rework and write it, and say so.

    flow: piece by piece, in place of `work`.
    """
    from . import audio

    require_folder(arguments.output)
    source, rate = audio.load(arguments.input)
    if arguments.rate == "model":
        source, rate = audio.resample(source, rate, config.sample_rate), config.sample_rate
    if getattr(arguments, "gain", None) is not None:
        level = fixed(arguments.gain)
    if flow is None:
        wav = rework(source, rate, config, level, work)
        audio.save(arguments.output, wav, rate)
        _say(arguments.output, len(wav), rate)
        return
    from .streaming.restore import restored

    own, gain = prepare(source, rate, config, level)
    samples = len(source)
    del source
    made = restored(flow.of_wave(own), gain, config.sample_rate, rate, lambda: samples)
    _write(arguments.output, made, rate, samples)


def _write(path: Path, pieces: Iterable[np.ndarray], rate: int, samples: int) -> None:
    from .streaming.writer import write

    _say(path, write(path, pieces, rate, samples), rate)


def _say(path: Path, samples: int, rate: int) -> None:
    print(f"{path}: {samples / rate:.2f} s at {rate} Hz")


def require_folder(output: Path) -> None:
    """Raise FileNotFoundError, before the work, where there is no folder for its result."""
    if not output.parent.is_dir():
        raise FileNotFoundError(f"{output.parent}: no such folder for the output; make it first")


def copy(wav: np.ndarray, sample_rate: int, config: MelConfig, level: Level, synthesize: Synthesize) -> np.ndarray:
    """The copy of a mono recording (T,): analysed, synthesised, aligned; (T,) at the same rate and level.

    Raises ValueError for an empty recording.
    """
    return rework(wav, sample_rate, config, level, lambda own: synthesize(analyse(own, config)))


def rework(wav: np.ndarray, sample_rate: int, config: MelConfig, level: Level, work: Work) -> np.ndarray:
    """What `work` makes of a mono recording (T,), at the recording's rate and level, as long as it.

    Raises ValueError for an empty recording.
    """
    own, gain = prepare(wav, sample_rate, config, level)
    return restore(work(own), gain, config.sample_rate, sample_rate, len(wav))


def prepare(wav: np.ndarray, sample_rate: int, config: MelConfig, level: Level) -> tuple[Tensor, float]:
    """A mono recording (T,) as the model knows speech, (F * hop_length,), F >= 1: its rate, its level, whole frames.

    And the gain that took it to that level. Raises ValueError for an empty recording.
    """
    import torch

    from . import audio

    if not len(wav):
        raise ValueError("the recording is empty; expected at least one sample")
    own, gain = level(audio.resample(wav, sample_rate, config.sample_rate), config.sample_rate)
    return whole_frames(torch.from_numpy(own), config), gain


def restore(made: Tensor, gain: float, model_rate: int, sample_rate: int, samples: int) -> np.ndarray:
    """(samples,) float32 at `sample_rate` of what a model made at its own rate of a recording `prepare`d by `gain`."""
    import numpy as np

    from . import audio

    own = (2 * samples * model_rate + sample_rate) // (2 * sample_rate)  # its length before it was padded, rounded
    result = audio.resample(made[:own].cpu().numpy() / gain, model_rate, sample_rate)[:samples]
    return np.pad(result, (0, samples - len(result))).astype(np.float32)


def analyse(wav: Tensor, config: MelConfig) -> Tensor:
    """The mel (M, F) of a wave (T,) at the model's rate, F >= 1, F * hop_length >= T: zeros fill the last frame."""
    from .mel import log_mel

    return log_mel(whole_frames(wav, config), config)


def whole_frames(wav: Tensor, config: MelConfig) -> Tensor:
    """A wave (T,) with zeros behind it: (F * hop_length,), F >= 1."""
    import torch.nn.functional as F

    hop = config.hop_length
    return F.pad(wav, (0, -len(wav) % hop if len(wav) else hop))
