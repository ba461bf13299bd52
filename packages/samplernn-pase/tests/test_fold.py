"""The folded network gives the unfolded one's logits, keeps what it does not multiply, and costs what fold.py says."""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from samplernn_pase.fold import Folded, Frame, folded, once
from samplernn_pase.generate import generate, told_of
from samplernn_pase.model import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.speaking import Sampling

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_networks.py
from drawn_networks import CONFIGS, FRAMES, HOP, content, network, pitch, teacher_forced, who

MILLION = 1e6


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def by_hand(net: Folded, model: SampleRNNPASE, wav: Tensor) -> np.ndarray:
    """Logits (T, Q) of the first row, in float64 numpy, from the folded weights alone and what training tells."""
    arrays = {name: {f.name: getattr(part, f.name).double().numpy() for f in fields(part)}
              for name, part in (("top", net.top), ("mid", net.mid), ("sample", net.sample))}  # fmt: skip
    before, _ = model.context
    raw = torch.cat([content(model, 1)[:, :1]] * before + [content(model, 1)], dim=1)
    track = pitch(model, 1)
    track = None if track is None else torch.cat([track[:, :1]] * before + [track], dim=1)
    told = model.told(torch.nn.functional.pad(wav[:1], (before * HOP, 0)), raw, track)
    past, codes, values = told.past[0].double().numpy(), told.codes[0].numpy(), told.values[0].double().numpy()
    conds = told_of(model, content(model, 1), who(model, 1), pitch(model, 1)).conds[0].double().numpy()
    classes, taps = model.config.labels.classes, model.config.ratios[0]
    states = {name: arrays[name]["first"] for name in ("top", "mid")}

    def step(name: str, frame: int, now: int, place: np.ndarray, entry: np.ndarray) -> np.ndarray:
        of, width = arrays[name], len(states[name])
        # past[c, u] is the sample before u
        gates = of["history"] @ past[:, now - frame + 1 : now + 1].reshape(-1) + of["conds"] @ place + entry
        product = of["recurrent"] @ states[name] + of["recurrent_bias"]
        r, z = np.split(sigmoid(gates[: 2 * width] + product[: 2 * width]), 2)
        n = np.tanh(gates[2 * width :] + r * product[2 * width :])
        states[name] = (1 - z) * n + z * states[name]
        return (of["spread"] @ states[name] + of["spread_bias"]).reshape(model.config.ratios[name == "top"], -1)

    out, of = [], arrays["sample"]
    for t in range(wav.shape[1]):
        now, place = before * HOP + t, conds[t // HOP]
        if t % HOP == 0:
            coarse = step("top", HOP, now, place, net.bias.double().numpy())
        if t % taps == 0:
            fine = step("mid", taps, now, place, coarse[t % HOP // taps])
        met = fine[t % taps] + of["conds"] @ place + values[now] @ of["values"]
        for k in range(taps):
            met = met + of["tables"][k * classes + codes[now - taps + 1 + k, 0]]
        for k in range(codes.shape[1] - 1):
            met = met + of["told"][k * classes + codes[now, 1 + k]]
        hidden = np.maximum(of["hidden"] @ np.maximum(met, 0) + of["hidden_bias"], 0)
        out.append(of["logits"] @ hidden + of["logits_bias"])
    return np.stack(out)


@pytest.mark.parametrize("kind", CONFIGS)
def test_logits_are_the_unfolded_networks(kind: str) -> None:
    """Of noise; weight norm, learned first states and biases are all in it."""
    model = network(kind)
    wav = 0.1 * torch.randn(2, FRAMES * HOP, generator=torch.Generator().manual_seed(4))
    logits, _ = teacher_forced(model, wav)
    with torch.no_grad():
        made = by_hand(folded(model), model, wav)
    assert logits[0].std() > 0.2
    np.testing.assert_allclose(made, logits[0].numpy(), atol=2e-5)


def test_what_is_not_multiplied_keeps_its_bits() -> None:
    """So that weights out of a file of 16-bit floats are still 16-bit floats when the kernel packs them."""
    model = network("add")
    net, mid = folded(model), model.mid
    own, recurrent, _, recurrent_bias = mid.rnn.all_weights[0]
    assert torch.equal(net.mid.recurrent, recurrent) and torch.equal(net.mid.recurrent_bias, recurrent_bias)
    places = net.mid.spread.unflatten(0, (20, -1))
    assert all(torch.equal(places[k], mid.spread.weight[:, k].t()) for k in range(20))
    assert torch.equal(net.sample.hidden, model.sample.hidden.weight)
    assert torch.equal(net.sample.logits, model.sample.logits.weight)
    assert not torch.equal(net.mid.history, own[:, :20])


def test_what_was_folded_serves_until_a_weight_changes() -> None:
    """However it changes: by an optimiser, a copy, or behind autograd's back."""
    made: list[torch.nn.Module] = []
    kept = once(lambda model: made.append(model) or len(made))
    one, other = deepcopy(network("add")), network("add")
    assert [kept(one), kept(one), kept(other), kept(one)] == [1, 1, 2, 1]
    one.mid.spread.weight.data[3, 2, 1] += 1e-6
    assert kept(one) == 3 and kept(one) == 3
    with torch.no_grad():
        one.top.first.copy_(one.top.first + 1)
    assert kept(one) == 4 and kept(other) == 2
    before = generate(one, content(one), None, None, None, Sampling(seed=1))
    one.sample.logits.bias.data += torch.linspace(0, 3, 256)
    assert not torch.equal(generate(one, content(one), None, None, None, Sampling(seed=1)), before)


def unfolded_products(model: SampleRNNPASE) -> dict[str, float]:
    """Multiplications a sample of the modules as they are trained, each weight as often as its tier steps."""

    def size(*layers: torch.nn.Module | None) -> int:
        return sum(layer.weight.numel() for layer in layers if layer is not None)

    def frame(tier: torch.nn.Module) -> int:
        return size(tier.expand, tier.conds, tier.spread) + sum(w.numel() for w in tier.rnn.all_weights[0][:2])

    said = model.sample
    sample = size(said.history, said.conds, said.combine, said.hidden, said.logits)
    return {"top": frame(model.top) / 80, "mid": frame(model.mid) / 20, "sample": sample}


def folded_products(net: Folded, hop: int, taps: int) -> dict[str, float]:
    """The same of the folded network: conds once a frame; a row of a table that is added counts as a product each."""

    def frame(of: Frame, steps: int) -> float:
        return (of.history.numel() + of.recurrent.numel() + of.spread.numel()) / steps + of.conds.numel() / hop

    said = net.sample
    rows = taps * said.tables.shape[1]
    sample = rows + said.conds.numel() / hop + said.hidden.numel() + said.logits.numel()
    return {"top": frame(net.top, hop), "mid": frame(net.mid, taps), "sample": sample}


@pytest.mark.slow
def test_a_sample_costs_a_quarter_of_the_products() -> None:
    """The table in fold.py, counted in the tensors themselves at the paper's sizes."""
    config = replace(SampleRNNPASEConfig(), speaker=SpeakerConfig(provider="none", size=0))
    model = SampleRNNPASE(config)
    before = unfolded_products(model)
    after = folded_products(folded(model), 80, 20)
    assert before == pytest.approx({"top": 133e3, "mid": 1367e3, "sample": 9748e3}, rel=0.003)
    assert after == pytest.approx({"top": 202e3, "mid": 1211e3, "sample": 1331e3}, rel=0.003)
    assert sum(before.values()) == pytest.approx(11.25 * MILLION, rel=0.001)
    assert sum(after.values()) == pytest.approx(2.744 * MILLION, rel=0.001)


def test_costs_scale_as_the_table_says() -> None:
    """At a sixteenth of the width, which is quick: the same counts in closed form."""
    config = replace(SampleRNNPASEConfig(), speaker=SpeakerConfig(provider="none", size=0), hidden_size=64)
    model, h, c, e, q = SampleRNNPASE(config), 64, 50, 256, 256
    before, after = unfolded_products(model), folded_products(folded(model), 80, 20)
    assert before["sample"] == 20 * e * h + c * h + 3 * h * h + h * h + h * q
    assert before["mid"] == pytest.approx((20 * h + c * h + 6 * h * h + 20 * h * h) / 20)
    assert before["top"] == pytest.approx((80 * h + c * h + 6 * h * h + 4 * h * h) / 80)
    assert after["sample"] == pytest.approx(20 * h + c * h / 80 + h * h + h * q)
    assert after["mid"] == pytest.approx((3 * h * 20 + 3 * h * h + 20 * h * h) / 20 + 3 * h * c / 80)
    assert after["top"] == pytest.approx((3 * h * 80 + 3 * h * h + 12 * h * h) / 80 + 3 * h * c / 80)
