"""Speed of SpecGrad beside PriorGrad, WaveGrad, Vocos, HiFi-GAN and Griffin-Lim, and of its training beside DiffWave's.

All runs take turns, on one thread and then on two, with random weights: only ratios are worth quoting on a busy
machine. Each peer is measured where it is installed below --peers; for the others the command that puts it there is
printed. The network of vvvm23/specgrad is our DiffWave at its sizes: the tests hold the two to the same output.
"""

from __future__ import annotations

import argparse
import dataclasses
import statistics
import sys
from functools import partial
from pathlib import Path

import torch

import peers
from specgrad import bench
from specgrad.diffwave import DiffWaveConfig
from specgrad.model import SpecGrad, SpecGradConfig
from specgrad.settings import Settings
from specgrad.shaping import ShapingConfig
from vocoder_core import timing
from vocoder_core.cli import config_path
from vocoder_core.config import load
from vocoder_core.griffinlim import griffin_lim
from vocoder_core.mel_presets import PRESETS

ROOT = Path(__file__).resolve().parent.parent
STEPS = (1, 2, 4, 6)
ITERATIONS = 60  # of Griffin-Lim
PEERS = (peers.PRIORGRAD, peers.WAVEGRAD, peers.VOCOS, peers.HIFIGAN)
REFERENCE = "SpecGrad, 4 steps"
ONE_STEP = ", one step"  # how the row of a diffusion network is called while it is timed
SLOW = 1.0  # seconds of audio for peers slower than real time


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--checkpoint", type=Path, help="default: --config's network with random weights")
    parser.add_argument("--config", default="default", help="a built-in config of specgrad, or a file")
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench", help="where they are installed (default .bench)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of audio in each run (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each, in turn (default %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default 1 2)")
    parser.add_argument("--cpu-time", action="store_true", help="count seconds of all cores, on a busy machine")
    parser.add_argument("--no-training", action="store_true", help="leave the training steps out (a minute)")
    arguments = parser.parse_args(argv)
    torch.manual_seed(0)
    settings = load(Settings, config_path(arguments.config, "specgrad"))
    model = SpecGrad.from_pretrained(arguments.checkpoint) if arguments.checkpoint else SpecGrad(settings.model)
    model.eval()
    found, absent = peers.load(arguments.peers, PEERS)
    print(f"{timing.machine(torch.device('cpu')).rsplit(',', 1)[0]}; seconds of audio a run: {arguments.seconds}\n")
    rates = {count: generation(model, found, count, arguments) for count in arguments.threads}
    print(generation_table(rates, sizes(model, found)), *absent, sep="\n")
    if not arguments.no_training:
        print("\nTraining step (forward, backward, AdamW) on 2 x 1.5 s, fp32\n")
        print(training_table({count: training(settings, count, arguments) for count in arguments.threads}))
    return 0


def generation(
    model: SpecGrad, found: list[tuple[peers.Peer, peers.Loaded]], threads: int, arguments: argparse.Namespace
) -> dict[str, list[float]]:
    """Seconds of audio per second, a list per row; of a diffusion peer, rows for each of its numbers of steps."""
    torch.set_num_threads(threads)
    runs = {}
    for steps in STEPS:
        name = f"SpecGrad, {steps} step{'s' if steps > 1 else ''}"
        runs[name] = bench.synthesis(model, steps, 1, arguments.seconds, threads)
    runs[f"Griffin-Lim, {ITERATIONS} iterations"] = baseline(arguments.seconds)
    for peer, loaded in found:
        seconds = SLOW if peer.steps else arguments.seconds
        loaded.run(seconds)  # kernels and buffers
        runs[peer.name + ONE_STEP * bool(peer.steps)] = partial(loaded.run, seconds)
    rates = timing.in_turn(runs, arguments.rounds, arguments.cpu_time)
    for peer, _ in found:
        if peer.steps:
            single = rates.pop(peer.name + ONE_STEP)
            rates |= {f"{peer.name}, {steps} steps *": [rate / steps for rate in single] for steps in peer.steps}
    return rates


def baseline(seconds: float) -> timing.Run:
    """A run of the core's Griffin-Lim on the default front end."""
    config = PRESETS["asr16"]
    mel = torch.randn(config.n_mels, round(seconds * config.sample_rate / config.hop_length)) - 4

    def run() -> float:
        return griffin_lim(mel, config, ITERATIONS).numel() / config.sample_rate

    run()
    return run


def sizes(model: SpecGrad, found: list[tuple[peers.Peer, peers.Loaded]]) -> dict[str, int]:
    """First word of a row -> parameters."""
    return {"SpecGrad": timing.parameters(model)} | {peer.name: loaded.parameters for peer, loaded in found}


def generation_table(rates: dict[int, dict[str, list[float]]], parameters: dict[str, int]) -> str:
    """Markdown: a row per system, its RTF on each number of threads, and how many times longer it takes than ours."""
    counts = list(rates)
    heads = [f"RTF, {count} thread{'s' if count > 1 else ''}" for count in counts]
    heads += [f"x {REFERENCE}, {count} thread{'s' if count > 1 else ''}" for count in counts]
    lines = [f"| system | parameters | {' | '.join(heads)} |", "|---|--:|" + "--:|" * len(heads)]
    for name in rates[counts[0]]:
        size = next((f"{n / 1e6:.2f} M" for key, n in parameters.items() if name.startswith(key)), "")
        cells = [timing.rtf(rates[count][name]) for count in counts]
        cells += [timing.ratio(rates[count][REFERENCE], rates[count][name]) for count in counts]
        lines.append(f"| {name} | {size} | {' | '.join(cells)} |")
    if any(name.endswith("*") for name in rates[counts[0]]):
        lines += ["", "\\* one run of the network, times the steps; what its sampler adds is left out."]
    return "\n".join(lines)


def training(settings: Settings, threads: int, arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of audio trained on per second: ours, and the seed's network at its own front end, on as much audio."""
    seed = SpecGradConfig(
        mel=PRESETS["specgrad24"],
        process="diffusion",
        network="diffwave",
        shaping=ShapingConfig(),
        diffwave=DiffWaveConfig(strides=(10, 30)),
    )
    runs = {}
    for name, config in (("SpecGrad", settings.model), ("vvvm23/specgrad's network", seed)):
        model = SpecGrad(config)
        crop = dataclasses.replace(settings.crop, frames=round(1.5 * model.sample_rate / config.mel.hop_length))
        train = dataclasses.replace(settings.train, batch_size=2)
        data = dataclasses.replace(settings.data, sample_rate=model.sample_rate, hop_length=config.mel.hop_length)
        own = dataclasses.replace(settings, model=config, data=data, crop=crop, train=train)
        runs[f"{name}, {timing.parameters(model) / 1e6:.2f} M"] = bench.training(model, own, threads)
    return timing.in_turn(runs, max(1, arguments.rounds // 2), arguments.cpu_time)


def training_table(rates: dict[int, dict[str, list[float]]]) -> str:
    """Markdown: steps per second of both, and the ratio."""
    lines = ["| network | threads | steps/s, median (range) | seconds of audio/s |", "|---|--:|--:|--:|"]
    for count, rows in rates.items():
        for name, values in rows.items():
            steps = [value / 3 for value in values]
            span = f"{statistics.median(steps):.3g} ({min(steps):.3g} - {max(steps):.3g})"
            lines.append(f"| {name} | {count} | {span} | {statistics.median(values):.3g} |")
    for count, rows in rates.items():
        ours, theirs = rows.values()
        lines.append(f"\nOn {count} thread(s) ours trains on {timing.ratio(ours, theirs)} times as much audio.")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
