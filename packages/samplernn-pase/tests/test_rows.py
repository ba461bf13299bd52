"""Rows side by side: in one pass over the weights each is what it is alone, to the bit; and what a cell remembers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from samplernn_pase.cell import Cell, FoldedCell
from samplernn_pase.generate import told_of
from samplernn_pase.model import SampleRNNPASE
from samplernn_pase.packed import Packed
from samplernn_pase.tellers import Frames
from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.engine import CompiledLoop, Loop, Stream, one_block
from vocoder_core.recurrent.integers import Tier

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_networks.py
from drawn_networks import HOP, LOOPS, Make, content, network, pitch, who

TIERS: dict[str, Tier | None] = {"numba": None, "int8": "int8", "int16": "int16"}
ROWS, SEEDS = [0, 1, 2, 1, 0, 2, 0], [3, 4, 5, 6, 7, 3, 9]  # seven: four at a time, two, and one


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["concat", "pitch"])
def model(request: pytest.FixtureRequest) -> SampleRNNPASE:
    return network(request.param)


@torch.inference_mode()
def told(model: SampleRNNPASE, rows: list[int]) -> Frames:
    """What these of three rows are told, each as it is alone."""
    track, names = pitch(model, 3), who(model, 3)
    parts = [
        told_of(model, content(model, 3)[b, None], names and [names[b]], None if track is None else track[b, None])
        for b in rows
    ]
    fields = zip(*((part.conds, part.filters, part.gain, part.lag, part.voicing) for part in parts))
    return Frames(*(torch.cat(field) for field in fields))


def spoken(model: SampleRNNPASE, make: Make, rows: list[int], seeds: list[int]) -> Tensor:
    return Stream(make(model, len(rows), 1.0), stream_keys(seeds, len(seeds)))(told(model, rows))


def of_tier(tier: Tier | None) -> Make:
    return lambda model, rows, temperature: CompiledLoop(Packed(model, rows, tier), temperature)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("tier", TIERS)
def test_rows_in_one_share_are_what_each_is_alone(model: SampleRNNPASE, tier: str, threads: int) -> None:
    """Two threads have three rows and four."""
    make = of_tier(TIERS[tier])
    alone = torch.cat([spoken(model, make, [b], [seed]) for b, seed in zip(ROWS, SEEDS)])
    torch.set_num_threads(threads)
    assert torch.equal(spoken(model, make, ROWS, SEEDS), alone)
    assert len(alone.unique()) > 30
    apart = (alone[:, None] != alone[None]).float().mean(2)
    assert (apart + torch.eye(len(ROWS)) > 0.5).all(), "no two of them are told the same by the same seed"


@pytest.mark.parametrize("loop", ["torch", "folded"])
def test_rows_of_a_torch_loop_are_what_each_is_alone(model: SampleRNNPASE, loop: str) -> None:
    alone = torch.cat([spoken(model, LOOPS[loop], [b], [seed]) for b, seed in zip(ROWS[:3], SEEDS)])
    assert torch.equal(spoken(model, LOOPS[loop], ROWS[:3], SEEDS[:3]), alone)


@pytest.mark.parametrize("tier", TIERS)
def test_no_bit_of_a_state_depends_on_what_is_beside_it(model: SampleRNNPASE, tier: str) -> None:
    """States, what met, features and exponentials of logits, frame by frame: labels alone would hide a last bit."""
    u = uniforms(stream_keys(SEEDS, len(SEEDS)), 0, 3 * HOP)[..., None]
    frames, make = told(model, ROWS), of_tier(TIERS[tier])
    together = make(model, len(ROWS), 1.0)
    each = [make(model, 1, 1.0) for _ in ROWS]
    for k in range(3):
        now = slice(k * HOP, (k + 1) * HOP)
        together(frames.cut(k, k + 1), u[:, now])
        for b, loop in enumerate(each):
            own = Frames(*(getattr(frames.cut(k, k + 1), name)[b, None] for name in Frames.__dataclass_fields__))
            loop(own, u[b, None, now])
            for found, wanted in zip(remembered(together), remembered(loop)):
                np.testing.assert_array_equal(found[b], wanted[0])


def remembered(loop: Loop) -> list[np.ndarray]:
    """Of the rows of a loop of one share."""
    assert isinstance(loop, CompiledLoop)
    (work,) = loop.works
    return [work.top.hidden, work.top.vectors, work.mid.hidden, work.mid.vectors, work.met, work.features, work.logits]


@torch.inference_mode()
@pytest.mark.parametrize("kind", [Cell, FoldedCell])
def test_a_cell_goes_on_from_its_state_alone(model: SampleRNNPASE, kind: Any) -> None:
    """As a CUDA graph of one frame does: new cells, and memory that is written over between them."""
    frames, u = told(model, ROWS[:2]), torch.rand(2, 4 * HOP, 1, generator=torch.Generator().manual_seed(2)).double()
    cell = kind(model, 2)
    kept = [x.clone() for x in cell.state()]
    for k in range(4):
        own, drawn = frames.cut(k, k + 1), u[:, k * HOP : (k + 1) * HOP]
        expected = one_block(cell, own, drawn, 1.0)
        fresh = kind(model, 2)
        fresh.resume(list(kept))
        assert torch.equal(one_block(fresh, own, drawn, 1.0), expected)
        state = [x.clone() for x in fresh.state()]
        assert [(x.shape, x.dtype) for x in state] == [(x.shape, x.dtype) for x in kept]
        for memory, x in zip(kept, state):
            memory.copy_(x)
