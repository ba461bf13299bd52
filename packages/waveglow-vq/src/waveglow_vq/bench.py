"""waveglow-vq-bench: how fast this machine makes speech with a flow, and with --train how fast it trains it.

Every precision and number of threads is run several times, in turn, so that whatever else the machine does meets all
alike; the table gives the median and the range. Synthesis is timed whole: noise, condition, flow, whitening; of a model
with codes from the codes on. bf16 is what the couplings compute in; what touches samples stays fp32.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING

from vocoder_core import cli, timing

if TYPE_CHECKING:
    from torch import Tensor

    from .model import WaveGlowVQ
    from .settings import Settings

Row = tuple[str, int]  # precision, threads


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="waveglow-vq-bench", description="Speed of synthesis (and of training).")
    parser.add_argument("--precision", nargs="+", choices=["fp32", "bf16"], default=["fp32"], help="default fp32")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default 1 2)")
    timing.add_arguments(parser, 5.0, "audio")
    return cli.run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> None:
    from .model import WaveGlowVQ
    from .settings import Settings

    timing.require_positive(arguments, "threads", "seconds", "rounds", "batch")
    device = cli.device(arguments.device)
    settings = cli.settings(Settings, arguments, "waveglow_vq")
    model = WaveGlowVQ.from_pretrained(arguments.checkpoint) if arguments.checkpoint else WaveGlowVQ(settings.model)
    model = model.to(device).eval()
    name = arguments.checkpoint or arguments.config
    threads = list(dict.fromkeys(arguments.threads)) if device.type == "cpu" else arguments.threads[:1]
    rows = [(precision, count) for count in threads for precision in dict.fromkeys(arguments.precision)]
    print(f"{name}: {timing.parameters(model):,} parameters, {timing.machine(device).rsplit(',', 1)[0]}\n")
    runs = {row: synthesis(model, arguments.batch, arguments.seconds, row) for row in rows}
    print(synthesis_table(timing.in_turn(runs, arguments.rounds, arguments.cpu_time)))
    if arguments.train:
        trained = {f"{precision}, {count}": training(model, settings, (precision, count)) for precision, count in rows}
        size = settings.train.batch_size, settings.crop.frames * model.config.mel.hop_length
        print(f"\nTraining step (forward, backward, AdamW), {size[0]} x {size[1]} samples\n")
        rates = timing.in_turn(trained, arguments.rounds, arguments.cpu_time)
        print(timing.training_table(rates, size[0] * size[1] / model.sample_rate, "precision, threads"))


def synthesis(model: WaveGlowVQ, batch: int, seconds: float, row: Row = ("fp32", 1)) -> timing.Run:
    """A run that makes `batch` times about that many seconds of audio, and returns how many. One is done here."""
    import torch

    frames = max(1, round(seconds * model.sample_rate / model.config.mel.hop_length))
    mel, who, codes = _of_noise(model, batch, frames), _nobody(model, batch), None
    if model.condition.quantizer is not None:
        codes = model.encode(0.1 * torch.randn(batch, frames * model.config.mel.hop_length, device=mel.device))

    def run() -> float:
        torch.set_num_threads(row[1])
        with torch.autocast(mel.device.type, torch.bfloat16, enabled=row[0] == "bf16"):
            wav = model.synthesize(mel, seed=0) if codes is None else model.decode(codes, who, seed=0)
        return wav.cpu().numel() / model.sample_rate

    run()
    return run


def training(model: WaveGlowVQ, settings: Settings, row: Row = ("fp32", 1)) -> timing.Run:
    """A run of one step as `waveglow-vq-train` does it, on noise; returns its seconds of audio. One is done here."""
    import torch

    from .batches import Batch
    from .train import Loss

    size, frames = settings.train.batch_size, settings.crop.frames
    mel = _of_noise(model, size, frames)
    wav = 0.1 * torch.randn(size, frames * model.config.mel.hop_length, device=mel.device)
    batch = Batch(wav, mel, torch.rand_like(wav) - 0.5, 0, _nobody(model, size))
    optimizer = torch.optim.AdamW(model.parameters(), settings.train.lr)
    loss = Loss()

    def run() -> float:
        torch.set_num_threads(row[1])
        model.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(mel.device.type, torch.bfloat16, enabled=row[0] == "bf16"):
            value = loss(model, batch)["loss"]
        value.backward()
        optimizer.step()
        value.item()  # on CUDA: waits for the step to end
        model.eval()
        return wav.numel() / model.sample_rate

    run()
    return run


def _of_noise(model: WaveGlowVQ, batch: int, frames: int) -> Tensor:
    return timing.mel_of_noise(model.config.mel, batch, frames).to(model.mel_mean.device)


def _nobody(model: WaveGlowVQ, batch: int) -> Tensor | None:
    """Speaker vectors (B, S) of nought, where the model takes some."""
    size = model.config.speaker_size
    return model.mel_mean.new_zeros(batch, size) if size else None


def synthesis_table(rates: dict[Row, list[float]]) -> str:
    """Markdown; rates: (precision, threads) -> seconds of audio per second."""
    lines = ["| precision | threads | RTF, median (range) | x real time |", "|---|---:|---:|---:|"]
    for (precision, threads), values in rates.items():
        lines.append(f"| {precision} | {threads} | {timing.rtf(values)} | {statistics.median(values):.3g} |")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
