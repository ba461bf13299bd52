"""Speed of waveglow-vq beside NVIDIA's WaveGlow, Vocos, HiFi-GAN and Griffin-Lim, and of its training beside NVIDIA's.

All runs take turns, on one thread and then on two, with random weights: only ratios are worth quoting on a busy
machine. Each peer is measured where it is installed below --peers; for the others the command that puts it there is
printed. The public network is there three times: NVIDIA's code, ours at its sizes, and ours with conditions projected
once a frame instead of once a column, everything else equal.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

import peers
from vocoder_core import timing
from vocoder_core.cli import config_path
from vocoder_core.config import load
from vocoder_core.griffinlim import griffin_lim
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import WaveGlowVQ, bench
from waveglow_vq.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ONCE_A_FRAME = ("model.flow.cond=frame", "model.condition.upsampler=none")
SLOW = 1.0  # seconds of audio for networks slower than real time
ITERATIONS = 60  # of Griffin-Lim
REFERENCE = peers.WAVEGLOW.name
CROP = 64 * 256 / 22_050  # seconds of audio in a training step


@dataclass(frozen=True)
class Ours:
    """A row of the table."""

    name: str
    config: str
    overrides: tuple[str, ...] = ()
    precision: str = "fp32"
    seconds: float | None = None  # of audio in a run, where --seconds of it would take minutes


ROWS = (
    Ours("nvidia256, ours", "nvidia256", seconds=SLOW),
    Ours("nvidia256, conditions once a frame", "nvidia256", ONCE_A_FRAME, seconds=SLOW),
    Ours("s", "s"),
    Ours("default", "default"),
    Ours("default, the flow alone", "default", ("model.settle=0",)),
    Ours("default, couplings in bf16", "default", precision="bf16"),
    Ours("xs", "xs"),
    Ours("xs, couplings in bf16", "xs", precision="bf16"),
)


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench", help="where they are installed (default .bench)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of audio in each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default 1 2)")
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of all cores, on a busy machine")
    parser.add_argument("--no-synthesis", action="store_true", help="leave the first table out")
    parser.add_argument("--no-training", action="store_true", help="leave the training steps out (some minutes)")
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    found, absent = peers.load(arguments.peers, (peers.WAVEGLOW, peers.HIFIGAN, peers.VOCOS))
    print(f"{timing.machine(torch.device('cpu')).rsplit(',', 1)[0]}; seconds of audio a run: {arguments.seconds}\n")
    if not arguments.no_synthesis:
        rates: dict[int, dict[str, list[float]]] = {}
        sizes: dict[str, str] = {}
        for count in arguments.threads:
            rates[count], sizes = synthesis(found, count, arguments)
        print(synthesis_table(rates, sizes), *absent, sep="\n")
    if not arguments.no_training:
        print(f"\nTraining step (forward, backward, optimiser) on one crop of {CROP:.2f} s, fp32\n")
        print(training_table({count: training(found, count, arguments) for count in arguments.threads}))
    return 0


def settings(row: Ours) -> Settings:
    """What the row is made of."""
    return load(Settings, config_path(row.config, "waveglow_vq"), row.overrides)


def synthesis(
    found: list[tuple[peers.Peer, peers.Loaded]], threads: int, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Seconds of audio per second, a list per row, and of each row its size and sample rate."""
    torch.set_num_threads(threads)
    runs: dict[str, timing.Run] = {}
    sizes: dict[str, str] = {}
    for peer, loaded in found:
        seconds = SLOW if peer is peers.WAVEGLOW else arguments.seconds
        loaded.run(seconds)  # kernels and buffers
        runs[peer.name] = partial(loaded.run, seconds)
        sizes[peer.name] = f"{loaded.parameters / 1e6:.1f} M | {24 if peer is peers.VOCOS else 22.05}"
    for row in ROWS:
        model = WaveGlowVQ(settings(row).model).eval()
        runs[row.name] = bench.synthesis(model, 1, row.seconds or arguments.seconds, (row.precision, threads))
        sizes[row.name] = f"{timing.parameters(model) / 1e6:.1f} M | {model.sample_rate / 1000:g}"
    name = f"Griffin-Lim, {ITERATIONS} iterations"
    runs[name], sizes[name] = baseline(arguments.seconds), " | 16"
    return timing.in_turn(runs, arguments.rounds, arguments.cpu_time), sizes


def baseline(seconds: float) -> timing.Run:
    """A run of the core's Griffin-Lim on the default front end."""
    config = PRESETS["asr16"]
    mel = timing.mel_of_noise(config, 1, round(seconds * config.sample_rate / config.hop_length))

    def run() -> float:
        return griffin_lim(mel, config, ITERATIONS).numel() / config.sample_rate

    run()
    return run


def synthesis_table(rates: dict[int, dict[str, list[float]]], sizes: dict[str, str]) -> str:
    """Markdown: a row per system: its size, RTF on each number of threads, and how many times NVIDIA's it makes."""
    counts = list(rates)
    threads = [f"{count} thread{'s'[: count - 1]}" for count in counts]
    heads = [f"RTF, {each}" for each in threads]
    known = REFERENCE in rates[counts[0]]
    heads += [f"x {REFERENCE}, {each}" for each in threads] if known else []
    lines = [f"| system | parameters | kHz | {' | '.join(heads)} |", "|---|--:|--:|" + "--:|" * len(heads)]
    for name in rates[counts[0]]:
        cells = [timing.rtf(rates[count][name]) for count in counts]
        cells += [timing.ratio(rates[count][name], rates[count][REFERENCE]) for count in counts] if known else []
        lines.append(f"| {name} | {sizes[name]} | {' | '.join(cells)} |")
    return "\n".join(lines)


def training(
    found: list[tuple[peers.Peer, peers.Loaded]], threads: int, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Samples trained on per second, a list per row: NVIDIA's code, and ours where it computes in fp32."""
    torch.set_num_threads(threads)
    runs: dict[str, timing.Run] = {}
    for peer, loaded in found:
        if loaded.train is not None:
            loaded.train(1, CROP)
            runs[peer.name] = partial(_samples, partial(loaded.train, 1, CROP), 22_050)
    for row in ROWS:
        if row.precision == "fp32":
            own = settings(row)
            model = WaveGlowVQ(own.model)
            crop = replace(own.crop, frames=round(CROP * model.sample_rate / own.model.mel.hop_length))
            one = replace(own, crop=crop, train=replace(own.train, batch_size=1))
            runs[row.name] = partial(_samples, bench.training(model, one, ("fp32", threads)), model.sample_rate)
    return timing.in_turn(runs, max(1, arguments.rounds // 2), arguments.cpu_time)


def _samples(run: timing.Run, sample_rate: int) -> float:
    return run() * sample_rate


def training_table(rates: dict[int, dict[str, list[float]]]) -> str:
    """Markdown: samples per second of each, and how many times NVIDIA's."""
    lines = ["| network | threads | samples/s, median (range) | x real time | x NVIDIA's |", "|---|--:|--:|--:|--:|"]
    for count, rows in rates.items():
        for name, values in rows.items():
            rate = next((settings(row).model.mel.sample_rate for row in ROWS if row.name == name), 22_050)
            times = timing.ratio(values, rows[REFERENCE]) if REFERENCE in rows else ""
            speed = f"{statistics.median(values) / rate:.2g}"
            lines.append(f"| {name} | {count} | {timing.spread(values)} | {speed} | {times} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
