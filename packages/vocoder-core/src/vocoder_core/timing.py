"""Measuring speed on machines that do other things too: every run several times, in turn, median and range.

Only ratios of runs taken in turn are worth quoting on a busy machine; what else it does then meets all of them alike.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from . import cli

if TYPE_CHECKING:
    import argparse

    import torch

    from .mel import MelConfig

Key = TypeVar("Key")
Run = Callable[[], float]  # does some work, returns how much: samples made or trained on, seconds of audio


def add_arguments(parser: argparse.ArgumentParser, seconds: float, of: str) -> None:
    """What every X-bench can be told, but for threads: the network, how long and how often, the clock, training too."""
    parser.add_argument("--checkpoint", type=Path, help="measure this folder's network instead of --config's")
    parser.add_argument("--seconds", type=float, default=seconds, help=f"of {of} in each run (default {seconds:g})")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each (default 5)")
    parser.add_argument("--batch", type=int, default=1, help="utterances side by side (default 1)")
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of all cores, on a busy machine")
    parser.add_argument("--train", action="store_true", help="also measure training steps, at train.batch_size")
    cli.add_settings_arguments(parser)
    cli.add_device_argument(parser)


def require_positive(arguments: argparse.Namespace, *names: str) -> None:
    """Raise ValueError for one of these arguments, or a value in its list, that is not above 0."""
    for name in names:
        given = getattr(arguments, name)
        if not min(given if isinstance(given, list) else [given]) > 0:
            raise ValueError(f"--{name} is {given}; expected more than 0")


def in_turn(runs: dict[Key, Run], rounds: int, cpu_time: bool = False) -> dict[Key, list[float]]:
    """Work per second of each run, `rounds` times: first round of all, then second of all, and so on.

    cpu_time: seconds this process computed, not those that passed; the honest clock of one thread on a busy machine.
    """
    clock = time.process_time if cpu_time else time.perf_counter
    rates: dict[Key, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            begin = clock()
            amount = run()
            rates[name].append(amount / (clock() - begin))
    return rates


def ratio(first: Sequence[float], second: Sequence[float]) -> str:
    """How many times as much the first run does, round by round: median (lowest - highest)."""
    turns = [one / other for one, other in zip(first, second)]
    middle, low, high = (
        f"{x:.3g}" if x < 1000 else f"{x:,.0f}" for x in (statistics.median(turns), min(turns), max(turns))
    )
    return f"{middle} ({low} - {high})"


def rtf(rates: Sequence[float]) -> str:
    """Seconds of computing per second of audio, of rates the other way round: median (lowest - highest)."""
    seconds = sorted(1 / rate for rate in rates)
    return f"{statistics.median(seconds):.3g} ({seconds[0]:.3g} - {seconds[-1]:.3g})"


def training_table(rates: Mapping[Any, Sequence[float]], seconds: float, head: str = "threads") -> str:
    """Markdown; rates: row -> seconds of audio trained on per second; `seconds` of audio in a step."""
    lines = [f"| {head} | steps/s | seconds of audio/s, median (range) |", "|---:|---:|---:|"]
    for name, values in rates.items():
        middle = statistics.median(values)
        lines.append(f"| {name} | {middle / seconds:.3g} | {middle:.3g} ({min(values):.3g} - {max(values):.3g}) |")
    return "\n".join(lines)


def samples_table(
    rates: Mapping[str, Sequence[float]],
    sample_rate: int,
    head: Sequence[str] = (),
    beside: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """Markdown; rates: backend -> samples made per second. RTF = seconds of computing per second of audio.

    head, beside: more columns, and what they say of each backend (recurrent/arithmetic.py).
    """
    known = ["backend", "samples/s, median (range)", "x real time", "RTF", *head]
    lines = [f"| {' | '.join(known)} |", "|---" + "|---:" * (len(known) - 1) + "|"]
    for name, values in rates.items():
        speed = statistics.median(values) / sample_rate
        more = beside[name] if beside else ()
        lines.append("| " + " | ".join([name, spread(values), f"{speed:.3g}", f"{1 / speed:.3g}", *more]) + " |")
    return "\n".join(lines)


def steps_table(rates: Mapping[str, Sequence[float]], samples: int) -> str:
    """Markdown; rates: precision -> samples trained on per second; `samples` in a step."""
    lines = ["| precision | steps/s | samples/s, median (range) |", "|---|---:|---:|"]
    for name, values in rates.items():
        lines.append(f"| {name} | {statistics.median(values) / samples:.3g} | {spread(values)} |")
    return "\n".join(lines)


def mel_of_noise(config: MelConfig, batch: int, frames: int) -> torch.Tensor:
    """The log-mel (B, M, F) of white noise: what a vocoder is timed on, as the content changes no speed."""
    import torch

    from .mel import log_mel

    noise = torch.randn(batch, frames * config.hop_length, generator=torch.Generator().manual_seed(0))
    return log_mel(0.1 * noise, config)


def spread(values: Sequence[float]) -> str:
    """Median (lowest - highest), whole numbers."""
    return f"{statistics.median(values):,.0f} ({min(values):,.0f} - {max(values):,.0f})"


def parameters(model: torch.nn.Module) -> int:
    """How many numbers it learns."""
    return sum(parameter.numel() for parameter in model.parameters())


def machine(device: torch.device) -> str:
    """What figures are measured on, for the line above a table."""
    import torch

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    threads = torch.get_num_threads()
    return f"{name}, torch {torch.__version__}, {threads} thread{'s' if threads > 1 else ''}"
