"""Flow: what a vocoder that speaks piece by piece hands to inference.infer, and the options of its command."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from .pieces import Source


@dataclass(frozen=True)
class Flow:
    """How a vocoder speaks piece by piece, (t,) each, F * hop_length samples together."""

    of_mel: Callable[[Source], Iterator[Tensor]]  # of a mel that can be read anywhere
    of_wave: Callable[[Tensor | Iterator[Tensor]], Iterator[Tensor]]  # of a wave (F * hop_length,), or portions of it


def add_stream_arguments(parser: argparse.ArgumentParser) -> None:
    """--stream, --input-rate and --gain."""
    group = parser.add_argument_group("piece by piece")
    group.add_argument(
        "--stream", action="store_true",
        help="raw PCM, 16 bits little-endian, one channel, from stdin to stdout, as it is made; no files",
    )  # fmt: skip
    group.add_argument("--input-rate", type=int, metavar="HZ", help="of that PCM, and of what is made (the model's)")
    group.add_argument(
        "--gain", type=float, metavar="DB",
        help="what takes the input to the model's level, undone behind it (default: as measured; with --stream, where "
        "nothing can be measured ahead, 0)",
    )  # fmt: skip


def add_look_ahead(parser: argparse.ArgumentParser, default: int) -> None:
    """--look-ahead; default: with --stream."""
    parser.add_argument(
        "--look-ahead", type=int, metavar="FRAMES",
        help=f"how much of what comes is heard before a frame is said (default: all; with --stream {default})",
    )  # fmt: skip


def look_ahead(arguments: argparse.Namespace, default: int) -> int | None:
    """What was asked for; None: all."""
    given: int | None = arguments.look_ahead
    return default if given is None and arguments.stream else given


def asked(arguments: argparse.Namespace) -> bool:
    """Whether what comes is to be heard piece by piece."""
    return bool(arguments.stream or arguments.look_ahead is not None)


def check(arguments: argparse.Namespace) -> None:
    """Raise ValueError for arguments of `parser` with stream=True that do not go together."""
    from ..audio import MAX_RATE, MIN_RATE

    given, files = arguments.input, [str(each) for each in (arguments.input, arguments.output) if each is not None]
    if not arguments.stream:
        if len(files) < 2:
            raise ValueError(f"{' '.join(files) or 'no file'} given; expected an input and an output, or --stream")
        if arguments.input_rate is not None:
            raise ValueError(f"--input-rate {arguments.input_rate} without --stream; a file says its own rate")
    elif given is not None and str(given) != "-":
        raise ValueError(f"--stream reads from stdin and writes to stdout; {' '.join(files)} given, expected no files")
    elif len(files) > 1 and files[1] != "-":
        raise ValueError(f"--stream writes to stdout; {files[1]} given, expected no files: > {files[1]} keeps it raw")
    elif arguments.input_rate is not None and not MIN_RATE <= arguments.input_rate <= MAX_RATE:
        raise ValueError(f"--input-rate {arguments.input_rate}; expected {MIN_RATE} to {MAX_RATE} Hz")
    if arguments.gain is not None and not abs(arguments.gain) <= 120:
        raise ValueError(f"--gain {arguments.gain}; expected -120 to 120 dB")


def fixed(gain_db: float) -> Callable[[np.ndarray, int], tuple[np.ndarray, float]]:
    """An inference.Level that measures nothing."""
    gain = 10 ** (gain_db / 20)
    return lambda wav, sample_rate: (wav * gain, gain)
