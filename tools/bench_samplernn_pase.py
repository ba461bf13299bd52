"""Speed of samplernn-pase beside the public code whose network it is, and beside rnnms: speaking, and training steps.

All runs take turns, on one thread unless told otherwise, with random weights: only ratios are worth quoting on a busy
machine. davidalvarezdlt/samplernn_pase is measured where it is checked out below --peers, by its own sampling loop,
with what it lacks on today's PyTorch lent by tools/samplernn_code.py; else the command that puts it there is printed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

import torch

import peers
import rnnms.bench
from rnnms import RNNMS, RNNMSConfig
from samplernn_code import Sizes, info, lightning, project
from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, bench
from samplernn_pase.content import ContentConfig
from samplernn_pase.settings import Settings
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core import timing
from vocoder_core.cli import config_path
from vocoder_core.config import load

ROOT = Path(__file__).resolve().parent.parent
RATE, HOP = 16_000, 80
AS_IT_IS, NO_NORM = "public code as it is", "public code, weight norm taken out"
PAPER = SampleRNNPASEConfig(  # the network of the public code in its acoustic mode
    content=ContentConfig("world43"), speaker=SpeakerConfig(provider="lookup", size=15),
    speakers=tuple(f"speaker {number}" for number in range(126)),
)  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench", help="where it is checked out (default .bench)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of computing in each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads (default %(default)s)")
    parser.add_argument("--cpu-time", action="store_true", help="count the seconds of this process, on a busy machine")
    help_ = "batch sizes to train at (default 4; the public recipe's is 64); none: no training"
    parser.add_argument("--train", type=int, nargs="*", default=[4], metavar="B", help=help_)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    found, absent = peers.load(arguments.peers, PUBLIC)
    theirs = {peer.name: loaded for peer, loaded in found}
    paper = SampleRNNPASE(PAPER).eval()
    print(f"H 1024: {timing.parameters(paper):,} parameters; {timing.machine(torch.device('cpu'))}\n")
    runs = speaking(paper, arguments.seconds, theirs)
    print(speaking_table(timing.in_turn(runs, arguments.rounds, arguments.cpu_time)), *absent, sep="\n")
    for size in arguments.train:
        rates = timing.in_turn(training(paper, size, theirs), max(1, arguments.rounds // 2), arguments.cpu_time)
        samples = size * 13 * HOP
        print(f"\nTraining step, {size} x {13 * HOP} samples\n\n{timing.steps_table(rates, samples)}")
    return 0


def as_it_is(folder: Path) -> peers.Loaded:
    """The published network in acoustic mode: one utterance by its own loop, and its training step."""
    with project(folder.parent) as its:
        network = lightning(its, "acoustic", Sizes()).eval()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)

    def run(seconds: float) -> float:
        with torch.no_grad():
            made = network.infer(torch.zeros(1, max(1, round(seconds * RATE / HOP)), 43), info(0)[0])
        return (made.shape[1] - HOP) / RATE

    def train(rows: int, seconds: float) -> float:
        samples = round(seconds * RATE)
        wav, conds = 0.1 * torch.randn(rows, HOP - 1 + samples), torch.zeros(rows, samples // HOP, 43)
        network._init_rnn_states(rows)
        batch = wav, 0.1 * torch.randn(rows, samples), conds, torch.ones(rows), info(*[0] * rows)
        optimizer.zero_grad()
        network.training_step(batch, 0).backward()
        optimizer.step()
        return rows * samples / RATE

    return peers.Loaded(timing.parameters(network), run, train)


def without_norm(folder: Path) -> peers.Loaded:
    """The same, its weight norm taken out, which its own loop computes again for every sample."""
    with mock.patch.object(torch.nn.utils, "weight_norm", lambda module: module):
        return as_it_is(folder)


SOURCE = f"{peers.GIT}davidalvarezdlt/samplernn_pase"
PUBLIC = (
    peers.Peer(AS_IT_IS, "lightning", SOURCE, as_it_is),
    peers.Peer(NO_NORM, "lightning", SOURCE, without_norm),
)


def speaking(paper: SampleRNNPASE, seconds: float, public: dict[str, peers.Loaded]) -> dict[str, timing.Run]:
    """Runs of about that many seconds of computing each; they return samples."""
    small = bench.of_config(load(Settings, config_path("small", "samplernn_pase")).model).eval()
    added = bench.of_config(replace(PAPER, combine="add", weight_norm=False)).eval()
    runs = {
        "samplernn-pase H 1024, numba": bench.generation(paper, "numba", 1, seconds),
        "samplernn-pase H 1024 `add`, 16 bits, numba": bench.generation(added, "numba", 1, seconds),
        "samplernn-pase H 1024, torch": bench.generation(paper, "torch", 1, seconds),
        "samplernn-pase small, 16 bits, numba": bench.generation(small, "numba", 1, seconds),
        "rnnms default, numba": rnnms.bench.generation(RNNMS(RNNMSConfig()).eval(), "numba", 1, seconds),
    }
    for name, loaded in public.items():
        loaded.run(HOP / RATE)
        runs[name] = partial(_samples, partial(loaded.run, seconds * 150 / RATE))  # it makes some 150 a second
    return runs


def training(paper: SampleRNNPASE, size: int, public: dict[str, peers.Loaded]) -> dict[str, timing.Run]:
    """Runs of one step on `size` rows; they return the samples that were predicted."""
    settings = Settings()
    settings = replace(settings, train=replace(settings.train, batch_size=size))
    runs = {
        "samplernn-pase H 1024, fp32": bench.training(paper, settings, amp=False),
        "samplernn-pase H 1024, bf16 autocast": bench.training(paper, settings, amp=True),
    }
    for loaded in (public[name] for name in (AS_IT_IS,) if name in public):
        assert loaded.train is not None, "as_it_is trains it"
        step = partial(loaded.train, size, 13 * HOP / RATE)
        step()
        runs["public code, fp32"] = partial(_samples, step)
    return runs


def _samples(run: timing.Run) -> float:
    return run() * RATE


def speaking_table(rates: dict[str, list[float]]) -> str:
    """Markdown: samples per second of each, times real time, and how many times the public code's."""
    known = [name for name in (AS_IT_IS, NO_NORM) if name in rates]
    head = "".join(f" x {name} |" for name in known)
    lines = [f"| | samples/s, median (range) | x real time |{head}", "|---|--:|--:|" + "--:|" * len(known)]
    for name, values in rates.items():
        times = "".join(f" {timing.ratio(values, rates[other])} |" for other in known)
        middle = sorted(values)[len(values) // 2]
        lines.append(f"| {name} | {timing.spread(values)} | {middle / RATE:.3g} |{times}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
