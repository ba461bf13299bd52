"""A vocoder of 150 weights and a program that trains it: what the tests of `fit` run, kill, and run again.

    python tiny_run.py RUN [--ranks N] [--kill-at "3 8 8"] [--kill-in-replace K] [field=value ...]
    python tiny_run.py --serve     the same arguments, line by line

The program imports torch once and forks for every leg, so that a leg is a process of its own and costs milliseconds. It
is SIGKILLed when metrics.jsonl shows the given step (--kill-at, plus a random moment) or at its own K-th os.replace.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch._dynamo  # the first optimiser would import it, a second of every leg
from torch import nn

from vocoder_core.config import from_dict, load
from vocoder_core.train import TrainConfig, fit
from vocoder_core.vocoder import Vocoder


@dataclass(frozen=True)
class TinyConfig:
    width: int = 6
    dropout: float = 0.1
    momentum: float = 0.1  # of the running mean, which is of each process's own batch


class Tiny(Vocoder):
    """GRU, dropout, a running mean (a buffer that the forward pass changes) and a linear output."""

    config_class = TinyConfig

    def __init__(self, config: TinyConfig = TinyConfig()) -> None:
        super().__init__(config)
        self.gru = nn.GRU(3, config.width, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.out = nn.Linear(config.width, 1)
        self.register_buffer("mean", torch.zeros(3))

    def forward(self, x: torch.Tensor, h: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        if self.training:
            self.mean.lerp_(x.detach().mean((0, 1)), self.config.momentum)
        y, h = self.gru(x - self.mean, h)
        return self.out(self.dropout(y)), h


class Batch(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


def batches(step: int, rank: int, size: int, items: int = 4) -> Batch:
    """Items rank, rank + size, ... of the step's size * items items."""
    noise = torch.Generator().manual_seed(step)
    x = torch.randn(items * size, 5, 3, generator=noise)[rank::size]
    return Batch(x, x.cumsum(1).sum(2, keepdim=True))


class NoisyLoss:
    """Squared error with noise out of all three global generators and a hidden state carried from step to step."""

    def __init__(self) -> None:
        self.hidden: torch.Tensor | None = None

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, object]:
        x = batch.x + 0.01 * torch.randn_like(batch.x) + 0.01 * float(np.random.randn()) + 0.01 * random.random()  # noqa: NPY002
        y, hidden = model(x, self.hidden)
        self.hidden = hidden.detach()
        loss = (y - batch.y).square().mean()
        return {"loss": loss, "rms": loss.detach().sqrt(), "samples": batch.y.numel()}

    def state_dict(self) -> dict[str, object]:
        return {"hidden": self.hidden}

    def load_state_dict(self, state: dict[str, object]) -> None:
        self.hidden = state["hidden"]


def plain_loss(model: nn.Module, batch: Batch) -> dict[str, object]:
    return {"loss": (model(batch.x)[0] - batch.y).square().mean()}


def validate(model: Tiny, step: int, run: Path) -> dict[str, float]:
    return {"error": plain_loss(model, batches(0, 0, 1))["loss"].item(), "draw": torch.rand(()).item()}


def new_model(config: TinyConfig = TinyConfig()) -> Tiny:
    torch.manual_seed(0)
    return Tiny(config)


DEFAULTS = {"steps": 24, "lr": 0.02, "log_every": 1, "valid_every": 7, "save_every": 3, "warmup": 3, "ema": 0.9}


def tiny_config(**changes: object) -> TrainConfig:
    return from_dict(TrainConfig, {**DEFAULTS, **changes})


