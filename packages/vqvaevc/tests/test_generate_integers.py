"""Generation in whole numbers: what it promises of rows, pieces and seeds, and how near it is to float32."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from vqvaevc.condition import Conditioned
from vqvaevc.generate import Backend, Sampling, Stream, of_units
from vqvaevc.model import VQVAEVC
from vqvaevc.packed import net_of

sys.path.append(str(Path(__file__).parent))
from loud_models import UNITS, network, said, speakers, told_to


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=["dual", "pitch"])
def model(request: pytest.FixtureRequest) -> VQVAEVC:
    return network(request.param)


def test_a_row_depends_neither_on_its_batch_nor_on_threads(model: VQVAEVC) -> None:
    made, who = told_to(model), speakers(model)
    how = Sampling(seed=[7, 8], backend="int8")
    together = said(model, how, made)
    torch.set_num_threads(2)
    try:
        assert torch.equal(said(model, how, made), together)
    finally:
        torch.set_num_threads(1)
    for b in range(2):
        parts = {name: None if (x := getattr(made, name)) is None else x[b : b + 1]
                 for name in ("units_", "filters", "gain", "lag", "voicing")}  # fmt: skip
        alone = said(model, Sampling(seed=7 + b, backend="int8"), Conditioned(**parts), who[b : b + 1])
        assert torch.equal(together[b : b + 1], alone)
    assert len(together.unique()) > 50


def test_any_split_into_calls_gives_the_same_samples(model: VQVAEVC) -> None:
    made = told_to(model)
    whole, before = said(model, Sampling(seed=1, backend="int8"), made), model.timing.units_before
    units = of_units(model, made.units_, made, 2, UNITS)
    stream = Stream(model, 2, speakers(model), Sampling(seed=1, backend="int8"))
    stream.begin(made.units_[..., :before])
    parts = [stream(units.cut(a, b)) for a, b in [(0, 1), (1, 1), (1, 3)]]
    assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize(("tier", "same"), [("int8", 5), ("int16", 192)])
def test_what_is_said_is_at_first_what_float32_says(tier: Backend, same: int) -> None:
    """For the same uniforms labels differ only where a draw falls next to a step, sooner with coarser numbers."""
    model = network("dual")
    exact, near = (said(model, Sampling(seed=3, backend=backend)) for backend in ("numba", tier))
    assert torch.equal(near[:, :same], exact[:, :same])
    assert torch.equal(near, exact) is (same == 192)


def test_what_is_heavy_is_in_whole_numbers() -> None:
    """A tenth of the weights at most is not: convolutions, what rnn0 reads; and tables of which a row is read."""
    net = net_of(network("dual"), "int8")
    uppers = [part for own, recurrent, _, spread, _, on in net.uppers for part in (own, recurrent, spread, on)]
    whole = [*uppers, net.recurrent, *net.linear, *net.logits]
    floats = [part for part in whole if isinstance(part, np.ndarray)]
    assert len(floats) == 1 and floats[0] is net.uppers[0].own
    assert all(part.weights.dtype == np.int8 for part in whole if not isinstance(part, np.ndarray))
