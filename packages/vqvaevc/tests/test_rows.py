"""Rows that share every pass over the weights say what each says alone: to the bit, in every tier, on any threads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent.streams import Backend
from vqvaevc.condition import Conditioned
from vqvaevc.generate import Sampling
from vqvaevc.model import VQVAEVC

sys.path.append(str(Path(__file__).parent))
from loud_models import network, said, told_to

ROWS = 5  # one more than meet a weight at once
NAMES = ["ann", "cid", "bob", "ann", "cid"]
KINDS = ["dual", "pitch"]
TIERS: list[Backend] = ["numba", "int8", "int16"]
model_of = cache(network)


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def row_of(made: Conditioned, b: int) -> Conditioned:
    parts: dict[str, Any] = {}
    for name in ("units_", "filters", "gain", "lag", "voicing"):
        part = getattr(made, name)
        parts[name] = None if part is None else part[b : b + 1]
    return replace(made, **parts)


def spoken(model: VQVAEVC, backend: Backend, rows: list[int], threads: int) -> Tensor:
    """Some of the rows, in one batch."""
    torch.set_num_threads(threads)
    made, who = told_to(model, ROWS, units=2), model.who(NAMES, torch.zeros(ROWS, 1))
    some = [row_of(made, b) for b in rows]
    together = {name: torch.cat([getattr(one, name) for one in some]) for name, part in vars(some[0]).items()
                if isinstance(part, Tensor)}  # fmt: skip
    seeds = [40 + b for b in rows]
    return said(model, Sampling(seed=seeds, backend=backend), replace(made, **together), who[rows])


@pytest.mark.parametrize("backend", TIERS)
@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_one_share_say_what_each_says_alone(kind: str, backend: Backend) -> None:
    model = model_of(kind)
    alone = torch.cat([spoken(model, backend, [b], 1) for b in range(ROWS)])
    assert torch.equal(spoken(model, backend, list(range(ROWS)), 1), alone)
    assert torch.equal(spoken(model, backend, list(range(ROWS)), 2), alone)
    assert torch.equal(spoken(model, backend, [3, 0], 1), alone[[3, 0]])
    assert not torch.equal(alone[0], alone[3])
    assert len(alone.unique()) > 100
