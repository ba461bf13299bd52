"""What "exploded" in the public SampleRNN with PASE, and what does not here: gradient norms and losses, step by step.

    python tools/plot_gradients.py DATA --oracles ORACLES [--steps 300] [--width 128] [--rows 4] [--measured FILE.json]

DATA: recordings prepared by samplernn-pase-preprocess --config world43. ORACLES: the two checkouts of
tools/golden_samplernn_pase.py. All runs hear the same recordings in chunks of 13 frames, and step by Adam:

    paper     the paper's network at 1e-3, nothing clipped, on the public loader; a new epoch whenever one is over
    public    the published code as it is: at 1e-4, gradients clipped element by element at 1, an epoch without an end
    ours      samplernn-pase-train at 1e-3, clipped at a norm of 1
    -1e10     20 steps on the same, where one recording has no pitch and says so as the public features do

Draws packages/samplernn-pase/docs/gradients.png and prints the table behind it.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gradient_curves import Curve, draw, table
from samplernn_code import Sizes, Theirs, as_in_the_paper, lightning, paper, project
from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.content import ContentConfig
from samplernn_pase.features import Features
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.train import main as train
from vocoder_core.corpus import Corpus

ROOT = Path(__file__).resolve().parents[1]
LF0, NOBODY = 41, -1e10
HOSTILE_STEPS = 20


# ---- their data set, of our corpus


class Utterances:
    """Stands for their data set: waves with 80 zeros before them, normalised content, who speaks."""

    def __init__(self, data: Path, hostile: bool = False) -> None:
        self.corpus = Corpus.open(data)
        self.features = Features.open(self.corpus, "world43")
        self.names = sorted({entry.speaker for entry in self.corpus.split("train")})
        self.entries, self.hostile = self.corpus.split("train"), hostile
        self.kwargs, self.frame_size = {"sequence_length": 13, "conds_utterance_type": "acoustic"}, 80

    def __len__(self) -> int:
        return len(self.entries)

    def shuffle_utterances(self) -> None:
        """As theirs."""
        random.shuffle(self.entries)

    def __getitem__(self, place: int) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
        entry = self.entries[place]
        wav, told = np.array(self.corpus.wav(entry)), np.array(self.features.of(entry), np.float64)
        if self.hostile and place == 0:
            told[:, LF0] = NOBODY
        told = self.features.statistics.of(entry.speaker).z(told)
        frames = len(told) // 13 * 13
        info = {"speaker": {"index": self.names.index(entry.speaker)}}
        return np.pad(wav[: frames * 80], (80, 0)), np.nan_to_num(told[:frames]), info


def epochs(its: Theirs, utterances: Utterances, rows: int) -> Iterator[Any]:
    """Batches of their loader; a new epoch where one is over, which theirs does not notice."""
    while True:
        for batch in its.loader.SampleRNNPASELoader(utterances, rows):
            if (batch[3] == 2).all():
                break
            yield batch


# ---- the runs


def run_paper(its: Theirs, utterances: Utterances, arguments: argparse.Namespace, steps: int) -> Curve:
    """Adam at 1e-3, nothing clipped, states carried, frame tiers told codes."""
    torch.manual_seed(0)
    sizes = Sizes(speakers=len(utterances.names), hidden=arguments.width)
    made, codec = paper(its, "acoustic", sizes)
    state, table = as_in_the_paper(lightning(its, "acoustic", sizes).state_dict())
    hidden = {name: made.state_dict()[name] for name in state if "_global_expand" in name or "_inputs_comb" in name}
    made.load_state_dict(state | hidden)  # the published code's init, but where it departed from the paper's
    voices = nn.Embedding.from_pretrained(table["weight"], freeze=False)
    parameters = [*made.train().parameters(), *voices.parameters()]
    optimizer, curve = torch.optim.Adam(parameters, 1e-3), Curve()
    for _, (x, y, told, reset, info) in zip(range(steps), epochs(its, utterances, arguments.rows)):
        optimizer.zero_grad()
        who = torch.tensor([one["speaker"]["index"] if one else 0 for one in info])
        said, here = made(codec.quantize(x), voices(who), told, reset), reset != 2
        loss = F.nll_loss(said[here].flatten(0, 1), codec.quantize(y)[here].flatten())
        loss.backward()
        curve.add(loss, parameters)
        optimizer.step()
    return curve


def run_public(its: Theirs, utterances: Utterances, arguments: argparse.Namespace, steps: int) -> Curve:
    """As it is: its own training step, optimiser and loader, which never ends, and its clipping of elements at 1."""
    torch.manual_seed(0)
    made = lightning(its, "acoustic", Sizes(speakers=len(utterances.names), hidden=arguments.width))
    optimizer, curve = made.configure_optimizers()["optimizer"], Curve()
    for i, batch in zip(range(steps), its.loader.SampleRNNPASELoader(utterances, arguments.rows)):
        optimizer.zero_grad()
        loss = made.training_step(batch, i)
        loss.backward()
        curve.add(loss, list(made.parameters()))
        nn.utils.clip_grad_value_(made.parameters(), 1.0)
        optimizer.step()
    return curve


def run_ours(arguments: argparse.Namespace) -> Curve:
    """The command."""
    told = {
        "model.speaker.provider": "lookup", "model.hidden_size": arguments.width, "train.lr": 1e-3, "train.warmup": 0,
        "train.schedule": "constant", "train.ema": 0, "train.steps": arguments.steps, "train.log_every": 1,
        "train.batch_size": arguments.rows, "check.synthesize": 0, "check.clips": 1, "check.seconds": 1,
    }  # fmt: skip
    settings = [word for name, value in told.items() for word in ("--set", f"{name}={value}")]
    with tempfile.TemporaryDirectory() as folder:
        if train([str(arguments.data), folder, "--config", "world43", *settings, "--device", "cpu"]):
            raise SystemExit(2)
        rows = [json.loads(line) for line in (Path(folder) / "metrics.jsonl").read_text().splitlines()]
    return Curve([row["loss"] for row in rows], [row["grad_norm"] for row in rows])


def run_ours_hostile(its: Theirs, utterances: Utterances, arguments: argparse.Namespace, steps: int) -> Curve:
    """Our network on their loader's batches of normalised content, one of them -1e10 off, clipped at a norm of 1."""
    torch.manual_seed(0)
    config = SampleRNNPASEConfig(
        content=ContentConfig("world43"), speaker=SpeakerConfig(size=15), speakers=tuple(utterances.names),
        hidden_size=arguments.width,
    )  # fmt: skip
    made = SampleRNNPASE(config).train()
    optimizer, curve, state = torch.optim.Adam(made.parameters(), 1e-3), Curve(), None
    for _, (x, y, told, reset, info) in zip(range(steps), epochs(its, utterances, arguments.rows)):
        optimizer.zero_grad()
        who = torch.tensor([one["speaker"]["index"] if one else 0 for one in info])
        wav, content = torch.cat([x[:, :80], y], dim=1), torch.cat([told[:, :1], told], dim=1)
        normal = torch.tensor([[0.0], [1.0]]).expand(len(wav), 2, 43)
        found = made(wav, content, who, state=state, reset=reset, normal=normal)
        loss = made.loss(found, (reset != 2)[:, None].expand_as(y))["loss"]
        loss.backward()
        curve.add(loss, list(made.parameters()))
        nn.utils.clip_grad_norm_(made.parameters(), 1.0)
        optimizer.step()
        state = found.state
    return curve


