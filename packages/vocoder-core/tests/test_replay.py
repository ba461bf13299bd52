"""A block as a CUDA graph, where there is none: on the same memory, by a tape, watched on a device without memory."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.engine import Loop, Stream, TorchLoop
from vocoder_core.recurrent.narrow import Narrow, Precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.streams import choose
from vocoder_core.recurrent.tape import Tape, Taped
from vocoder_core.recurrent.watched import Watched

sys.path.append(str(Path(__file__).parent))
from toy_voice import BLOCK, Cell, Told

LOOPS: dict[str, Callable[[Cell], Loop]] = {
    "eager": lambda cell: Replayed(cell, 1.0, eager=True),
    "taped": lambda cell: Taped(cell, 1.0),
}
GPU = torch.device("meta")  # that does not exist: whatever meets it and does not lie there is on the host


@pytest.fixture
def told() -> Told:
    return Told(torch.randn(3, 30, 5, generator=torch.Generator().manual_seed(1)))


def spoken(loop: Loop, told: Told, splits: list[int] | None = None) -> Tensor:
    rows = len(told.values)
    stream, ends = Stream(loop, stream_keys(list(range(rows)), rows)), splits or [told.count]
    return torch.cat([stream(told.cut(a, b)) for a, b in zip([0, *ends], ends)], dim=1)


def draws(rows: int, blocks: int) -> np.ndarray:
    return uniforms(stream_keys(list(range(rows)), rows), 0, 2 * BLOCK * blocks).reshape(rows, -1, 2)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("splits", [[30], [1, 2, 3, 30], [2, 2, 17, 30]])
@pytest.mark.parametrize("way", LOOPS)
def test_samples_are_those_of_the_torch_loop(told: Told, way: str, splits: list[int], rows: int) -> None:
    own = Told(told.values[:rows])
    expected = spoken(TorchLoop(Cell(rows), 1.0), own)
    assert torch.equal(spoken(LOOPS[way](Cell(rows)), own, splits), expected)
    assert len(expected.unique()) > 30


@pytest.mark.parametrize("way", LOOPS)
def test_what_was_said_stays_and_two_loops_share_nothing(told: Told, way: str) -> None:
    cell = Cell(3)
    one, two = LOOPS[way](cell), LOOPS[way](cell)
    first = one(told.cut(0, 4), draws(3, 4))
    copy = first.clone()
    assert torch.equal(two(told.cut(0, 4), draws(3, 4)), copy)
    two(told.cut(9, 19), draws(3, 10))
    assert torch.equal(
        one(told.cut(4, 9), draws(3, 9)[:, 4 * BLOCK :]), spoken(TorchLoop(Cell(3), 1.0), told)[:, 16:36]
    )
    assert torch.equal(first, copy)
    assert torch.equal(two(told.cut(0, 0), draws(3, 0)), torch.zeros(3, 0, dtype=torch.int64))


class Delayed(Cell):
    """Remembers also the last label of the block before: when a block ends, the very memory that `last` is to have."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.older = torch.zeros(rows, dtype=torch.int64)

    def begin(self, told: Told) -> None:
        super().begin(Told(told.values + self.table[self.older][:, None]))
        self.older = self.last

    def state(self) -> list[Tensor]:
        return [*super().state(), self.older]

    def resume(self, state: list[Tensor]) -> None:
        super().resume(state[:2])
        self.older = state[2]


@pytest.mark.parametrize("way", LOOPS)
def test_what_is_remembered_may_be_what_was_remembered_elsewhere(told: Told, way: str) -> None:
    expected = spoken(TorchLoop(Delayed(3), 1.0), told)
    assert torch.equal(spoken(LOOPS[way](Delayed(3)), told), expected)
    assert not torch.equal(expected, spoken(TorchLoop(Cell(3), 1.0), told))


class Counting(Cell):
    """Keeps beside its state how many blocks it has said: a list, which even a copied cell shares."""

    def __init__(self, rows: int) -> None:
        super().__init__(rows)
        self.blocks: list[int] = []

    def begin(self, told: Told) -> None:
        super().begin(told)
        self.blocks.append(1)
        self.told = self.told * len(self.blocks)


def test_a_tape_forgets_what_python_counts(told: Told) -> None:
    """So that a cell which counts is found out."""
    expected = spoken(TorchLoop(Counting(3), 1.0), told)
    made = spoken(Taped(Counting(3), 1.0), told)
    assert torch.equal(made[:, : 3 * BLOCK], expected[:, : 3 * BLOCK])
    assert not torch.equal(made, expected)


def by_host(x: Tensor) -> Tensor:
    return x * float(x.sum())


def by_list(x: Tensor) -> Tensor:
    return x[:, [1, 0]]


