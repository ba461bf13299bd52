"""specgrad-bench: how fast this machine makes speech with SpecGrad, and with --train how fast it trains it.

Every number of steps and of threads is run several times, in turn, so that whatever else the machine does meets all
alike; the table gives the median and the range. Synthesis is timed whole: filter, noise, every step, the wave.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vocoder_core import cli, timing

if TYPE_CHECKING:
    from torch import Tensor

    from .model import SpecGrad
    from .settings import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="specgrad-bench", description="Speed of synthesis (and of training).")
    parser.add_argument("--steps", type=int, nargs="+", default=[1, 2, 4, 6], help="of the sampler (default 1 2 4 6)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default 1 2)")
    timing.add_arguments(parser, 5.0, "audio")
    return cli.run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> None:
    from .model import SpecGrad
    from .settings import Settings

    timing.require_positive(arguments, "steps", "threads", "seconds", "rounds", "batch")
    device = cli.device(arguments.device)
    settings = cli.settings(Settings, arguments, "specgrad")
    model = SpecGrad.from_pretrained(arguments.checkpoint) if arguments.checkpoint else SpecGrad(settings.model)
    model = model.to(device).eval()
    name = arguments.checkpoint or arguments.config
    threads = list(dict.fromkeys(arguments.threads)) if device.type == "cpu" else arguments.threads[:1]
    print(f"{name}: {timing.parameters(model):,} parameters, {timing.machine(device).rsplit(',', 1)[0]}\n")
    runs = {
        (steps, count): synthesis(model, steps, arguments.batch, arguments.seconds, count)
        for count in threads
        for steps in dict.fromkeys(arguments.steps)
    }
    print(synthesis_table(timing.in_turn(runs, arguments.rounds, arguments.cpu_time)))
    if arguments.train:
        trained = {count: training(model, settings, count) for count in threads}
        size = settings.train.batch_size, settings.crop.frames * model.config.mel.hop_length
        print(f"\nTraining step (forward, backward, AdamW), {size[0]} x {size[1]} samples\n")
        rates = timing.in_turn(trained, arguments.rounds, arguments.cpu_time)
        print(timing.training_table(rates, size[0] * size[1] / model.sample_rate))


def synthesis(model: SpecGrad, steps: int, batch: int, seconds: float, threads: int) -> timing.Run:
    """A run that makes `batch` times about that many seconds of audio, and returns how many. One is done here."""
    import torch

    frames = max(1, round(seconds * model.sample_rate / model.config.mel.hop_length))
    mel, who = timing.mel_of_noise(model.config.mel, batch, frames).to(model.mel_mean.device), nobody(model, batch)

    def run() -> float:
        torch.set_num_threads(threads)
        return model.synthesize(mel, steps=steps, seed=0, speaker=who).cpu().numel() / model.sample_rate

    run()
    return run


def training(model: SpecGrad, settings: Settings, threads: int) -> timing.Run:
    """A run of one step as `specgrad-train` does it, on noise; returns its seconds of audio. One is done here."""
    import torch

    from .batches import Batch
    from .train import Loss

    size, frames = settings.train.batch_size, settings.crop.frames
    mel = timing.mel_of_noise(model.config.mel, size, frames).to(model.mel_mean.device)
    wav = 0.1 * torch.randn(size, frames * model.config.mel.hop_length, device=mel.device)
    place = (torch.arange(size, device=mel.device) + 0.5) / size
    batch = Batch(mel, wav, torch.randn_like(wav), place, nobody(model, size))
    optimizer = torch.optim.AdamW(model.parameters(), settings.train.lr)
    loss = Loss()

    def run() -> float:
        torch.set_num_threads(threads)
        optimizer.zero_grad(set_to_none=True)
        value = loss(model, batch)["loss"]
        value.backward()
        optimizer.step()
        value.item()  # on CUDA: waits for the step to end
        return wav.numel() / model.sample_rate

    run()
    return run


def nobody(model: SpecGrad, batch: int) -> Tensor | None:
    """Speaker vectors (B, S) of nought, where the model takes some."""
    size = model.config.speaker_size
    return model.mel_mean.new_zeros(batch, size) if size else None


def synthesis_table(rates: dict[tuple[int, int], list[float]]) -> str:
    """Markdown; rates: (steps, threads) -> seconds of audio per second."""
    lines = ["| steps | threads | RTF, median (range) | x real time |", "|---:|---:|---:|---:|"]
    for (steps, threads), values in rates.items():
        lines.append(f"| {steps} | {threads} | {timing.rtf(values)} | {statistics.median(values):.3g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