def measured(arguments: argparse.Namespace) -> dict[str, Curve]:
    """All runs."""
    curves: dict[str, Curve] = {}
    with project(arguments.oracles.resolve()) as its:
        runs: dict[str, Callable[..., Curve]] = {"paper": run_paper, "public": run_public}
        for name, run in runs.items():
            random.seed(0)
            curves[name] = run(its, Utterances(arguments.data), arguments, arguments.steps)
        runs = {"paper, -1e10": run_paper, "ours, -1e10": run_ours_hostile}
        for name, run in runs.items() if arguments.rows > 1 else ():
            random.seed(0)
            curves[name] = run(its, Utterances(arguments.data, hostile=True), arguments, HOSTILE_STEPS)
    return {"ours": run_ours(arguments)} | curves


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a corpus with content world43")
    parser.add_argument("--oracles", type=Path, required=True, help="folder with the checkouts `lightning` and `paper`")
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=128, help="H, of both frame tiers and the sample tier")
    parser.add_argument("--rows", type=int, default=4, help="slots of a batch")
    parser.add_argument("--out", type=Path, default=ROOT / "packages/samplernn-pase/docs/gradients.png")
    parser.add_argument("--measured", type=Path, help="keep the curves there, or draw those that are there")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.measured and arguments.measured.is_file():
        curves = {name: Curve(**one) for name, one in json.loads(arguments.measured.read_text()).items()}
    else:
        curves = measured(arguments)
    if arguments.measured:
        arguments.measured.write_text(json.dumps({name: asdict(curve) for name, curve in curves.items()}))
    print(table(curves))
    draw(curves, arguments.out)
    print(f"{arguments.out}: {arguments.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
