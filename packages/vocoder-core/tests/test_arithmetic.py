"""What a sample costs, counted by hand, beside a speed; and what a core reads, within what any core does."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vocoder_core import timing
from vocoder_core.recurrent import arithmetic
from vocoder_core.recurrent.arithmetic import Met
from vocoder_core.recurrent.integers import matrices
from vocoder_core.recurrent.streams import pack


def test_costs_are_counted_by_hand() -> None:
    """A matrix (3, 4) and a matrix (5, 8) of which every other row is met, in 4 bytes, 2 and 1; and rows of a table."""
    weights, row = [torch.randn(3, 4), torch.randn(5, 8)], np.zeros(6, np.float32)
    floats = pack(*weights)
    found = arithmetic.cost(map(Met, floats, (1, 0.5)), [row])
    assert found == (4 * (12 + 20), 24, 12 + 20, np.dtype(np.float32))
    whole = matrices([(weight, True) for weight in weights], "int16", 0)
    assert arithmetic.cost(map(Met, whole, (1, 0.5)), [row, row]) == (2 * (12 + 20), 48, 12 + 20, np.dtype(np.int16))
    whole = matrices([(weight, True) for weight in weights], "int8", 0)
    assert arithmetic.cost(map(Met, whole))[:3] == (12 + 40, 0, 12 + 40)


def test_weights_that_several_vectors_of_a_stream_meet_are_read_once() -> None:
    """(5, 8) once in four samples, by four vectors at a time; with a matrix of another kind, most are in 4 bytes."""
    (whole,) = matrices([(torch.randn(3, 4), True)], "int8", 0)
    met = [Met(pack(torch.randn(5, 8))[0], 1 / 4, 4), Met(whole)]
    assert arithmetic.cost(met) == (4 * 40 // 4 + 12, 0, 40 + 12, np.dtype(np.float32))


def test_what_fills_up_a_panel_is_read_and_is_no_product() -> None:
    """3 rows in a panel of 64 or of 32."""
    for lanes in (16, 8):
        (panel,) = matrices([(torch.randn(3, 8), True)], "int8", lanes, 0)
        assert arithmetic.cost([Met(panel)])[:3] == (4 * lanes * 8, 0, 24)


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.int8])
def test_a_core_reads_weights_of_every_kind(kind: type) -> None:
    assert 1e7 < arithmetic.reading(2**20, np.dtype(kind)) < 1e13


def test_speeds_are_told_beside_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """300 samples a second of three streams that share 2 MB each: 0.2 GB/s, a tenth of 2 GB/s."""
    kind = np.dtype(np.int8)
    monkeypatch.setattr(arithmetic, "reading", lambda *key: {(2_000_000, kind): 2e9}[key])
    costs = {"a": (arithmetic.Cost(2_000_000, 5_000, 1_999_000, kind), 3)}
    rates = {"a": [1.0, 300.0, 1000.0], "b": [1.0]}
    columns = arithmetic.columns(rates, costs)
    assert columns == {"a": ["2", "5", "1,999,000", "0.2", "10%"], "b": ["-"] * 5}
    lines = timing.samples_table(rates, 100, arithmetic.HEAD, columns).splitlines()
    assert lines[2] == "| a | 300 (1 - 1,000) | 3 | 0.333 | 2 | 5 | 1,999,000 | 0.2 | 10% |"
    assert len({line.count("|") for line in lines}) == 1
