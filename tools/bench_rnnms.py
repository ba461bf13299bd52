"""Speed beside univoc 0.2.1, the public RNN_MS: samples generated and trained on per second, on one CPU core.

univoc and what it imports are installed by pip into .bench/univoc, apart from everything else, when they are not there
yet; where that fails our own figures are printed alone. Ours and univoc's runs take turns, with random weights of the
same network (univoc's are copied from ours), so only the ratio is worth quoting on a busy machine.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

from rnnms import bench
from rnnms.model import RNNMS, Backend, RNNMSConfig
from rnnms.settings import Settings
from vocoder_core import timing
from vocoder_core.train import TrainConfig

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / ".bench" / "univoc"
# what univoc imports, less what every environment of ours has; antlr's version is omegaconf's
PACKAGES = "univoc==0.2.1 omegaconf importlib_resources tqdm antlr4-python3-runtime==4.9.3 pyyaml pyloudnorm".split()


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="of computing in each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="count the seconds of this process, on a busy machine")
    parser.add_argument(
        "--train", type=int, nargs="*", default=[2], metavar="B",
        help="batch sizes to train at (default 2); 32 is the public recipe's: 10 GB, minutes; none: no training",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    ours = RNNMS(RNNMSConfig()).eval()
    theirs = univoc(ours)
    print(f"RNN_MS, {timing.parameters(ours):,} parameters, {timing.machine(torch.device('cpu'))}\n")
    compare_generation(ours, theirs, arguments.seconds, arguments.rounds, arguments.cpu_time)
    for size in arguments.train:
        compare_training(ours, theirs, size, max(1, arguments.rounds // 2), arguments.cpu_time)
    return 0


def univoc(ours: RNNMS) -> Any:
    """univoc's network with our weights, or None, with the reason printed, where it cannot be had."""
    if not (TARGET / "univoc").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(TARGET), "--no-deps", *PACKAGES]
        if subprocess.run(command, check=False).returncode:
            print("univoc could not be installed: our own figures alone\n")
            return None
    sys.path.insert(0, str(TARGET))
    network = importlib.import_module("univoc").Vocoder(80, 128, 256, 896, 1024, 10, 200, 16000).eval()
    network.load_state_dict({renamed(name): tensor for name, tensor in ours.state_dict().items()})
    return network


def renamed(name: str) -> str:
    """univoc's name of a parameter of ours."""
    return name.replace("encoder", "rnn1").replace("decoder.rnn", "rnn2").replace("decoder.", "")


def compare_generation(ours: RNNMS, theirs: Any, seconds: float, rounds: int, cpu_time: bool) -> None:
    """Print the table, and the ratio of the medians and of the best runs."""
    folded = {f"rnnms, int8, 1 utterance in {folds} folds": folds for folds in (8, 16)}
    kinds: dict[str, tuple[Backend, int]] = {
        "rnnms, numba": ("numba", 1),
        "rnnms, numba, 8 utterances": ("numba", 8),
        "rnnms, int16": ("int16", 1),
        "rnnms, int8": ("int8", 1),
        "rnnms, int8, 4 utterances": ("int8", 4),
        "rnnms, int8, 8 utterances": ("int8", 8),
        "rnnms, int8, 32 utterances": ("int8", 32),
        "rnnms, torch": ("torch", 1),
    }
    runs = {name: bench.generation(ours, backend, batch, seconds) for name, (backend, batch) in kinds.items()}
    for name, folds in folded.items():
        kinds[name], runs[name] = ("int8", folds), bench.generation(ours, "int8", 1, seconds, folds)
    if theirs is not None:
        runs["univoc 0.2.1, generate()"] = univoc_generation(theirs, seconds)
    rates = timing.in_turn(runs, rounds, cpu_time)
    print(bench.speed_table(ours, kinds, rates))
    print_ratio(rates)


def univoc_generation(network: Any, seconds: float) -> timing.Run:
    """A run of univoc's `generate` of about that long."""
    # `generate` decodes with numpy.int, gone since NumPy 1.24, and draws a progress bar on stderr
    import numpy as np

    np.__dict__["int"] = int

    def generate(frames: int) -> int:
        mel = -torch.rand(1, frames, 80)
        with torch.no_grad(), open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            return len(network.generate(mel)[0])

    generate(1)
    begin = time.perf_counter()
    generate(1)
    frames = max(1, round(seconds / (time.perf_counter() - begin)))
    return lambda: generate(frames)


def compare_training(ours: RNNMS, theirs: Any, size: int, rounds: int, cpu_time: bool) -> None:
    """Print steps of size x 4,800 samples of both on the same kind of data, and the ratio."""
    settings = Settings(train=TrainConfig(batch_size=size))
    samples = size * settings.crop.frames * settings.model.mel.hop_length
    runs = {"rnnms": bench.training(ours, settings, amp=False)}
    if theirs is not None:
        runs["univoc 0.2.1"] = univoc_training(theirs, size, settings)
    rates = timing.in_turn(runs, rounds, cpu_time)
    print(f"\nTraining step, {size} x 4800 samples, fp32\n")
    print(timing.steps_table(rates, samples))
    print_ratio(rates)


def univoc_training(network: Any, size: int, settings: Settings) -> timing.Run:
    """A run of one step as univoc's train.py does it without AMP: cross-entropy, Adam."""
    frames, hop = settings.crop.frames, settings.model.mel.hop_length
    codes, mel = torch.randint(0, 1024, (size, frames * hop + 1)), -torch.rand(size, frames, 80)
    optimizer = torch.optim.Adam(network.parameters(), 4e-4)

    def step() -> int:
        optimizer.zero_grad()
        output = network(codes[:, :-1], mel)
        torch.nn.functional.cross_entropy(output.transpose(1, 2), codes[:, 1:]).backward()
        optimizer.step()
        return size * frames * hop

    step()
    return step


def print_ratio(rates: dict[str, list[float]]) -> None:
    """Each row beside univoc's, where there is one."""
    *rows, last = rates.items()
    if not last[0].startswith("univoc"):
        return
    print()
    for name, values in rows:
        print(f"{name} : univoc = {timing.ratio(values, last[1])} per round, median (range)")


if __name__ == "__main__":
    sys.exit(main())
