"""samplernn-pase-bench: how fast this machine speaks with samplernn-pase, and with --train how fast it trains it.

Every backend is run several times, in turn, so that whatever else the machine does meets all alike; the table gives
the median and the range. Generation is timed whole, from content (and its pitch) on: conditions, predictors, samples.
Folding and packing, once for a model, are not in it: the second line says how long they take. The random weights of a
config are such as shipped ones are: 16-bit floats hold them, and the CPU kernel reads as such those that folding leaves
as they are.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vocoder_core import cli, timing

if TYPE_CHECKING:
    import torch

    from vocoder_core.recurrent.arithmetic import Cost
    from vocoder_core.recurrent.integers import Tier
    from vocoder_core.recurrent.streams import Backend

    from .model import SampleRNNPASE, SampleRNNPASEConfig
    from .settings import Settings

SPEAKERS = 126  # VCTK's and CMU Arctic's, of a config that is to take its speakers from a corpus
SHORTEST = 4  # frames


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="samplernn-pase-bench", description="Speed of generation (and of training).")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; a single stream uses one (default 1)")
    parser.add_argument(
        "--backends", nargs="+", choices=["torch", "graph", "numba", "int8", "int16"],
        help="default: numba, torch; on CUDA graph, torch",
    )  # fmt: skip
    timing.add_arguments(parser, 2.0, "computing")
    return cli.run(parser, _bench, argv)


def _bench(arguments: argparse.Namespace) -> None:
    import torch

    from .model import SampleRNNPASE
    from .settings import Settings

    timing.require_positive(arguments, "seconds", "rounds", "threads", "batch")
    device = cli.device(arguments.device)
    torch.set_num_threads(arguments.threads)
    settings = cli.settings(Settings, arguments, "samplernn_pase")
    given = arguments.checkpoint
    model = SampleRNNPASE.from_pretrained(given) if given else of_config(settings.model)
    model = model.to(device).eval()
    name = given or arguments.config
    print(f"{name}: {timing.parameters(model):,} parameters, {timing.machine(device)}")
    print(f"folded in {folding(model):.2g} s\n")
    backends = arguments.backends or (["numba", "torch"] if device.type == "cpu" else ["graph", "torch"])
    runs = {f"{name}, batch {arguments.batch}": generation(model, name, arguments.batch, arguments.seconds)
            for name in backends}  # fmt: skip
    kinds = dict(zip(runs, ((backend, arguments.batch) for backend in backends)))
    print(speed_table(model, kinds, timing.in_turn(runs, arguments.rounds, arguments.cpu_time)))
    if arguments.train:
        steps = {name: training(model, settings, name == "bf16 autocast") for name in ("fp32", "bf16 autocast")}
        size = settings.train.batch_size, settings.crop.frames * model.config.mel.hop_length
        print(f"\nTraining step (forward, backward, AdamW), {size[0]} x {size[1]} samples\n")
        print(timing.steps_table(timing.in_turn(steps, arguments.rounds, arguments.cpu_time), size[0] * size[1]))


def speed_table(
    model: SampleRNNPASE, kinds: Mapping[str, tuple[str, int]], rates: Mapping[str, Sequence[float]]
) -> str:
    """Markdown; kinds: backend and utterances of the rows that have them, for what samples of a kernel cost."""
    from vocoder_core.recurrent import arithmetic

    tiers: dict[str, Tier | None] = {"numba": None, "int8": "int8", "int16": "int16"}
    costs = {name: (cost(model, tiers[kind]), batch) for name, (kind, batch) in kinds.items() if kind in tiers}
    beside = arithmetic.columns(rates, costs) if costs else None
    return timing.samples_table(rates, model.sample_rate, arithmetic.HEAD if costs else (), beside)


def cost(model: SampleRNNPASE, tier: Tier | None) -> Cost:
    """Of a sample, conds left out. In floats of what a ReLU is before the rows that are not 0: about half."""
    from vocoder_core.recurrent import arithmetic
    from vocoder_core.recurrent.arithmetic import Met

    from .packed import net_of

    net = net_of(model, tier)
    (top, mid, mouth), half = net[:3], 1 if tier else 0.5
    frames = [Met(weight, 1 / samples) for of, samples in ((top, net.hop), (mid, net.taps))
              for weight in (of.history, of.recurrent, of.spread)]  # fmt: skip
    looked_up = [mouth.tables[: net.taps]] if len(mouth.tables) else []
    return arithmetic.cost([*frames, Met(mouth.hidden, half), Met(mouth.logits, half)], looked_up)


def peopled(config: SampleRNNPASEConfig) -> SampleRNNPASEConfig:
    """The config with as many speakers as the paper's corpora have, where it wants some and names none."""
    if config.speakers or not config.speaker.size:
        return config
    return replace(config, speakers=tuple(f"speaker {number}" for number in range(SPEAKERS)))


