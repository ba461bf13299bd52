"""Do training in bf16 and in fp32 track each other? The same flow, the same batches, once each; prints both losses.

    python tools/track_bf16.py DATA OUT [--steps 2000] [--config tiny] [--set model.flow.channels=64 ...]

The loss is in nats per sample of real speech, as in a run's metrics.jsonl, here a mean over each tenth of the steps.
The last line says the largest gap after the first half; couplings alone compute in bf16, so it should stay below 0.05.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from waveglow_vq import train

# beyond tiny: layers enough for rounding to add up, and no whitening, as none of it is in bf16; minutes on a quiet core
SMALL = ("model.flow.flows=6", "model.flow.layers=4", "model.flow.channels=32", "model.whiten.order=0",
         "train.batch_size=2", "crop.frames=8")  # fmt: skip
PRECISIONS = {"fp32": "off", "bf16": "bf16"}
BOUND = 0.05  # nats per sample
PARTS = 10


def main(argv: Sequence[str] | None = None) -> int:
    """Train twice, compare; 1 where the gap is too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus prepared by waveglow-vq-preprocess")
    parser.add_argument("out", type=Path, help="folder for the two runs; run again, they go on")
    parser.add_argument("--steps", type=int, default=2000, help="default 2000")
    parser.add_argument("--config", default="tiny", help="default: tiny, with more flows, layers and channels")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings of both runs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    arguments = parser.parse_args(argv)
    losses, speeds = {}, {}
    for name, amp in PRECISIONS.items():
        run = arguments.out / name
        every = max(1, arguments.steps // PARTS)
        settings = [
            *(SMALL if arguments.config == "tiny" else ()),
            *arguments.set,
            f"train.steps={arguments.steps}",
            f"train.log_every={every}",
            f"train.valid_every={arguments.steps}",
            "check.synthesize=0",
            f"train.amp={amp}",
        ]
        told = [word for setting in settings for word in ("--set", setting)]
        command = [str(arguments.data), str(run), "--config", arguments.config, "--device", arguments.device, *told]
        if train.main(command):
            return 2
        losses[name], speeds[name] = journal(run)
    print(table(losses, speeds))
    gap = largest_gap(losses)
    print(f"\nLargest gap after the first half: {gap:.4f} nats per sample; {BOUND} is the bound")
    return int(not gap < BOUND)


def journal(run: Path) -> tuple[dict[int, float], float]:
    """Of a run: step -> mean loss since the row before, and steps per second, the best of all rows."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return {row["step"]: row["loss"] for row in rows}, max(row["steps_per_second"] for row in rows)


def table(losses: dict[str, dict[int, float]], speeds: dict[str, float]) -> str:
    """Markdown: a line per part of the runs, and their speeds."""
    lines = ["| up to step | fp32 | bf16 | gap |", "|--:|--:|--:|--:|"]
    for step, exact in losses["fp32"].items():
        half = losses["bf16"][step]
        lines.append(f"| {step} | {exact:.4f} | {half:.4f} | {half - exact:+.4f} |")
    return "\n".join([*lines, f"| steps/s | {speeds['fp32']:.3g} | {speeds['bf16']:.3g} | |"])


def largest_gap(losses: dict[str, dict[int, float]]) -> float:
    """The largest distance of the two curves over the second half of the steps; endless where one is not finite."""
    steps = list(losses["fp32"])
    gaps = [abs(losses["bf16"][step] - losses["fp32"][step]) for step in steps if step > steps[-1] / 2]
    return max(gaps) if all(gap < float("inf") for gap in gaps) else float("inf")


if __name__ == "__main__":
    sys.exit(main())
