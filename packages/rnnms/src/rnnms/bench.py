"""rnnms-bench: how fast this machine generates speech with RNN_MS, and with --train how fast it trains it.

Every backend is run several times, in turn, so that whatever else the machine does meets all alike; the table gives
the median and the range. Generation is timed whole: latents, packing of the weights, samples, mu-law decoding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from vocoder_core import cli, timing

if TYPE_CHECKING:
    from .model import RNNMS, Backend
    from .settings import Settings

FOLDED_SECONDS = 8.0  # of an utterance in folds, at least


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="rnnms-bench", description="Speed of generation (and of training).")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; a single stream uses one (default 1)")
    parser.add_argument(
        "--backends", nargs="+", choices=["torch", "graph", "numba", "int8", "int16"],
        help="default: numba, torch; on CUDA graph, torch",
    )  # fmt: skip
    timing.add_arguments(parser, 2.0, "computing")
    return cli.run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> None:
    import torch

    from .model import RNNMS
    from .settings import Settings

    timing.require_positive(arguments, "seconds", "rounds", "threads", "batch")
    device = cli.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    settings = cli.settings(Settings, arguments, "rnnms")
    model = RNNMS.from_pretrained(arguments.checkpoint) if arguments.checkpoint else RNNMS(settings.model)
    model = model.to(device).eval()
    name = arguments.checkpoint or arguments.config
    print(f"{name}: {timing.parameters(model):,} parameters, {timing.machine(device)}\n")
    backends = arguments.backends or (["numba", "torch"] if device.type == "cpu" else ["graph", "torch"])
    runs = {f"{name}, batch {arguments.batch}": generation(model, name, arguments.batch, arguments.seconds)
            for name in backends}  # fmt: skip
    kinds = dict(zip(runs, ((backend, arguments.batch) for backend in backends)))
    print(speed_table(model, kinds, timing.in_turn(runs, arguments.rounds, arguments.cpu_time)))
    if arguments.train:
        steps = {"fp32": training(model, settings, amp=False)}
        if device.type == "cuda":
            steps["bf16 autocast"] = training(model, settings, amp=True)
        size = settings.train.batch_size, settings.crop.frames * model.config.mel.hop_length
        print(f"\nTraining step (forward, backward, AdamW), {size[0]} x {size[1]} samples\n")
        print(timing.steps_table(timing.in_turn(steps, arguments.rounds, arguments.cpu_time), size[0] * size[1]))


def speed_table(model: RNNMS, kinds: Mapping[str, tuple[Backend, int]], rates: Mapping[str, Sequence[float]]) -> str:
    """Markdown; kinds: backend and utterances of the rows that have them, for what samples of a kernel cost."""
    from vocoder_core.recurrent import arithmetic

    from .packed import Packed

    costs = {}
    for name, (backend, batch) in kinds.items():
        if backend in ("numba", "int8", "int16"):
            packed = Packed(model.decoder, batch, backend if backend == "int8" or backend == "int16" else None)
            costs[name] = packed.cost(), batch
    beside = arithmetic.columns(rates, costs) if costs else None
    return timing.samples_table(rates, model.sample_rate, arithmetic.HEAD if costs else (), beside)


def generation(model: RNNMS, backend: Backend, batch: int, seconds: float, folds: int = 1) -> timing.Run:
    """A run that synthesises for about that long. Compiled and calibrated here, on a few frames.

    folds: of each utterance, which then is 8 s long or more, so that what folds say twice is little.
    """
    import torch

    config, device = model.config.mel, next(model.parameters()).device

    def synthesize(frames: int) -> int:
        mel = -torch.rand(batch, config.n_mels, frames, generator=torch.Generator().manual_seed(0)).to(device)
        return model.synthesize(mel, seed=0, backend=backend, folds=folds).cpu().numel()

    synthesize(1)
    begin = time.perf_counter()
    synthesize(4)
    frames = max(1, round(4 * seconds / (time.perf_counter() - begin)))
    if folds > 1:
        frames = max(frames, round(FOLDED_SECONDS * model.sample_rate / config.hop_length))
    return lambda: synthesize(frames)


def training(model: RNNMS, settings: Settings, amp: bool) -> timing.Run:
    """A run of one step as `rnnms-train` does it, on random speech; one is done here, so that buffers are there."""
    import torch

    from .batches import Batch
    from .train import Loss

    device, hop = next(model.parameters()).device, model.config.mel.hop_length
    size, frames = settings.train.batch_size, settings.crop.frames
    codes = torch.randint(0, 2**model.config.bits, (size, frames * hop + 1), device=device)
    mel = -torch.rand(size, model.config.mel.n_mels, frames + 2 * settings.crop.context, device=device)
    batch = Batch(mel, codes[:, :-1], codes[:, 1:], fresh=True)
    optimizer = torch.optim.AdamW(model.parameters(), settings.train.lr)
    loss = Loss()

    def step() -> int:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            value = loss(model, batch)["loss"]
        value.backward()
        optimizer.step()
        value.item()  # on CUDA: waits for the step to end
        return batch.target.numel()

    step()
    return step


if __name__ == "__main__":
    raise SystemExit(main())
