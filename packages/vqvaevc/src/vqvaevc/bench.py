"""vqvaevc-bench: how fast this machine speaks with vqvaevc, and with --train how fast it trains it.

Every backend is run several times, in turn, so that whatever else the machine does meets all alike; the table gives
the median and the range. Generation is timed whole, from codes (or from a mel and its pitch) on: what the decoder is
told of them, the warm-up on silence, packing of the weights, samples. The random weights of a config are such as
shipped ones are: 16-bit floats hold them, and the CPU kernel reads them as such (vocoder_core.recurrent.streams.pack).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vocoder_core import cli, timing

if TYPE_CHECKING:
    from vocoder_core.recurrent.arithmetic import Cost
    from vocoder_core.recurrent.integers import Tier

    from .generate import Backend
    from .model import VQVAEVC, VQVAEVCConfig
    from .settings import Settings

SPEAKERS = 109  # VCTK's, of a config that is to take its speakers from a corpus


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="vqvaevc-bench", description="Speed of generation (and of training).")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; a single stream uses one (default 1)")
    parser.add_argument(
        "--backends", nargs="+", choices=["torch", "graph", "numba", "int8", "int16"],
        help="default: numba, torch; on CUDA graph, torch",
    )  # fmt: skip
    timing.add_arguments(parser, 2.0, "computing")
    return cli.run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> None:
    import torch

    from .model import VQVAEVC
    from .settings import Settings

    timing.require_positive(arguments, "seconds", "rounds", "threads", "batch")
    device = cli.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    settings = cli.settings(Settings, arguments, "vqvaevc")
    given = arguments.checkpoint
    model = VQVAEVC.from_pretrained(given) if given else of_config(settings.model)
    model = model.to(device).eval()
    name = given or arguments.config
    print(f"{name}: {timing.parameters(model):,} parameters, {timing.machine(device)}\n")
    backends = arguments.backends or (["numba", "torch"] if device.type == "cpu" else ["graph", "torch"])
    runs = {f"{name}, batch {arguments.batch}": generation(model, name, arguments.batch, arguments.seconds)
            for name in backends}  # fmt: skip
    kinds = dict(zip(runs, ((backend, arguments.batch) for backend in backends)))
    print(speed_table(model, kinds, timing.in_turn(runs, arguments.rounds, arguments.cpu_time)))
    if arguments.train:
        steps = {name: training(model, settings, name == "bf16 autocast") for name in ("fp32", "bf16 autocast")}
        size = settings.train.batch_size, settings.crop.samples
        print(f"\nTraining step (forward, backward, AdamW), {size[0]} x {size[1]} samples\n")
        print(timing.steps_table(timing.in_turn(steps, arguments.rounds, arguments.cpu_time), size[0] * size[1]))


def speed_table(model: VQVAEVC, kinds: Mapping[str, tuple[str, int]], rates: Mapping[str, Sequence[float]]) -> str:
    """Markdown; kinds: backend and utterances of the rows that have them, for what samples of a kernel cost."""
    from vocoder_core.recurrent import arithmetic

    tiers: dict[str, Tier | None] = {"numba": None, "int8": "int8", "int16": "int16"}
    costs = {name: (cost(model, tiers[kind]), batch) for name, (kind, batch) in kinds.items() if kind in tiers}
    beside = arithmetic.columns(rates, costs) if costs else None
    return timing.samples_table(rates, model.sample_rate, arithmetic.HEAD if costs else (), beside)


def cost(model: VQVAEVC, tier: Tier | None) -> Cost:
    """Of a sample. In floats of the logits' weights the rows whose feature is not 0: about half."""
    from vocoder_core.recurrent import arithmetic
    from vocoder_core.recurrent.arithmetic import Met

    from .packed import net_of

    net, lab = net_of(model, tier), model.config.labels
    met = [Met(net.recurrent), *map(Met, net.linear), *(Met(weight, 1 if tier else 0.5) for weight in net.logits)]
    for ear, samples in zip(net.ears, (4, 16, 64)):
        met += [Met(ear.first, 1 / samples, 2), Met(ear.second, 1 / samples)]
    for upper, samples in zip(net.uppers, (64, 16, 4)):
        met += [Met(weight, 1 / samples) for weight in (upper.own, upper.recurrent, upper.spread)]
        met.append(Met(upper.on, 1 / samples, 4))
    return arithmetic.cost(met, [net.told, net.tables[: 0 if lab.kind == "dual" else lab.codes_told]])


def peopled(config: VQVAEVCConfig) -> VQVAEVCConfig:
    """The config with as many speakers as VCTK has, where it wants some and names none."""
    if config.speakers or not config.hears_speakers:
        return config
    return replace(config, speakers=tuple(f"speaker {number}" for number in range(SPEAKERS)))


def of_config(config: VQVAEVCConfig) -> VQVAEVC:
    """A model of random weights that 16-bit floats hold without loss."""
    from .model import VQVAEVC

    model = VQVAEVC(peopled(config))
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    return model


def generation(model: VQVAEVC, backend: Backend, batch: int, seconds: float) -> timing.Run:
    """A run that speaks for about that long; it returns its samples. Compiled and calibrated here, on little."""
    import torch

    from . import conversion
    from .generate import Sampling

    hop, device = model.config.mel.hop_length, next(model.parameters()).device
    shortest = -(-1024 // hop)  # frames
    how = Sampling(seed=0, backend=backend)

    def prepared(frames: int) -> timing.Run:
        noise = 0.1 * torch.randn(batch, frames * hop, generator=torch.Generator().manual_seed(0)).to(device)
        if model.quantizer is None:
            return lambda: conversion.copy(model, noise, None, how).cpu().numel()
        codes = conversion.encode(model, noise)  # before the clock runs
        who = [model.config.speakers[0]] * batch if model.config.speakers else None
        return lambda: conversion.decode(model, codes, who, how).cpu().numel()

    calibration = prepared(shortest)
    calibration()
    begin = time.perf_counter()
    calibration()
    return prepared(max(shortest, round(shortest * seconds / (time.perf_counter() - begin))))


def training(model: VQVAEVC, settings: Settings, amp: bool) -> timing.Run:
    """A run of one step as `vqvaevc-train` does it, on noise; it returns its samples. One is done here."""
    import torch

    from .batches import GRID, Batch
    from .train import Loss, after_step

    device, size, crop = next(model.parameters()).device, settings.train.batch_size, settings.crop
    wav = 0.1 * torch.randn(size, crop.frames * model.config.mel.hop_length, device=device)
    speaker = torch.zeros(size, dtype=torch.int64, device=device) if model.config.speakers else None
    batch = Batch(wav, wav, -(-model.reach[0] // GRID) * GRID, crop.samples, 0, speaker)
    optimizer = torch.optim.AdamW(model.parameters(), settings.train.lr)
    loss = Loss()

    def step() -> int:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            value = loss(model, batch)["loss"]
        value.backward()
        optimizer.step()
        after_step(model, 0)
        value.item()  # on CUDA: waits for the step to end
        model.eval()
        return size * crop.samples

    step()
    return step


if __name__ == "__main__":
    raise SystemExit(main())
