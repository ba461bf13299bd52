"""Speed on one CUDA GPU: samples a second of the three vocoders that say one sample after another, at full size.

Each at batch 1, 16 and 128: the plain loop of PyTorch, and the same block as a CUDA graph with weights in fp32, bf16
and fp16; beside them the originals' own loops on the same GPU, where they are checked out below --peers. The floor is
what reading the weights once a sample would take at the speed at which the GPU copies its memory: weights that its
cache holds can be read faster. Rows are printed as they are measured; all of them take a few minutes.

Weights are random: speed does not depend on them. Without a CUDA GPU it says so and ends with status 2.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from cuda_voices import Step, Voice, of_rnnms, of_samplernn_pase, of_vqvaevc
from vocoder_core import timing
from vocoder_core.recurrent.draws import stream_keys
from vocoder_core.recurrent.engine import Cell, Loop, Stream, TorchLoop, one_block
from vocoder_core.recurrent.narrow import PRODUCTS
from vocoder_core.recurrent.replay import WARM, Replayed
from vocoder_core.recurrent.tape import Tape

ROOT = Path(__file__).resolve().parent.parent
BATCHES = (1, 16, 128)
ROUNDS = 3
COPIED = 2**30  # bytes
LOOPS: dict[str, Callable[[Cell], Loop]] = {
    "PyTorch, fp32": lambda cell: TorchLoop(cell, 1.0),
    "graph, fp32": lambda cell: Replayed(cell, 1.0, "fp32"),
    "graph, bf16": lambda cell: Replayed(cell, 1.0, "bf16"),
    "graph, fp16": lambda cell: Replayed(cell, 1.0, "fp16"),
}


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--peers", type=Path, default=ROOT / ".bench", help="where originals are (default .bench)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each run, three a row (default %(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, metavar="B", help="default: 1 16 128")
    arguments = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print("bench_cuda.py: PyTorch sees no CUDA GPU here; on a CPU use bench_rnnms.py and its like", file=sys.stderr)
        return 2
    device = torch.device("cuda")
    torch.manual_seed(0)
    bandwidth = copying(device)
    print(f"{timing.machine(device)}; copies memory at {bandwidth / 1e9:,.0f} GB/s, read and written\n", flush=True)
    with torch.inference_mode():
        for make in (of_rnnms, of_vqvaevc, of_samplernn_pase):
            voice = make(device, arguments.peers)
            table(voice, arguments.batches, arguments.seconds, bandwidth)
    return 0


def table(voice: Voice, batches: list[int], seconds: float, bandwidth: float) -> None:
    """A vocoder's rows, printed as they are measured."""
    multiplied, calls = block_of(voice)
    print(f"{voice.name}: {multiplied:,.0f} weights and {calls:.0f} kernels a sample; the graph in fp32 says ", end="")
    print("what PyTorch says\n" if alike(voice) else "SOMETHING ELSE than PyTorch\n")
    print(
        "| batch | loop | samples/s, median (range) | x real time | of the floor |", "|--:|---|--:|--:|--:|", sep="\n"
    )
    for batch in batches:
        for name, loop in LOOPS.items():
            floor = batch * bandwidth / (multiplied * (4 if "fp32" in name else 2))
            try:
                rates = measured(speaking(voice, batch, loop), seconds)
            except RuntimeError as error:  # such as too little memory: the other rows are worth having
                print(f"| {batch} | {name} | {str(error).splitlines()[0]} | | |", flush=True)
                continue
            row(f"| {batch} | {name} |", rates, voice.rate, f"{statistics.median(rates) / floor:.0%}")
    try:
        row(f"| 1 | {voice.theirs} |", measured(voice.original(), seconds), voice.rate, "")
    except Exception as error:  # other people's code
        print(f"| 1 | {voice.theirs} | left out ({type(error).__name__}: {error}) | | |")
    print(flush=True)


def row(head: str, rates: list[float], sample_rate: int, floor: str) -> None:
    """A line of the table."""
    speed = statistics.median(rates) / sample_rate
    print(f"{head} {timing.spread(rates)} | {speed:.3g} | {floor} |", flush=True)


def speaking(voice: Voice, batch: int, loop: Callable[[Cell], Loop]) -> Step:
    """Blocks of so many rows by a loop that is warm: a graph is captured with the third block."""
    stream = Stream(loop(voice.cell(batch)), stream_keys(list(range(batch)), batch))

    def step(count: int) -> float:
        return stream(repeated(voice.told, batch, count)).numel()

    step(WARM + 1)
    if isinstance(stream.loop, Replayed) and stream.loop.graph is None:
        raise RuntimeError("no graph was captured, for the reason above")
    return step


def alike(voice: Voice) -> bool:
    """Whether a graph in fp32 says what the plain loop says, of two rows."""
    told, said = repeated(voice.told, 2, WARM + 3), []
    for name in ("PyTorch, fp32", "graph, fp32"):
        stream = Stream(LOOPS[name](voice.cell(2)), stream_keys([0, 1], 2))
        said.append(torch.cat([stream(told.cut(0, WARM)), stream(told.cut(WARM, told.count))], dim=1))
    return torch.equal(*said)


def measured(step: Step, seconds: float) -> list[float]:
    """Samples a second, of runs that each take about that long."""
    count = 1
    while (took := clocked(step, count)[1]) < seconds / 4:
        count = round(count * min(10, max(2, seconds / 3 / took)))
    count = max(1, round(count * seconds / took))
    return [made / took for made, took in (clocked(step, count) for _ in range(ROUNDS))]


def clocked(step: Step, count: int) -> tuple[float, float]:
    """Samples of a run, and its seconds until the device is done."""
    done()
    begin = time.perf_counter()
    made = step(count)
    done()
    return made, time.perf_counter() - begin


def done() -> None:
    """Waits until the GPU is idle."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def copying(device: torch.device) -> float:
    """Bytes a second that a large copy reads and writes."""
    source = torch.zeros(COPIED, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rates = []
    for _ in range(10):
        done()
        begin = time.perf_counter()
        target.copy_(source)
        done()
        rates.append(2 * COPIED / (time.perf_counter() - begin))
    return statistics.median(rates)


def block_of(voice: Voice) -> tuple[float, float]:
    """What one block of one row multiplies by and how many kernels it calls, a sample."""
    cell, told = voice.cell(1), repeated(voice.told, 1, 1)
    device = getattr(told, fields(told)[0].name).device
    uniforms = torch.full((1, cell.block, cell.draws), 0.5, dtype=torch.float64, device=device)
    with Counted() as counted, Tape() as tape:
        one_block(cell, told, uniforms, 1.0)
    return counted.weights / cell.block, len(tape.calls) / cell.block


class Counted(TorchFunctionMode):
    """While entered, counts the numbers of all matrices that something is multiplied by."""

    weights = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What torch calls in place of its functions."""
        if func in PRODUCTS:
            self.weights += PRODUCTS[func](*args)[1].numel()
        elif func in (F.conv1d, F.conv_transpose1d):
            self.weights += args[1].numel()
        return func(*args, **(kwargs or {}))


def repeated(told: Any, rows: int, blocks: int) -> Any:
    """What a block is told, of so many rows and blocks; its last axis but for a vector's is that of blocks."""
    axes = {"vectors": 2}  # vqvaevc's; elsewhere 1
    values = {}
    for field in fields(told):
        value: Tensor = getattr(told, field.name)
        sizes = [1] * value.dim()
        sizes[0], sizes[axes.get(field.name, 1)] = rows, blocks
        values[field.name] = value.repeat(sizes)
    return replace(told, **values)


if __name__ == "__main__":
    sys.exit(main())
