"""Folds: cut where it is quiet, every block said once by one fold, what is joined is what the folds said."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from vocoder_core.recurrent.draws import fold_seeds, stream_keys
from vocoder_core.recurrent.engine import Stream, TorchLoop
from vocoder_core.recurrent.folds import plan

sys.path.append(str(Path(__file__).parent))
from toy_voice import BLOCK, Cell, Told


def test_cuts_lie_in_the_pauses() -> None:
    loud = torch.ones(120)
    loud[33:40] = loud[75:84] = 0  # their middles: 36, 79
    _, first, second, _ = plan(loud, 3, 4).cuts
    assert 33 <= first < 40
    assert 75 <= second < 84


@pytest.mark.parametrize(("blocks", "count", "lead"), [(120, 4, 5), (121, 7, 3), (40, 8, 5), (3, 8, 5), (1, 2, 0)])
def test_every_fold_has_its_lead_and_says_its_own(blocks: int, count: int, lead: int) -> None:
    made = plan(torch.rand(blocks, generator=torch.Generator().manual_seed(blocks)), count, lead)
    assert made.cuts[0] == 0
    assert made.cuts[-1] == blocks
    assert len(made.starts) == len(made.cuts) - 1 <= count
    for start, first, last in zip(made.starts, made.cuts, made.cuts[1:]):
        assert first < last
        assert 0 <= start <= max(0, first - lead)
        assert start + made.length <= blocks
        assert start + made.length >= min(blocks, last + 1), "what is faded into the next"


def test_what_is_joined_is_what_the_folds_said() -> None:
    values = torch.randn(1, 60, 5, generator=torch.Generator().manual_seed(1))
    way, told = plan(values.abs().mean(2)[0], 4, 3), Told(values)
    stream = Stream(TorchLoop(Cell(4), 1.0), stream_keys(fold_seeds(5, 4), 4))
    said = stream(way.split(told)).float()
    joined = way.join(said, BLOCK)
    assert joined.shape == (60 * BLOCK,)
    for start, first, last, row in zip(way.starts, way.cuts, way.cuts[1:], said):
        own = joined[(first + (first > 0)) * BLOCK : last * BLOCK]  # after the fade
        assert torch.equal(own, row[(last - start) * BLOCK - len(own) :][: len(own)])
        if first:
            faded, before = joined[first * BLOCK : (first + 1) * BLOCK], row[(first - start) * BLOCK :][:BLOCK]
            other = said[way.cuts.index(first) - 1][(first - way.starts[way.cuts.index(first) - 1]) * BLOCK :][:BLOCK]
            weight = torch.tensor([0.2, 0.4, 0.6, 0.8])
            torch.testing.assert_close(faded, other * (1 - weight) + before * weight)
    alone = Stream(TorchLoop(Cell(1), 1.0), stream_keys(fold_seeds(5, 4)[2:3], 1))  # type: ignore[index]
    assert torch.equal(alone(told.cut(way.starts[2], way.starts[2] + way.length))[0].float(), said[2])


def test_one_fold_is_all_of_it() -> None:
    way = plan(torch.rand(50), 1, 5)
    assert (way.cuts, way.starts, way.length) == ((0, 50), (0,), 50)


def test_no_folds_are_refused() -> None:
    with pytest.raises(ValueError, match="folds is 0; expected 1 or more"):
        plan(torch.rand(50), 0, 5)


def test_seeds_of_folds_are_their_own_and_the_same_again() -> None:
    assert fold_seeds(3, 4) == fold_seeds(3, 4)
    assert len({*fold_seeds(3, 4), *fold_seeds(4, 4)}) == 8  # type: ignore[misc]
    assert fold_seeds(None, 4) is None
