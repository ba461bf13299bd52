"""Quantisers in the trainer: resumed runs, steps that are undone, two processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from vocoder_core.parallel import processes
from vocoder_core.train import TrainConfig, fit
from vocoder_core.vocoder import Vocoder
from vocoder_core.vq import QuantizerConfig, quantizer

KINDS = ["softem", "ema", "sphere", "softem_seed"]
CODES = QuantizerConfig(size=8, dim=4, restart=0.3, decay=0.7, kmeans=True)


@dataclass(frozen=True)
class CoderConfig:
    codes: QuantizerConfig = field(default_factory=lambda: CODES)


class Coder(Vocoder):
    """Six numbers through four quantised ones and back."""

    config_class = CoderConfig

    def __init__(self, config: CoderConfig) -> None:
        super().__init__(config)
        self.enter, self.codes, self.leave = nn.Conv1d(6, 4, 1), quantizer(config.codes), nn.Conv1d(4, 6, 1)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = self.codes(self.enter(x))
        error = (self.leave(seen.quantized) - x).square().mean()
        return {"loss": error + sum(seen.losses.values()), **seen.stats}


def loss(model: nn.Module, batch: torch.Tensor) -> dict[str, torch.Tensor]:
    return model(batch)


def batches(step: int, rank: int, size: int) -> torch.Tensor:
    """(4, 6, 10); four tight groups, so that codes fall out of use."""
    draw = torch.Generator().manual_seed(step * size + rank)
    group = torch.randint(4, (4, 1, 10), generator=draw)
    return 3.0 * group - 4 + torch.randn(4, 6, 10, generator=draw)


def run(folder: Path, kind: str, batches=batches, steps: int = 12) -> Coder:
    torch.manual_seed(0)
    model = Coder(CoderConfig(replace(CODES, kind=kind)))
    config = TrainConfig(steps=steps, lr=1e-2, warmup=1, log_every=1, save_every=4, ema=0.9)
    fit(model, loss, batches, config, folder, after_step=lambda model, step: model.codes.after_step(), device="cpu")
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_a_run_that_was_stopped_ends_with_the_same_bits(kind: str, tmp_path: Path) -> None:
    """k-means, restarts and averages are functions of seed, step and checkpoint: nothing else is remembered."""
    whole = run(tmp_path / "whole", kind)

    def stopping(step: int, rank: int, size: int) -> torch.Tensor:
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)
        return batches(step, rank, size)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "stopped", kind, stopping)
    resumed = run(tmp_path / "stopped", kind)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    loaded = Coder.from_pretrained(tmp_path / "stopped")
    assert torch.equal(loaded.codes.table(), resumed.codes.table())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("when", [1, 6])
def test_a_batch_of_nan_is_left_out(kind: str, when: int, tmp_path: Path) -> None:
    """Also the first one, which would have been k-means' batch; the weights stay finite, and the table starts later."""

    def bad(step: int, rank: int, size: int) -> torch.Tensor:
        return batches(step, rank, size) * (torch.nan if step == when else 1)

    model = run(tmp_path, kind, bad)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert int(model.codes.initialised) == 1 and float(model(batches(99, 0, 1))["used_fraction"]) > 0.2


def halves(step: int, rank: int, size: int) -> torch.Tensor:
    """Of 8 items the part of a process."""
    x = torch.cat([batches(step, 0, 2), batches(step, 1, 2)])
    return x.chunk(size)[rank]


def trained(kind: str, restarts: bool, folder: Path) -> None:
    """Four steps of SGD on `halves`; the weights and the last gradients of this process in a file."""
    config = replace(CODES, kind=kind, kmeans=restarts, restart=0.3 if restarts else 0.0)
    with processes("cpu") as crew:
        torch.manual_seed(0)
        model = Coder(CoderConfig(config))
        whole = crew.parallel(model)
        for step in range(1, 9 if restarts else 5):
            torch.manual_seed(100 * step + crew.rank)
            model.zero_grad()
            whole(halves(step, crew.rank, crew.size))["loss"].backward()
            with torch.no_grad():
                for weight in model.parameters():
                    weight -= 0.05 * weight.grad
            model.codes.after_step()
        grads = {f"gradient of {name}": weight.grad for name, weight in model.named_parameters()}
        torch.save({**model.state_dict(), **grads}, folder / f"{kind}-{restarts}-{crew.rank}-of-{crew.size}.pt")
        del whole


def trained_by_two(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    crew = []
    for rank in range(2):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
        crew.append(subprocess.Popen([sys.executable, __file__, str(folder)], env={**os.environ, **place}))
    assert [process.wait(120) for process in crew] == [0, 0]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    trained_by_two(folder)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_are_one_with_twice_the_batch(kind: str, two: Path, tmp_path: Path) -> None:
    """Gradients of table and variance, counts and sums: those of all items, on both processes."""
    trained(kind, False, tmp_path)
    one = torch.load(tmp_path / f"{kind}-False-0-of-1.pt", weights_only=True)
    for rank in range(2):
        other = torch.load(two / f"{kind}-False-{rank}-of-2.pt", weights_only=True)
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-5, msg=f"{name} of rank {rank}")


@pytest.mark.parametrize("kind", KINDS)
def test_tables_of_two_processes_never_part(kind: str, two: Path) -> None:
    """k-means and restarts draw encodings of different batches: those of rank 0 hold on both."""
    one, other = (torch.load(two / f"{kind}-True-{rank}-of-2.pt", weights_only=True) for rank in range(2))
    for name, value in one.items():
        if name != "codes.share" or kind == "ema":  # of the others each process counts its own
            assert torch.equal(value, other[name]), name


if __name__ == "__main__":
    with processes("cpu"):
        for each in KINDS:
            for with_restarts in (False, True):
                trained(each, with_restarts, Path(sys.argv[1]))
