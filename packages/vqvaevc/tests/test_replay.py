"""A unit as a CUDA graph: what of it a CPU can test, and on a GPU the graph itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.engine import Loop, TorchLoop
from vocoder_core.recurrent.narrow import Precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.tape import Taped
from vqvaevc.cell import Cell
from vqvaevc.generate import Sampling, Stream, of_units
from vqvaevc.model import VQVAEVC
from vqvaevc.tellers import Units
from vqvaevc.warmup import Past, warmed

sys.path.append(str(Path(__file__).parent))
from loud_models import LABELS, network, said, told_to

UNITS = 4
WAYS: dict[str, Callable[[Cell], Loop]] = {
    "eager": lambda cell: Replayed(cell, 1.0, eager=True),
    "taped": lambda cell: Taped(cell, 1.0),
}


def some(every: Iterable[tuple[Any, ...]], *fast: tuple[Any, ...]) -> list[Any]:
    """All of these, those that are not `fast` with the slow tests."""
    return [each if each in fast else pytest.param(*each, marks=pytest.mark.slow) for each in every]


model_of = cache(network)


def cell_of(model: VQVAEVC, rows: int, device: str = "cpu") -> Cell:
    """A cell that begins in silence; its warm-up, which is not a block, on the CPU."""
    cpu = model_of(next(kind for kind, labels in LABELS.items() if labels == model.config.labels))
    vectors, names = told_to(cpu, rows).units_[..., : cpu.timing.units_before], ["ann", "cid", "bob"][:rows]
    state = warmed(cpu, Past.silence(cpu, rows), vectors, who := cpu.who(names, torch.zeros(rows, 1)))
    return Cell(model, moved(state, device), None if who is None else who.to(device))


def units_of(model: VQVAEVC, rows: int) -> Units:
    made = told_to(model, rows, UNITS)
    return of_units(model, made.units(model.timing, 0, 64 * UNITS), made, rows, UNITS)


def moved(made: Any, device: str) -> Any:
    """The same on a device."""
    if isinstance(made, Tensor):
        return made.to(device)
    if isinstance(made, list):
        return [moved(each, device) for each in made]
    return replace(made, **{field.name: moved(getattr(made, field.name), device) for field in fields(made)})


def spoken(loop: Loop, units: Units, ends: tuple[int, ...] = (UNITS,)) -> Tensor:
    rows = len(units.gain)
    speech = engine.Stream(loop, stream_keys(list(range(rows)), rows))
    return torch.cat([speech(units.cut(a, b)) for a, b in zip((0, *ends), ends)], dim=1)


@pytest.mark.parametrize(
    ("way", "kind", "rows"), some(product(WAYS, LABELS, (1, 3)), ("taped", "dual", 1), ("taped", "held", 3))
)
def test_waves_are_those_of_the_torch_loop(way: str, kind: str, rows: int) -> None:
    model = model_of(kind)
    expected = spoken(TorchLoop(cell_of(model, rows), 1.0), units_of(model, rows))
    assert torch.equal(spoken(WAYS[way](cell_of(model, rows)), units_of(model, rows), (1, UNITS)), expected)
    assert len(expected.unique()) > 30


@pytest.mark.parametrize(
    ("kind", "precision"),
    some(product(LABELS, ("fp32", "bf16", "fp16")), ("dual", "fp16"), ("held", "bf16")),
)
def test_a_unit_stays_on_its_device(kind: str, precision: Precision) -> None:
    """On one without memory: whatever meets it and does not lie there comes from the host."""
    cell = cell_of(network(kind).to("meta"), 3, "meta")
    u = uniforms(stream_keys(0, 3), 0, cell.draws * 64).reshape(3, 64, -1)
    made = Replayed(cell, 1.0, precision, eager=True)(moved(units_of(model_of(kind), 3).cut(0, 1), "meta"), u)
    assert (made.device.type, made.shape) == ("meta", (3, 64))


def test_a_cpu_has_no_graphs_and_only_they_have_a_precision() -> None:
    for how, message in (
        (Sampling(backend="graph"), "backend is 'graph' on cpu; a CUDA graph runs on a CUDA GPU"),
        (Sampling(precision="bf16"), "precision is 'bf16' with backend 'numba'; expected fp32, or 'graph' on CUDA"),
    ):
        with pytest.raises(ValueError, match=message):
            said(model_of("wave"), how)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", LABELS)
def test_a_graph_says_what_the_torch_loop_says(kind: str) -> None:
    model, units = network(kind).cuda(), moved(units_of(model_of(kind), 3), "cuda")
    expected = spoken(TorchLoop(cell_of(model, 3, "cuda"), 1.0), units)
    for precision in ("fp32", "bf16", "fp16"):
        loop = Replayed(cell_of(model, 3, "cuda"), 1.0, precision)
        made = spoken(loop, units, (1, UNITS))
        assert loop.graph is not None
        assert torch.equal(made, spoken(Replayed(cell_of(model, 3, "cuda"), 1.0, precision, eager=True), units))
        assert precision != "fp32" or torch.equal(made, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_cuda_auto_means_a_graph() -> None:
    model = network("dual").cuda()
    stream = Stream(model, 2, model.who(["ann", "cid"], torch.zeros(2, 1).cuda()), Sampling(seed=1, precision="bf16"))
    made = told_to(model, 2, UNITS)
    speech = stream.begin(made.units_[..., : model.timing.units_before].cuda())
    assert isinstance(speech.loop, Replayed)
    assert stream(moved(units_of(model_of("dual"), 2), "cuda")).shape == (2, 64 * UNITS)
    assert speech.loop.graph is not None
