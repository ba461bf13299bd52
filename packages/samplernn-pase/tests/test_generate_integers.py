"""Generation in whole numbers: what it promises of rows, threads and pieces, and how near it is to float32."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase.generate import Stream, told_of
from samplernn_pase.loops import packed
from samplernn_pase.model import SampleRNNPASE
from samplernn_pase.speaking import Sampling

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


def test_a_row_depends_neither_on_its_batch_nor_on_threads(model: SampleRNNPASE) -> None:
    together = said(model, Sampling(seed=7, backend="int8"))
    torch.set_num_threads(2)
    try:
        assert torch.equal(said(model, Sampling(seed=7, backend="int8")), together)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(said(model, Sampling(seed=7, backend="int8"), rows=1), together[:1])
    assert len(together.unique()) > 30


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


def test_what_is_heavy_is_in_whole_numbers() -> None:
    (top, mid), mouth, _ = packed(network("concat"), "int8")
    for matrix in (top[2], top[4], mid[2], mid[4], mouth[4], mouth[6]):
        assert matrix.weights.dtype == np.int8
    assert all(isinstance(table, np.ndarray) for table in mouth[:4])
