"""The same network with everything that is linear multiplied out beforehand: exact, and a quarter of the products.

No nonlinearity stands between an upsampler and what reads its vectors, between a code's embedding and the layer its
history meets in, between what a frame tier reads and its GRU's gates. So (for `add` W_s, W_u and W_c below are 1)

    history    20 tables (Q, H): the code k places before adds row table[k, code]        embedding, 20 taps, W_s
    mid        20 matrices (H, H): its state at place k of the frame                     upsampler, W_u
    top        4 matrices (3H, H): its state -> gates of the mid tier's next four steps  upsampler, W_ih
    both       gates (3H, 80), (3H, 20) of the past and (3H, C) of conds                 linear maps, W_ih
    biases     in one place: where the upper tier's vectors arrive

Multiplications a sample, thousands, for H = 1024, Q = 256, ratios (20, 4), conds of 50:

                  top    mid   sample     sum
    unfolded      133   1367     9748   11248
    folded        202   1211     1331    2744

Folding costs seconds at this size; what was made of a model serves until one of its weights changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .model import SampleRNNPASE
    from .tiers import FrameTier, SampleTier


Made = TypeVar("Made")


def once(make: Callable[[Any], Made]) -> Callable[[nn.Module], Made]:
    """make(model), made anew only when a weight is another, or has another value."""
    known: WeakKeyDictionary[nn.Module, tuple[object, Made]] = WeakKeyDictionary()

    @wraps(make)
    def again(model: nn.Module) -> Made:
        now = [
            (p.data_ptr(), p.detach().float().view(torch.int32).sum(dtype=torch.int32).item())
            for p in model.parameters()
        ]
        if model not in known or known[model][0] != now:
            known[model] = now, make(model)
        return known[model][1]

    return again


@dataclass(frozen=True)
class Frame:
    """A frame tier: gates = past @ history.T + conds @ conds.T + what the upper tier, or `Folded.bias`, adds."""

    history: Tensor  # (3H, frame)
    conds: Tensor  # (3H, C)
    recurrent: Tensor  # (3H, H)
    recurrent_bias: Tensor  # (3H,)
    spread: Tensor  # (r E, H): to the tier below at its next r steps, E = 3H gates of the mid tier, or H
    spread_bias: Tensor  # (r E,): and all that these have in common
    first: Tensor  # (H,): the state before an utterance


@dataclass(frozen=True)
class Sample:
    """The sample tier: rows of tables, values @ values, conds @ conds.T, the mid tier's vector -> hidden -> logits."""

    tables: Tensor  # (taps Q, H): of the oldest code first
    told: Tensor  # (k Q, H): of the further codes
    values: Tensor  # (I, H)
    conds: Tensor  # (H, C)
    hidden: Tensor  # (H, H)
    hidden_bias: Tensor  # (H,)
    logits: Tensor  # (Q, H)
    logits_bias: Tensor  # (Q,)


@dataclass(frozen=True)
class Folded:
    """All of it, float32; made in float64, so that what is not multiplied keeps its bits."""

    bias: Tensor  # (3H,): all that the top tier's gates have in common
    top: Frame
    mid: Frame
    sample: Sample


@torch.no_grad()
def folded(model: SampleRNNPASE) -> Folded:
    """The network of a model, folded."""
    own, upper, below, place = met(model.sample)
    gates, gates_bias = entered(model.mid)
    top = frame(model.top, gates, gates_bias)
    mid = frame(model.mid, upper, below)
    return Folded(entered(model.top)[1].float(), top, mid, sample(model.sample, own, place))


def frame(tier: FrameTier, on: Tensor | None, on_bias: Tensor) -> Frame:
    """A frame tier whose vectors y the tier below reads as on @ y + on_bias, (E, H) and (E,); None: y + on_bias."""
    inputs, recurrent, _, recurrent_bias = (each.double() for each in tier.rnn.all_weights[0])
    spread = through(tier.spread.weight.double(), on).permute(1, 2, 0).flatten(0, 1)  # (H, r, E) -> (r E, H)
    spread_bias = (through(tier.spread.bias.double(), on) + on_bias).flatten()
    parts = (inputs @ tier.expand.weight.double(), inputs @ tier.conds.weight.double(), recurrent, recurrent_bias)
    return Frame(*(each.float() for each in (*parts, spread, spread_bias, tier.first[0])))


def entered(tier: FrameTier) -> tuple[Tensor, Tensor]:
    """W_ih of a frame tier (3H, H), and all that its gates have in common (3H,)."""
    inputs, _, bias, _ = (each.double() for each in tier.rnn.all_weights[0])
    common = tier.expand.bias.double() + tier.conds.bias.double()
    return inputs, inputs @ common + bias


def met(tier: SampleTier) -> tuple[Tensor | None, Tensor | None, Tensor, Tensor | None]:
    """Where a sample tier's inputs meet: W_s, W_u (H, H), all that they have in common (H,), and W_c; None: 1."""
    common = tier.conds.bias.double()
    if tier.combine is None:
        return None, None, common, None
    own, place, upper = tier.combine.weight.double().chunk(3, dim=1)
    return own, upper, place @ common + tier.combine.bias.double(), place


def sample(tier: SampleTier, own: Tensor | None, place: Tensor | None) -> Sample:
    """A sample tier with W_s and W_c multiplied in."""
    taps = tier.history.weight.double().unflatten(1, (tier.taps, -1))  # (H, taps, E)
    taps = through(taps.permute(1, 2, 0), own)  # (taps, E, H)
    tables = (tier.embedding.weight.double() @ taps).flatten(0, 1)
    told = [through(table.get_parameter("weight").double(), own) for table in tier.told]
    values = tables[:0] if tier.values is None else through(tier.values.weight.double().t(), own)
    conds = through(tier.conds.weight.double().t(), place).t()
    hidden, logits = ((linear.weight, linear.bias) for linear in (tier.hidden, tier.logits))
    parts = (tables, torch.cat(told) if told else tables[:0], values, conds, *hidden, *logits)
    return Sample(*(each.float() for each in parts))


def through(vectors: Tensor, weight: Tensor | None) -> Tensor:
    """Vectors (..., H) multiplied by a weight (E, H); None: as they are."""
    return vectors if weight is None else vectors @ weight.t()
