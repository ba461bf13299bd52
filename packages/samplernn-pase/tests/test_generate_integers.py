"""Generation in whole numbers: any pieces, any layout, and how near it is to float32. Rows: test_rows.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase.generate import Stream, told_of
from samplernn_pase.model import SampleRNNPASE
from samplernn_pase.packed import Packed
from samplernn_pase.speaking import Sampling
from vocoder_core.recurrent import engine, vnni
from vocoder_core.recurrent.draws import stream_keys
from vocoder_core.recurrent.engine import CompiledLoop

sys.path.append(str(Path(__file__).parent))
from drawn_networks import FRAMES, content, network, pitch, said, who


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["concat", "pitch"])
def model(request: pytest.FixtureRequest) -> SampleRNNPASE:
    return network(request.param)


def test_any_split_into_calls_gives_the_same_samples(model: SampleRNNPASE) -> None:
    whole = said(model, Sampling(seed=1, backend="int8"))
    stream = Stream(model, 2, Sampling(seed=1, backend="int8"))
    frames = told_of(model, content(model), who(model), pitch(model))
    parts = [stream(frames.cut(a, b)) for a, b in [(0, 1), (1, 1), (1, FRAMES)]]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_what_is_said_is_nearly_what_float32_says() -> None:
    """For the same uniforms labels differ only where a draw falls next to a step; unlike ones agree once in 30."""
    model = network("concat")
    exact, coarse, fine, other = (
        said(model, Sampling(seed=seed, backend=backend))
        for seed, backend in ((3, "numba"), (3, "int8"), (3, "int16"), (4, "numba"))
    )
    assert torch.equal(fine, exact)
    assert 0.3 < (coarse == exact).float().mean() < 1
    assert (other == exact).float().mean() < 0.1


@pytest.mark.slow
def test_every_layout_says_the_same(model: SampleRNNPASE) -> None:
    """Of 64 and 32 bytes a register, and without VNNI."""
    frames = told_of(model, content(model), who(model), pitch(model))
    made = [
        engine.Stream(CompiledLoop(Packed(model, 2, "int8", lanes), 1.0), stream_keys(1, 2))(frames)
        for lanes in (0, 8, 16)
        if lanes <= vnni.lanes()
    ]
    assert all(torch.equal(wav, made[0]) for wav in made)
    assert torch.equal(made[0], said(model, Sampling(seed=1, backend="int8")))
    assert len(made[0].unique()) > 50


def test_what_is_heavy_is_in_whole_numbers() -> None:
    net = Packed(network("concat"), 1, "int8").net
    heavy = (
        *(m for tier in (net.top, net.mid) for m in (tier.recurrent, tier.spread)),
        net.mouth.hidden,
        net.mouth.logits,
    )
    assert all(matrix.weights.dtype == np.int8 for matrix in heavy)
    light = net.top.history, net.top.conds, net.mid.history, net.mid.conds, *net.mouth[:4]
    assert all(isinstance(table, np.ndarray) for table in light)
