"""A frame as a CUDA graph: what of it a CPU can test, and on a GPU the graph itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from copy import deepcopy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from samplernn_pase.cell import FoldedCell
from samplernn_pase.generate import Stream, generate, told_of
from samplernn_pase.model import SampleRNNPASE
from samplernn_pase.speaking import Sampling
from samplernn_pase.tellers import Frames
from vocoder_core.recurrent import engine
from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.engine import Loop, TorchLoop
from vocoder_core.recurrent.narrow import Precision
from vocoder_core.recurrent.replay import Replayed
from vocoder_core.recurrent.tape import Taped

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_networks.py
from drawn_networks import CONFIGS, HOP, content, network, pitch, who

FRAMES = 4

WAYS: dict[str, Callable[[FoldedCell], Loop]] = {
    "eager": lambda cell: Replayed(cell, 1.0, eager=True),
    "taped": lambda cell: Taped(cell, 1.0),
}


def some(every: Iterable[tuple[Any, ...]], *fast: tuple[Any, ...]) -> list[Any]:
    """All of these, those that are not `fast` with the slow tests."""
    return [each if each in fast else pytest.param(*each, marks=pytest.mark.slow) for each in every]


def told(model: SampleRNNPASE, rows: int) -> Frames:
    return told_of(model, content(model, rows, FRAMES), who(model, rows), pitch(model, rows, FRAMES))


def moved(frames: Frames, device: str) -> Frames:
    parts = (frames.conds, frames.filters, frames.gain, frames.lag, frames.voicing)
    return Frames(*(part.to(device) for part in parts))


def spoken(loop: Loop, frames: Frames, ends: tuple[int, ...] = (FRAMES,)) -> Tensor:
    rows = len(frames.conds)
    speech = engine.Stream(loop, stream_keys(list(range(rows)), rows))
    return torch.cat([speech(frames.cut(a, b)) for a, b in zip((0, *ends), ends)], dim=1)


@pytest.mark.parametrize(
    ("way", "kind", "rows"), some(product(WAYS, CONFIGS, (1, 3)), ("taped", "concat", 1), ("taped", "held", 3))
)
def test_waves_are_those_of_the_torch_loop(way: str, kind: str, rows: int) -> None:
    model = network(kind)
    expected = spoken(TorchLoop(FoldedCell(model, rows), 1.0), told(model, rows))
    assert torch.equal(spoken(WAYS[way](FoldedCell(model, rows)), told(model, rows), (1, FRAMES)), expected)
    assert len(expected.unique()) > 20


@pytest.mark.parametrize(
    ("kind", "precision"),
    some(product(CONFIGS, ("fp32", "bf16", "fp16")), ("concat", "fp16"), ("held", "bf16")),
)
def test_a_frame_stays_on_its_device(kind: str, precision: Precision, monkeypatch: pytest.MonkeyPatch) -> None:
    """On one without memory: whatever meets it and does not lie there comes from the host."""
    model, u = network(kind), uniforms(stream_keys(0, 3), 0, HOP)[..., None]
    cell = on(FoldedCell(model, 3), "meta")
    if model.config.labels.order:  # without it a teller looks at numbers when it is made
        monkeypatch.setattr("samplernn_pase.cell._folded", lambda _: cell.net)
        cell = FoldedCell(deepcopy(model).to("meta"), 3)
    said = Replayed(cell, 1.0, precision, eager=True)(moved(told(model, 3), "meta").cut(0, 1), u)
    assert (said.device.type, said.shape) == ("meta", (3, HOP))


def on(made: object, device: str) -> FoldedCell:
    """A cell, each tensor of it and of its parts on a device: folding itself looks at numbers."""
    for name, value in list(vars(made).items()):
        if isinstance(value, Tensor):
            object.__setattr__(made, name, value.detach().to(device))
        elif name in ("net", "top", "mid", "sample", "teller"):
            copy = object.__new__(type(value))
            vars(copy).update(vars(value))
            object.__setattr__(made, name, on(copy, device))
    return made  # type: ignore[return-value]


def test_a_cpu_has_no_graphs_and_only_they_have_a_precision() -> None:
    model = network("pitch")
    for how, message in (
        (Sampling(backend="graph"), "backend is 'graph' on cpu; a CUDA graph runs on a CUDA GPU"),
        (Sampling(precision="bf16"), "precision is 'bf16' with backend 'numba'; expected fp32, or 'graph' on CUDA"),
    ):
        with pytest.raises(ValueError, match=message):
            generate(model, content(model), who(model), pitch(model), None, how)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
@pytest.mark.parametrize("kind", CONFIGS)
def test_a_graph_says_what_the_torch_loop_says(kind: str) -> None:
    frames = moved(told(network(kind), 3), "cuda")
    expected = spoken(TorchLoop(on(FoldedCell(network(kind), 3), "cuda"), 1.0), frames)
    for precision in ("fp32", "bf16", "fp16"):
        loop = Replayed(on(FoldedCell(network(kind), 3), "cuda"), 1.0, precision)
        eager = Replayed(on(FoldedCell(network(kind), 3), "cuda"), 1.0, precision, eager=True)
        said = spoken(loop, frames, (1, FRAMES))
        assert loop.graph is not None
        assert torch.equal(said, spoken(eager, frames))
        assert precision != "fp32" or torch.equal(said, expected)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_on_cuda_auto_means_a_graph() -> None:
    model = SampleRNNPASE(CONFIGS["concat"]).eval().cuda()
    stream = Stream(model, 2, Sampling(seed=1, precision="bf16"))
    assert isinstance(stream.loop, Replayed)
    frames = told_of(model, content(model, 2, FRAMES).cuda(), who(model))
    assert stream(frames).shape == (2, FRAMES * HOP)
    assert stream.loop.graph is not None
