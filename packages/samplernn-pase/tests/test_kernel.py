"""The kernels' arithmetic against numpy and torch, and what a sample reads."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from samplernn_pase.fold import Frame
from samplernn_pase.model import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.packed import Packed
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
    from samplernn_pase.kernel import Steps, Tier, step

    rng, h, frame, rows = np.random.default_rng(1), 7, 5, 3
    draw = lambda *shape: rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    cell = torch.nn.GRUCell(channels * frame, h)
    history, recurrent, bias, recurrent_bias = (p.detach().numpy() for p in cell.parameters())
    spread, spread_bias, heard = draw(3 * h, h), draw(3 * h), draw(rows, channels, 30)
    hidden, place, upper = draw(rows, h), draw(rows, 3 * h), draw(rows, 6 * h)[:, h : 4 * h]
    tier = Tier(history, bias, draw(3 * h, 2), recurrent, recurrent_bias, spread, spread_bias)
    room = [np.empty((rows, size), np.float32) for size in (3 * h, channels * frame, 3 * h, 3 * h)]
    own = Steps(hidden.copy(), room[0], place, *room[1:])
    with torch.no_grad():
        gates = torch.from_numpy(heard[:, :, 12:17].reshape(rows, -1)) @ cell.weight_ih.t() + cell.bias_ih
        gates = gates + torch.from_numpy(place + upper)
        identity = torch.nn.GRUCell(3 * h, h)
        identity.weight_ih.copy_(torch.eye(3 * h))
        identity.bias_ih.zero_()
        identity.weight_hh.copy_(cell.weight_hh)
        identity.bias_hh.copy_(cell.bias_hh)
        expected = identity(gates, torch.from_numpy(hidden)).numpy()
    step(tier, own, upper, heard, 17)
    np.testing.assert_allclose(own.hidden, expected, atol=1e-5)
    np.testing.assert_allclose(own.vectors, expected @ spread.T + spread_bias, atol=1e-5)


def test_tiers_step_when_they_are_due() -> None:
    """top at 0, mid at 0, 20, 40, 60; every sample its own vector."""
    from samplernn_pase.kernel import advance_waves

    packed = Packed(network("concat"), 1)
    net, work = packed.net, packed.work(slice(0, 1))
    lines, conds = (np.full((1, 160), 128), np.zeros((1, 1, 160), np.float32)), np.ones((1, 1, 6), np.float32)
    states, met = [], []
    for t in range(80):
        advance_waves(net, work, conds, lines, t, 0)
        met.append(work.met[0].copy())
        states.append((work.top.hidden.copy(), work.mid.hidden.copy()))
    changed = [[t for t in range(1, 80) if not np.array_equal(states[t][k], states[t - 1][k])] for k in (0, 1)]
    assert changed == [[], [20, 40, 60]]
    assert len(np.unique(np.stack(met), axis=0)) == 80
    np.testing.assert_allclose(work.place[0], net.mouth.conds.sum(1), atol=1e-5)


def test_rows_share_weights_and_have_states_of_their_own() -> None:
    model = network("add")
    one, other = Packed(model, 3), Packed(model, 1)
    assert one.net is other.net
    first, second = one.work(slice(0, 2)), one.work(slice(2, 3))
    assert (len(first.top.hidden), len(second.top.hidden)) == (2, 1)
    for tier, states in ((model.top, first.top), (model.mid, first.mid)):
        np.testing.assert_array_equal(states.hidden, tier.first.detach().numpy().repeat(2, axis=0))
    first.top.hidden[:] = 7
    assert (second.top.hidden != 7).all() and (one.work(slice(0, 1)).top.hidden != 7).all()


@pytest.mark.slow
def test_a_sample_reads_two_million_weights() -> None:
    """The table of kernel.py at the paper's sizes: half of the features are positive."""
    model = SampleRNNPASE(replace(SampleRNNPASEConfig(), speaker=SpeakerConfig(provider="none", size=0)))
    top, mid, mouth = Packed(model, 1).net[:3]

    def steps(tier: Frame, every: int) -> float:
        return (tier.history.size + tier.recurrent.size + tier.spread.size) / every

    read = 20 * mouth.tables.shape[1] + (mouth.hidden.size + mouth.logits.size) / 2 + steps(top, 80) + steps(mid, 20)
    assert read == pytest.approx(2.088e6, rel=0.005)
    assert mouth.tables.nbytes == pytest.approx(21e6, rel=0.01)
