"""What a sample costs."""

from __future__ import annotations

import pytest

from vqvaevc.model import VQVAEVC, VQVAEVCConfig

MILLION = 1e6


def test_a_sample_costs_six_million_products_where_the_original_needs_ten() -> None:
    """Counted in the packed weights, each as often as its network steps."""
    from vqvaevc.packed import net_of

    net = net_of(VQVAEVC(VQVAEVCConfig(speakers=("one", "two"))))
    ears = sum((2 * ear.first.size + ear.second.size) / rate for ear, rate in zip(net.ears, (4, 16, 64)))
    uppers = [(own.size + recurrent.size + spread.size, on.size) for own, recurrent, _, spread, _, on in net.uppers]
    upper = sum((each + 4 * on) / rate for (each, on), rate in zip(uppers, (64, 16, 4)))
    recurrent, linear, logits = net.recurrent, *(sum(x.size for x in part) for part in (net.linear, net.logits))
    products = ears + upper + recurrent.size + linear + logits
    assert products == pytest.approx(6.03 * MILLION, rel=0.002)
    twice = 2 * (2688 * 624 + 2688 * 896)  # both bytes by a GRU of their own, speakers (109) as columns
    original = twice + linear + logits + (2_985_000 / 4 + 2_985_000 / 16 + 2_396_000 / 64) + ears
    assert original == pytest.approx(10.51 * MILLION, rel=0.02)