def leg(run: Path, config: TrainConfig, arguments: argparse.Namespace, kill_in_replace: int) -> None:
    if kill_in_replace:
        _die_in_replace(kill_in_replace)

    def after_step(model: Tiny, step: int) -> None:
        time.sleep(arguments.slow)
        if step == arguments.limit_at:  # from now on no file can grow beyond so many bytes: a full disk
            resource.setrlimit(resource.RLIMIT_FSIZE, (arguments.limit, arguments.limit))
        if arguments.gradients:
            torch.save([p.grad for p in model.parameters()], arguments.gradients)

    loss = plain_loss if arguments.gradients else NoisyLoss()
    model = new_model(TinyConfig(dropout=0.0, momentum=0.0)) if arguments.gradients else new_model()

    def items(step: int, rank: int, size: int) -> Batch:
        if step == 5 and rank == arguments.stop_rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(step, rank, size, config.batch_size)

    fit(model, loss, items, config, run, after_step=after_step, validate=validate, device="cpu")


def _die_in_replace(nth: int) -> None:
    replace, count = os.replace, 0

    def dying(source: object, target: object) -> None:
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target)

    os.replace = dying


def start(ranks: int, work: object) -> list[int]:
    """Fork `ranks` processes with the environment that torchrun gives its own; their process ids."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids = []
    for rank in range(ranks):
        pid = os.fork()
        if pid:
            pids.append(pid)
            continue
        code = 1
        try:
            if ranks > 1:
                os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(ranks)}
                os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            work()
            code = 0
        except (ValueError, OSError, KeyboardInterrupt) as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            code = 130 if isinstance(error, KeyboardInterrupt) else 2
        finally:
            sys.stderr.flush()
            os._exit(code)  # neither pytest's nor torch's exit handlers of the parent
    return pids


def wait(pids: list[int]) -> int:
    """The highest exit code; 137 for killed; 1000 for processes that wait for ever."""
    codes, deadline = [], time.monotonic() + 100
    for pid in pids:
        while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                codes.append(1000)
            time.sleep(0.002)
        codes.append(os.waitstatus_to_exitcode(ended[1]))
    return max(128 - code if code < 0 else code for code in codes)


def kill_at(run: Path, step: int, pids: list[int]) -> None:
    """SIGKILL the processes a random moment after metrics.jsonl shows the step."""
    path = run / "metrics.jsonl"
    while not (path.exists() and path.read_bytes().count(b"\n") >= step):
        if os.waitpid(pids[0], os.WNOHANG) != (0, 0):
            raise SystemExit(f"the leg ended before step {step}")
        time.sleep(0.0005)
    time.sleep(random.random() * 0.01)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)


def serve() -> None:
    """Take a command per line from stdin (a JSON list of arguments), answer with its exit code and stderr on stdout."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as errors:
            kept = os.dup(2)
            os.dup2(errors.fileno(), 2)
            try:
                code = main(json.loads(line))
            finally:
                os.dup2(kept, 2)
                os.close(kept)
            errors.seek(0)
            print(json.dumps([code, errors.read().decode()]), flush=True)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run", type=Path)
    parser.add_argument("fields", nargs="*", help="TrainConfig field=value")
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--kill-at", default="", help="steps")
    parser.add_argument("--kill-in-replace", type=int, default=0)
    parser.add_argument("--limit-at", type=int, default=0)
    parser.add_argument("--limit", type=int, default=0, help="bytes")
    parser.add_argument("--stop-rank", type=int, default=-1, help="which gets SIGTERM in step 5")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds per step")
    parser.add_argument("--gradients", type=Path)
    arguments = parser.parse_intermixed_args(argv)
    fields = [f"{name}={value}" for name, value in DEFAULTS.items()]
    config = load(TrainConfig, None, fields + arguments.fields)
    if "RANK" in os.environ:  # started by torchrun
        leg(arguments.run, config, arguments, 0)
        return 0
    for step in map(int, arguments.kill_at.split()):
        pids = start(arguments.ranks, lambda: leg(arguments.run, config, arguments, 0))
        kill_at(arguments.run, step, pids)
        wait(pids)
    return wait(start(arguments.ranks, lambda: leg(arguments.run, config, arguments, arguments.kill_in_replace)))


if __name__ == "__main__":
    raise SystemExit(serve() if sys.argv[1:] == ["--serve"] else main(sys.argv[1:]))
