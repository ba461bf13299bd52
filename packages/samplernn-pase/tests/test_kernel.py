"""The kernels' arithmetic against numpy and torch, and what a sample reads."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase.fold import Frame
from samplernn_pase.loops import rows_of
from samplernn_pase.model import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.speaker import SpeakerConfig

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_networks.py
from drawn_networks import network


@pytest.mark.parametrize("count", [0, 1, 3, 4, 7, 20])
def test_rows_of_tables_are_added_up(count: int) -> None:
    from samplernn_pase.kernel import add_rows

    rng = np.random.default_rng(0)
    table = rng.standard_normal((count * 16, 9)).astype(np.float32)
    codes, out = rng.integers(0, 16, count), rng.standard_normal(9).astype(np.float32)
    expected = out + table.reshape(count, 16, 9)[np.arange(count), codes].sum(0)
    add_rows(table, codes, 16, out)
    np.testing.assert_allclose(out, expected, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 2])
def test_a_step_of_a_frame_tier_is_torchs_gru(channels: int) -> None:
    """Its gates' input is the past, channel after channel, plus what comes from above; conds are added apart."""
    from samplernn_pase.kernel import Tier, step

    rng, h, frame = np.random.default_rng(1), 7, 5
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    cell = torch.nn.GRUCell(channels * frame, h)
    history, recurrent, bias, recurrent_bias = (p.detach().numpy() for p in cell.parameters())
    spread, spread_bias, hidden, place, heard = draw(3 * h, h), draw(3 * h), draw(h), draw(3 * h), draw(channels, 30)
    vectors = np.empty(3 * h, np.float32)
    tier = Tier(history, draw(3 * h, 2), recurrent, recurrent_bias, spread, spread_bias, hidden.copy(), place, vectors)
    with torch.no_grad():
        cell.bias_ih.add_(torch.from_numpy(place))
        past = torch.from_numpy(np.concatenate([row[12:17] for row in heard]))
        expected = cell(past[None], torch.from_numpy(hidden)[None])[0].numpy()
    step(tier, bias - place, heard, 17)
    np.testing.assert_allclose(tier.hidden, expected, atol=1e-5)
    np.testing.assert_allclose(tier.vectors, spread @ expected + spread_bias, atol=1e-5)


def test_tiers_step_when_they_are_due() -> None:
    """top at 0, mid at 0, 20, 40, 60; every sample its own vector."""
    from samplernn_pase.kernel import hear

    top, mid, mouth, bias = rows_of(network("concat"), 1)[0]
    heard, conds = np.zeros((1, 160), np.float32), np.ones(6, np.float32)
    states, vectors = [], []
    for t in range(80):
        vectors.append(hear(t, top, mid, mouth, bias, conds, heard, 80 + t).copy())
        states.append((top.hidden.copy(), mid.hidden.copy()))
    changed = [[t for t in range(1, 80) if not np.array_equal(states[t][k], states[t - 1][k])] for k in (0, 1)]
    assert changed == [[], [20, 40, 60]]
    assert len(np.unique(np.stack(vectors), axis=0)) == 80
    np.testing.assert_allclose(mouth.place, mouth.conds.sum(1), atol=1e-5)


def test_rows_share_weights_and_have_states_of_their_own() -> None:
    one, two = rows_of(network("add"), 2)
    for mine, other in zip(one[:3], two[:3]):
        assert mine[0] is other[0] and mine[-1] is not other[-1]
    assert one[0].hidden is not two[0].hidden and np.array_equal(one[0].hidden, two[0].hidden)


@pytest.mark.slow
def test_a_sample_reads_two_million_weights() -> None:
    """The table of kernel.py at the paper's sizes: half of the features are positive."""
    model = SampleRNNPASE(replace(SampleRNNPASEConfig(), speaker=SpeakerConfig(provider="none", size=0)))
    top, mid, mouth, _ = rows_of(model, 1)[0]

    def steps(tier: Frame, every: int) -> float:
        return (tier.history.size + tier.recurrent.size + tier.spread.size) / every

    read = 20 * mouth.tables.shape[1] + (mouth.hidden.size + mouth.logits.size) / 2 + steps(top, 80) + steps(mid, 20)
    assert read == pytest.approx(2.088e6, rel=0.005)
    assert mouth.tables.nbytes == pytest.approx(21e6, rel=0.01)