def of_config(config: SampleRNNPASEConfig) -> SampleRNNPASE:
    """A model of random weights that 16-bit floats hold without loss; of vectors that others compute, too."""
    from .model import SampleRNNPASE
    from .speaker import Given

    model = SampleRNNPASE(peopled(config))
    for parameter in model.parameters():
        parameter.data = parameter.data.half().float()
    if isinstance(model.voices, Given):
        model.voices.vectors.normal_()
    return model


def folding(model: SampleRNNPASE) -> float:
    """Seconds that folding takes."""
    from .fold import folded

    begin = time.perf_counter()
    folded(model)
    return time.perf_counter() - begin


def content(model: SampleRNNPASE, batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Raw content (B, F, C) of noise, and pitch (B, F, 2) where the model wants it, on its device."""
    import torch

    config, device = model.config, next(model.parameters()).device
    pitch = torch.stack([torch.full((batch, frames), 100.0), torch.full((batch, frames), 0.5)], dim=2).to(device)
    if config.content.kind == "mel80":
        raw = timing.mel_of_noise(config.mel, batch, frames).transpose(1, 2)
    else:
        raw = torch.zeros(batch, frames, config.content.width)
    return raw.to(device), pitch if config.labels.pitch else None


def generation(model: SampleRNNPASE, backend: Backend, batch: int, seconds: float) -> timing.Run:
    """A run that speaks for about that long; it returns its samples. Folded and calibrated here, on little."""
    from .generate import generate
    from .speaking import Sampling

    how = Sampling(seed=0, backend=backend)
    who = [model.config.speakers[0]] * batch if model.config.speakers and model.voices is not None else None

    def prepared(frames: int) -> timing.Run:
        raw, pitch = content(model, batch, frames)
        return lambda: generate(model, raw, who, pitch, None, how).cpu().numel()

    calibration = prepared(SHORTEST)
    calibration()
    begin = time.perf_counter()
    calibration()
    return prepared(max(SHORTEST, round(SHORTEST * seconds / (time.perf_counter() - begin))))


def training(model: SampleRNNPASE, settings: Settings, amp: bool) -> timing.Run:
    """A run of one step as `samplernn-pase-train` does it, on noise; it returns its samples. One is done here."""
    import torch

    from .batches import Batch
    from .train import Loss

    device, size, frames = next(model.parameters()).device, settings.train.batch_size, settings.crop.frames
    (before, after), hop = model.context, model.config.mel.hop_length
    raw, pitch = content(model, size, before + frames + after)
    wav = 0.1 * torch.randn(size, (before + frames) * hop, device=device)
    active = torch.ones(size, frames * hop, dtype=torch.bool, device=device)
    speaker = torch.zeros(size, dtype=torch.int64, device=device) if model.voices is not None else None
    track = None if pitch is None else pitch[:, : before + frames]
    batch = Batch(wav, raw, torch.zeros(size, dtype=torch.int64, device=device), active, track, speaker)
    optimizer = torch.optim.AdamW(model.parameters(), settings.train.lr)
    loss = Loss()

    def step() -> int:
        model.train()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=amp):
            value = loss(model, batch)["loss"]
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value.item()  # on CUDA: waits for the step to end
        model.eval()
        return size * frames * hop

    step()
    return step


if __name__ == "__main__":
    raise SystemExit(main())
