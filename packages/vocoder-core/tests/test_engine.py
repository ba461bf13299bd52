"""The engine's loops: compiled and in torch the same, in any batch, on any threads, in any pieces; kept on disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent.draws import draw, stream_keys, uniforms
from vocoder_core.recurrent.engine import CompiledLoop, Loop, Stream, TorchLoop

sys.path.append(str(Path(__file__).parent))
from toy_voice import BLOCK, CLASSES, Cell, Kernel, Told

Make = Callable[[int], Loop]
LOOPS: dict[str, Make] = {
    "torch": lambda rows: TorchLoop(Cell(rows), 1.0),
    "compiled": lambda rows: CompiledLoop(Kernel(rows), 1.0),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def told() -> Told:
    return Told(torch.randn(3, 30, 5, generator=torch.Generator().manual_seed(1)))


def spoken(make: Make, told: Told, seeds: list[int]) -> Tensor:
    return Stream(make(len(seeds)), stream_keys(seeds, len(seeds)))(told)


def slow(told: Told, seeds: list[int]) -> Tensor:
    """Sample after sample, by hand."""
    rows, (table, weight) = [], (Cell(1).table, Cell(1).weight)
    for values, seed in zip(told.values, seeds):
        u = torch.from_numpy(uniforms(stream_keys([seed], 1), 0, 2 * BLOCK * told.count))[0]
        hidden, label, said = torch.zeros(5), 0, []
        for t in range(BLOCK * told.count):
            hidden = hidden / 2 + table[label] + values[t // BLOCK]
            first = int(draw((weight @ hidden)[None], u[2 * t, None], 1.0))
            hidden = hidden / 2 + table[first]
            label = int(draw((weight @ hidden)[None], u[2 * t + 1, None], 1.0))
            said.append(first * CLASSES + label)
        rows.append(torch.tensor(said))
    return torch.stack(rows)


@pytest.mark.parametrize("loop", LOOPS)
def test_samples_are_those_of_a_loop_by_hand(told: Told, loop: str) -> None:
    made = spoken(LOOPS[loop], told, [1, 2, 3])
    assert torch.equal(made, slow(told, [1, 2, 3]))
    assert len(made.unique()) > 50


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("loop", LOOPS)
def test_a_row_depends_neither_on_its_batch_nor_on_threads(told: Told, loop: str, threads: int) -> None:
    alone = torch.cat([spoken(LOOPS[loop], Told(row[None]), [seed]) for row, seed in zip(told.values, [5, 6, 5])])
    torch.set_num_threads(threads)
    assert torch.equal(spoken(LOOPS[loop], told, [5, 6, 5]), alone)


@pytest.mark.parametrize("loop", LOOPS)
def test_any_split_into_calls_gives_the_same_samples(told: Told, loop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, keys = spoken(LOOPS[loop], told, [1, 2, 3]), stream_keys([1, 2, 3], 3)
    stream = Stream(LOOPS[loop](3), keys)
    parts = [stream(told.cut(a, b)) for a, b in [(0, 0), (0, 1), (1, 8), (8, 8), (8, 30)]]
    assert torch.equal(torch.cat(parts, dim=1), whole)
    monkeypatch.setattr("vocoder_core.recurrent.engine.CHUNK", 3 * BLOCK)
    assert torch.equal(Stream(LOOPS[loop](3), keys).all(told), whole)
    assert [part.shape[1] for part in Stream(LOOPS[loop](3), keys).pieces(told)] == [12] * 10


@pytest.mark.parametrize("loop", LOOPS)
def test_nothing_is_said_of_nothing(told: Told, loop: str) -> None:
    assert Stream(LOOPS[loop](3), stream_keys(1, 3)).all(told.cut(0, 0)).shape == (3, 0)


def test_temperature_0_is_greedy(told: Told) -> None:
    made = [Stream(CompiledLoop(Kernel(3), 0.0), stream_keys(seed, 3))(told) for seed in (1, 2)]
    assert torch.equal(*made)


def test_the_loop_is_kept_on_disk_and_made_anew_when_its_vocoder_changes(tmp_path: Path) -> None:
    """In a process of its own each time: loaded where nothing changed, compiled again where the kernel's file did."""
    here = Path(__file__).parent
    for name in ("toy_voice.py", "toy_kernel.py"):
        shutil.copy(here / name, tmp_path)
    program = (
        "import torch, toy_kernel, toy_voice as toy\n"
        "from vocoder_core.recurrent.engine import CompiledLoop, Stream\n"
        "told = toy.Told(torch.ones(1, 5, 5))\n"
        "print(Stream(CompiledLoop(toy.Kernel(1), 1.0), __import__('numpy').array([7], 'uint64'))(told).tolist())\n"
        "stats = toy_kernel.speak.stats\n"
        "print(sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run() -> list[str]:
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    environment["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environment["PYTHONPATH"]])
    first, second = run(), run()
    assert first[0] == second[0]
    assert (first[1], second[1]) == ("0 1", "1 0")
    kernel = tmp_path / "toy_kernel.py"
    kernel.write_text(kernel.read_text().replace("/ 2 + row", "/ 3 + row"))
    third = run()
    assert third[1] == "0 1"
    assert third[0] != first[0]


def test_uniforms_of_both_labels_are_their_own(told: Told) -> None:
    """Sample t of a stream with two draws takes u(2 t) and u(2 t + 1), wherever a call begins."""
    seen: list[np.ndarray] = []

    class Listening(TorchLoop):
        def __call__(self, told: Told, uniforms: np.ndarray) -> Tensor:
            seen.append(uniforms)
            return super().__call__(told, uniforms)

    keys = stream_keys(9, 3)
    stream = Stream(Listening(Cell(3), 1.0), keys)
    stream(told.cut(0, 2)), stream(told.cut(2, 3))
    np.testing.assert_array_equal(np.concatenate(seen, 1).reshape(3, -1), uniforms(keys, 0, 24))