def by_numbers(x: Tensor) -> Tensor:
    return x * x.new_tensor([1.0, 2.0, 3.0])


def by_choice(x: Tensor) -> Tensor:
    return x[x > 0]


def by_cpu(x: Tensor) -> Tensor:
    return x + torch.ones(3, device="cpu").to(x.device)


@pytest.mark.parametrize(
    ("block", "device", "message"),
    [
        (by_host, "cpu", "aten.(item|_local_scalar_dense).default waits for the device"),
        (by_host, "meta", "aten.(item|_local_scalar_dense).default waits for the device"),
        (by_list, "cpu", "aten.lift_fresh.default makes a tensor of Python's numbers"),
        (by_numbers, "cpu", "aten.lift_fresh.default makes"),
        (by_choice, "cpu", "aten.index.Tensor waits"),
        (by_choice, "meta", "aten.index.Tensor waits"),
        (by_cpu, "meta", "aten.ones.default meets a tensor on cpu, in a block that is to be a graph on meta"),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_what_no_graph_can_hold_is_named(
    block: Callable[[Tensor], Tensor], device: str, message: str, inference: bool
) -> None:
    x = torch.ones(2, 3, device=device)
    with pytest.raises(RuntimeError, match=message), torch.inference_mode(inference), Watched(torch.device(device)):
        block(x)


class Asking(Cell):
    """Looks at what it drew."""

    def take(self, label: Tensor) -> None:
        super().take(label if int(label[0]) >= 0 else label + 1)


def test_the_eager_loop_refuses_such_a_block_and_a_graph_gives_way_to_it(
    told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(RuntimeError, match="waits for the device"):
        spoken(Replayed(Asking(3), 1.0, eager=True), told)
    with pytest.raises(RuntimeError, match="waits for the device"):
        spoken(Taped(Asking(3), 1.0), told)
    with caplog.at_level(logging.WARNING):
        made = spoken(Replayed(Asking(3), 1.0), told, [1, 5, 30])
    assert torch.equal(made, spoken(TorchLoop(Cell(3), 1.0), told))
    (record,) = caplog.records
    assert "waits for the device, in a block that is to be a CUDA graph): generating by the torch" in record.message


def on_gpu(cell: Cell) -> Cell:
    """A cell whose tensors lie there."""
    for name in ("table", "weight", "hidden", "last"):
        setattr(cell, name, torch.empty_like(getattr(cell, name), device=GPU))
    return cell


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_block_stays_on_a_gpu(precision: Precision) -> None:
    loop = Replayed(on_gpu(Cell(3)), 1.0, precision, eager=True)
    said = loop(Told(torch.empty(3, 2, 5, device=GPU)), draws(3, 2))
    assert (said.device, said.dtype, said.shape) == (GPU, torch.int64, (3, 2 * BLOCK))


def test_told_of_another_shape_is_refused(told: Told) -> None:
    loop = Replayed(Cell(3), 1.0, eager=True)
    loop(told.cut(0, 1), draws(3, 1))
    with pytest.raises(RuntimeError, match=r"\(1, 1, 5\) torch.float32 where blocks before had \(3, 1, 5\)"):
        loop(Told(told.values[:1, 1:2]), draws(3, 1))


@pytest.mark.parametrize(("name", "dtype", "bits"), [("bf16", torch.bfloat16, 8), ("fp16", torch.float16, 11)])
def test_narrow_products_are_of_rounded_numbers_summed_wide(name: str, dtype: torch.dtype, bits: int) -> None:
    """Against numbers rounded to so many bits by numpy, and summed in float64."""

    def rounded(x: Tensor) -> np.ndarray:
        fraction, exponent = np.frexp(x.double().numpy())
        return np.ldexp(np.round(fraction * 2**bits), exponent - bits)

    generator = torch.Generator().manual_seed(0)
    x, weight, bias = (torch.randn(shape, generator=generator) for shape in ((3, 50), (20, 50), (20,)))
    narrow = Narrow(dtype)
    with narrow:
        found = [torch.nn.functional.linear(x, weight, bias), x @ weight.t() + bias, torch.addmm(bias, x, weight.t()),
                 (x.unflatten(0, (3, 1)) @ weight.t()).flatten(0, 1) + bias]  # fmt: skip
    for each in found:
        assert each.dtype == torch.float32
        np.testing.assert_allclose(each, rounded(x) @ rounded(weight).T + bias.double().numpy(), atol=1e-5)
        assert (each - (x @ weight.t() + bias)).abs().max() > 1e-3
    assert len(narrow.known) == 1


def test_nothing_is_narrowed_after_the_first_block() -> None:
    narrow, x = Narrow(torch.bfloat16), torch.randn(2, 8)
    narrow.learning = False
    with narrow:
        assert torch.equal(x @ x.t(), torch.mm(x, x.t()))
        assert torch.equal(torch.ones(3, 2, 8) @ x.t(), torch.ones(3, 2, 8).matmul(x.t()))
    assert not narrow.known


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_speech_of_narrow_weights_follows_their_distribution(told: Told, precision: Precision) -> None:
    """By a graph as without one; many labels are those of fp32, as roundings turn few and the toy forgets soon."""
    exact = spoken(TorchLoop(Cell(3), 1.0), told)
    made = spoken(Replayed(Cell(3), 1.0, precision, eager=True), told)
    assert torch.equal(made, spoken(Taped(Cell(3), 1.0, precision), told))
    assert 0.3 < (made == exact).float().mean() < 1


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(ValueError, match="precision is 'int4'; expected one of fp32, bf16, fp16"):
        Replayed(Cell(1), 1.0, "int4")  # type: ignore[arg-type]


def test_auto_means_a_graph_on_cuda_alone() -> None:
    cpu, cuda, mps = (torch.device(name) for name in ("cpu", "cuda", "mps"))
    assert [choose(name, cuda) for name in ("auto", "graph", "torch", "numba")] == ["graph", "graph", "torch", "numba"]
    assert choose("auto", mps) == "torch"
    for device in (cpu, mps):
        with pytest.raises(ValueError, match=f"backend is 'graph' on {device}; a CUDA graph runs on a CUDA GPU"):
            choose("graph", device)
    with pytest.raises(ValueError, match="backend is 'cuda'; expected 'auto', 'torch' or 'numba', or 'graph' on CUDA"):
        choose("cuda", cuda)  # type: ignore[arg-type]


class Stub:
    """torch.cuda of streams that do nothing, and a capture onto a tape, which runs nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
        self.fails, self.current, self.loop = fails, "main", None
        for name in ("Stream", "stream", "current_stream", "set_stream", "device", "graph"):
            monkeypatch.setattr(torch.cuda, name, getattr(self, name))
        monkeypatch.setattr(torch.cuda, "CUDAGraph", Tape)

    def Stream(self, device: torch.device) -> Stub:
        return self

    def wait_stream(self, other: object) -> None:
        pass

    def current_stream(self, device: torch.device) -> Any:
        return Mock(wait_stream=self.wait_stream, stream=self.current)

    def set_stream(self, stream: Any) -> None:
        self.current = stream.stream

    def device(self, device: torch.device) -> Any:
        return nullcontext()

    @contextmanager
    def stream(self, stream: Stub) -> Iterator[None]:
        yield

    @contextmanager
    def graph(self, graph: Tape, stream: Stub, capture_error_mode: str) -> Iterator[None]:
        assert stream is self
        assert not gc.isenabled()
        self.current = "side"
        kept = [*self.loop.state, self.loop.said]
        before = [x.clone() for x in kept]
        with graph:
            yield
        for x, value in zip(kept, before):
            x.copy_(value)
        if self.fails:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture\nmore")
        self.current = "main"


@pytest.mark.parametrize("fails", [False, True])
def test_the_capture_itself_and_one_that_fails(
    told: Told, fails: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In order, with torch.cuda played by another: the third block is captured and replayed, or says why not."""
    stub = Stub(monkeypatch, fails)
    stub.loop = loop = Replayed(Cell(3), 1.0)
    assert torch.equal(spoken(loop, told, [1, 4, 30]), spoken(TorchLoop(Cell(3), 1.0), told))
    assert (loop.graph is None) == loop.eager == fails
    assert stub.current == "main"
    assert gc.isenabled()
    assert [record.message for record in caplog.records] == fails * [
        "no CUDA graph (CUDA error: operation failed due to a previous error during capture): generating by the torch "
        "loop, several times slower"
    ]


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("rows", [1, 3])
def test_a_graph_says_what_the_torch_loop_says(told: Told, rows: int) -> None:
    def cell() -> Cell:
        made = Cell(rows)
        for name in ("table", "weight", "hidden", "last"):
            setattr(made, name, getattr(made, name).cuda())
        return made

    own = Told(told.values[:rows].cuda())
    loop = Replayed(cell(), 1.0)
    made = spoken(loop, own, [1, 2, 17, 30])
    assert loop.graph is not None
    assert torch.equal(made, spoken(TorchLoop(cell(), 1.0), own))
    assert torch.equal(made.cpu(), spoken(TorchLoop(Cell(rows), 1.0), Told(own.values.cpu())))
    for precision in ("bf16", "fp16"):
        narrow = Replayed(cell(), 1.0, precision)
        assert torch.equal(spoken(narrow, own), spoken(Replayed(cell(), 1.0, precision, eager=True), own))
        assert narrow.graph is not None
