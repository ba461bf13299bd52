"""What the refactor of the paper's code lost, for two test files: promises about it, and what was done instead.

D1 the sign of a decoded sample    D2 states from chunk to chunk    D6 the paper's init    D7 the order of words
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from math import sqrt
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from samplernn_pase import SampleRNNPASE, labels
from samplernn_pase.labels import LabelConfig
from samplernn_pase.tiers import FrameTier, SampleTier

sys.path.append(str(Path(__file__).parent))
from noise_world import MODEL

OF_WAVE, BEGIN, TIER = labels.of_wave, FrameTier.begin, SampleTier.__init__
SETS = "linguistic.VOCABULARIES = {name: list(set(words)) for name, words in linguistic.VOCABULARIES.items()}"


# ---- D1, D2


def rectified(wav: Tensor, config: LabelConfig, noise: Tensor | None = None) -> Any:
    told = OF_WAVE(wav, config, noise)
    return replace(told, past=told.past.abs())


def always_anew(self: FrameTier, state: Tensor | None, reset: Tensor | None, rows: int) -> Tensor:
    return BEGIN(self, None, None, rows)


# ---- D6


def every_layer_begins_as_the_papers(_: Any) -> None:
    """Kaiming's and LeCun's bounds, reached; biases zero where the paper set them so, torch's own where it did not."""
    torch.manual_seed(1)
    size = 64
    made = SampleRNNPASE(replace(MODEL, hidden_size=size, conds_size=50))
    for tier, frame in ((made.top, 80), (made.mid, 20)):
        bounded(tier.expand.weight, sqrt(6 / frame))
        bounded(tier.conds.weight, sqrt(6 / 50))
        bounded(tier.spread.weight, sqrt(6 / size))
        recurrent = tier.rnn.weight_hh_l0.chunk(3)
        for block in (*tier.rnn.weight_ih_l0.chunk(3), *recurrent[:2]):
            bounded(block, sqrt(3 / size))
        torch.testing.assert_close(recurrent[2] @ recurrent[2].T, torch.eye(size), rtol=0, atol=1e-5)
        zero = (
            tier.expand.bias,
            tier.conds.bias,
            tier.spread.bias,
            tier.rnn.bias_ih_l0,
            tier.rnn.bias_hh_l0,
            tier.first,
        )
        assert not any(tensor.any() for tensor in zero)
    sample, combine = made.sample, made.sample.combine
    assert isinstance(combine, nn.Linear)
    bounded(sample.history.weight, sqrt(6 / (20 * 4)))
    bounded(sample.hidden.weight, sqrt(6 / size))
    bounded(sample.logits.weight, sqrt(3 / size))
    bounded(combine.weight, 1 / sqrt(3 * size))
    bounded(combine.bias, 1 / sqrt(3 * size), 0.8)
    assert not sample.hidden.bias.any() and not sample.logits.bias.any()


def bounded(tensor: Tensor, bound: float, reached: float = 0.97) -> None:
    """Uniform in +-bound, as far as its ends tell."""
    assert reached * bound < float(tensor.detach().abs().max()) <= bound * (1 + 1e-6)


def other_init(self: SampleTier, *sizes: Any, **settings: Any) -> None:
    TIER(self, *sizes, **settings)
    fresh = nn.Linear(*self.hidden.weight.shape)
    with torch.no_grad():
        self.hidden.weight = fresh.weight.detach()
        self.hidden.bias.copy_(fresh.bias)
        assert self.combine is not None
        nn.init.kaiming_uniform_(self.combine.weight)
        self.combine.bias.zero_()


# ---- D7

ORDER = """
from samplernn_pase import linguistic
{before}
print([list(linguistic.VOCABULARIES[name]) for name in ("phonemes", "vowels", "gpos", "tobi")])
"""
BEFORE = ""


def words_have_their_places_in_every_process(_: Any) -> None:
    told = set()
    for seed in ("1", "2"):
        command = [sys.executable, "-c", ORDER.format(before=BEFORE)]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told.add(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
    assert len(told) == 1
