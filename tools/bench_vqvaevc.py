"""Speed of vqvaevc beside mkotha/WaveRNN, whose network it is, and beside rnnms: speaking, and training steps.

All runs take turns, on one thread unless told otherwise, with random weights: only ratios are worth quoting on a busy
machine. mkotha/WaveRNN is measured where it is checked out below --peers, with what it lacks on a CPU and on today's
PyTorch lent by tools/public_wavernn.py; else the command that puts it there is printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

import peers
import rnnms.bench
from rnnms import RNNMS, RNNMSConfig
from vocoder_core import timing
from vocoder_core.cli import config_path
from vocoder_core.config import load
from vqvaevc import VQVAEVC, VQVAEVCConfig, bench
from vqvaevc.batches import CropConfig
from vqvaevc.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = peers.OVERTONE.name
SAMPLES = 1024  # of each row of a training step, as the public recipe has them
PUBLIC_RATE = 22_050
PUBLIC_SPEED = 250  # samples a second, roughly: how much of them a run is to be


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench", help="where it is checked out (default .bench)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of computing in each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="count the seconds of this process, on a busy machine")
    help_ = "batch sizes to train at (default 2; the public recipe's is 16); none: no training"
    parser.add_argument("--train", type=int, nargs="*", default=[2], metavar="B", help=help_)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found, absent = peers.load(arguments.peers, (peers.OVERTONE,))
    default = bench.of_config(VQVAEVCConfig()).eval()
    print(f"default: {timing.parameters(default):,} parameters; {timing.machine(torch.device('cpu'))}\n")
    runs = speaking(default, arguments.seconds, [loaded for _, loaded in found])
    rates = timing.in_turn(runs, arguments.rounds, arguments.cpu_time)
    print(speaking_table(rates), *absent, sep="\n")
    for size in arguments.train:
        steps = training(default, size, [loaded for _, loaded in found])
        rates = timing.in_turn(steps, max(1, arguments.rounds // 2), arguments.cpu_time)
        print(f"\nTraining step, {size} x {SAMPLES} samples\n\n{timing.steps_table(rates, size * SAMPLES)}")
    return 0


def speaking(default: VQVAEVC, seconds: float, public: list[peers.Loaded]) -> dict[str, timing.Run]:
    """Runs of that many seconds of computing each, or a little more; they return samples."""
    small = bench.of_config(load(Settings, config_path("small", "vqvaevc")).model).eval()
    full = VQVAEVC(default.config).eval()
    runs = {
        "vqvaevc default, numba, weights of 16 bits": bench.generation(default, "numba", 1, seconds),
        "vqvaevc default, numba, weights of 32 bits": bench.generation(full, "numba", 1, seconds),
        "vqvaevc default, int8": bench.generation(full, "int8", 1, seconds),
        "vqvaevc default, torch": bench.generation(default, "torch", 1, seconds),
        "vqvaevc small, numba, weights of 16 bits": bench.generation(small, "numba", 1, seconds),
        "vqvaevc small, int8": bench.generation(small, "int8", 1, seconds),
        "rnnms default, numba": rnnms.bench.generation(RNNMS(RNNMSConfig()).eval(), "numba", 1, seconds),
    }
    for loaded in public:
        loaded.run(0.01)
        runs[REFERENCE] = partial(
            _samples, partial(loaded.run, seconds * 250 / PUBLIC_RATE)
        )  # it makes some 250 a second
    return runs


def training(model: VQVAEVC, size: int, public: list[peers.Loaded]) -> dict[str, timing.Run]:
    """Runs of one step on `size` rows; they return the samples that were predicted."""
    settings = Settings()
    settings = replace(settings, train=replace(settings.train, batch_size=size), crop=CropConfig(samples=SAMPLES))
    runs = {
        "vqvaevc default, fp32": bench.training(model, settings, amp=False),
        "vqvaevc default, bf16 autocast": bench.training(model, settings, amp=True),
    }
    for loaded in public:
        assert loaded.train is not None, "tools/peers.py trains it"
        step = partial(loaded.train, size, SAMPLES / PUBLIC_RATE)
        step()
        runs[f"{REFERENCE}, fp32"] = partial(_samples, step)
    return runs


def _samples(run: timing.Run) -> float:
    return run() * PUBLIC_RATE


def speaking_table(rates: dict[str, list[float]]) -> str:
    """Markdown: samples per second of each, and how many times the public code's."""
    known = REFERENCE in rates
    head = f" x {REFERENCE} |" if known else ""
    lines = [f"| | samples/s, median (range) |{head}", "|---|--:|" + "--:|" * known]
    for name, values in rates.items():
        times = f" {timing.ratio(values, rates[REFERENCE])} |" if known else ""
        lines.append(f"| {name} | {timing.spread(values)} |{times}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
