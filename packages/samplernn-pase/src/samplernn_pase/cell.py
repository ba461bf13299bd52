"""One sample in torch, twice: the definition, and what fold.py makes of it.

Cell         the network as it is trained, by its own modules: the definition
FoldedCell   the same by the folded network: a quarter of the products; on CUDA the host never waits

    t            0           20          40          60         of a block: one frame
    top tier     coarse                                         4 vectors, one for each step of the mid tier
    mid tier     fine        fine        fine        fine       20 vectors, one for each sample
    sample tier  said said said ...                             logits of every sample
"""

from __future__ import annotations

from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from .fold import Frame, folded, once
from .tellers import Frames, teller

Module = TypeVar("Module", bound=nn.Module)


class Steps:
    """p(x[t] | what was said, conds), one t after another, of B rows: what both cells do. Any device."""

    draws = 1

    def __init__(self, model: Any, rows: int) -> None:
        self.block, self.taps = model.config.mel.hop_length, model.sample.taps
        self.top, self.mid = (tier.begin(None, None, rows)[0].detach() for tier in (model.top, model.mid))
        self.teller = teller(model.config.labels, rows, self.block, self.top.device)

    def begin(self, told: Frames) -> None:
        """A frame begins."""
        self.t, self.conds = 0, told.conds
        self.teller.begin(told, told.count * self.block)

    def logits(self, k: int) -> Tensor:
        """Logits (B, Q) of the next sample, after the steps that are due."""
        if self.t == 0:
            self.upper = self.coarse()
        if self.t % self.taps == 0:
            self.vectors = self.fine(self.upper[:, self.t // self.taps])
        return self.said(self.vectors[:, self.t % self.taps])

    def coarse(self) -> Tensor:
        """What the top tier gives the mid tier (B, 4, E) for its next four steps."""
        raise NotImplementedError

    def fine(self, upper: Tensor) -> Tensor:
        """What the mid tier gives the next 20 samples (B, 20, H), by one of these (B, E)."""
        raise NotImplementedError

    def said(self, upper: Tensor) -> Tensor:
        """Logits (B, Q), by one of these (B, H)."""
        raise NotImplementedError

    def take(self, label: Tensor) -> None:
        """The sample's label (B,) is drawn."""
        self.teller.take(label)
        self.t += 1

    def end(self) -> Tensor:
        """The frame's wave (B, hop)."""
        return self.teller.end()

    def state(self) -> list[Tensor]:
        """What is remembered: the tiers' states (B, H), and what was said."""
        return [self.top, self.mid, *self.teller.state()]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        self.top, self.mid, *said = state
        self.teller.resume(said)


class Cell(Steps):
    """By the modules of the network themselves."""

    def __init__(self, model: Any, rows: int) -> None:
        super().__init__(model, rows)
        self.tiers = plain(model.top), plain(model.mid)
        self.sample = plain(model.sample)

    def coarse(self) -> Tensor:
        """See Steps; E = H."""
        vectors, state = self.tiers[0](self.teller.past(self.block)[:, None], self.conds, None, self.top[None])
        self.top = state[0]
        return vectors

    def fine(self, upper: Tensor) -> Tensor:
        """See Steps."""
        past = self.teller.past(self.taps)[:, None]
        vectors, state = self.tiers[1](past, self.conds, upper[:, None], self.mid[None])
        self.mid = state[0]
        return vectors

    def said(self, upper: Tensor) -> Tensor:
        """See Steps."""
        values, told = self.teller.told()
        codes = F.pad(self.teller.window(self.taps)[..., None], (0, told.shape[1]))
        codes[:, -1, 1:] = told
        made: Tensor = self.sample(codes, values[:, None], self.conds, upper[:, None])
        return made[:, 0]


class FoldedCell(Steps):
    """By the folded network."""

    def __init__(self, model: Any, rows: int) -> None:
        super().__init__(model, rows)
        self.net = _folded(model)
        classes, told = model.config.labels.classes, model.config.labels.told
        self.places = torch.arange(self.taps + told, device=self.top.device) * classes
        self.tables = torch.cat([self.net.sample.tables, self.net.sample.told])
        self.logits_of = self.net.sample.logits.t().contiguous()

    def coarse(self) -> Tensor:
        """See Steps; E = 3H, gates of the mid tier."""
        self.top, vectors = self._step(self.net.top, self.block, self.net.bias, self.top)
        return vectors.unflatten(1, (-1, 3 * self.mid.shape[1]))

    def fine(self, upper: Tensor) -> Tensor:
        """See Steps; with what conds add to a sample."""
        self.mid, vectors = self._step(self.net.mid, self.taps, upper, self.mid)
        place = F.linear(self.conds[:, 0], self.net.sample.conds)
        return vectors.unflatten(1, (-1, place.shape[1])) + place[:, None]

    def said(self, upper: Tensor) -> Tensor:
        """See Steps."""
        values, told = self.teller.told()
        rows = torch.cat([self.teller.window(self.taps), told], dim=1) + self.places
        net, met = self.net.sample, upper + F.embedding(rows, self.tables).sum(1)
        if values.shape[1]:
            met = torch.addmm(met, values, net.values)
        return torch.addmm(net.logits_bias, F.relu(F.linear(F.relu(met), net.hidden, net.hidden_bias)), self.logits_of)

    def _step(self, net: Frame, frame: int, upper: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The state (B, H) after a step of a frame tier, and its vectors (B, r E); upper (B, 3H) or (3H,)."""
        entry = F.linear(self.teller.past(frame), net.history) + F.linear(self.conds[:, 0], net.conds) + upper
        product, width = F.linear(hidden, net.recurrent, net.recurrent_bias), hidden.shape[1]
        reset, keep = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
        fresh = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
        hidden = torch.lerp(fresh, hidden, keep)
        return hidden, F.linear(hidden, net.spread, net.spread_bias)


def plain(module: Module) -> Module:
    """The same module on the same weights, weight norm multiplied out once: it would be again for every sample."""
    made: Module = object.__new__(type_before_parametrizations(module))
    made.__dict__ = module.__dict__ | {"_parameters": dict(module._parameters)}
    modules = dict(module._modules)
    normed: Any = modules.pop("parametrizations", ())
    for name in normed:
        made._parameters[name] = nn.Parameter(getattr(module, name).detach(), requires_grad=False)
    made._modules = {name: None if child is None else plain(child) for name, child in modules.items()}
    return made


_folded = once(folded)
