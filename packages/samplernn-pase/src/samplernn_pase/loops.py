"""The three ways to say sample after sample.

TorchLoop    the definition: the network as it is trained, one sample at a time. Any device, whole batch at once.
FoldedLoop   the same by what fold.py makes of it: a quarter of the products; on CUDA the host never waits.
NumbaLoop    the kernels of kernel.py: CPU, one stream per row, rows side by side on threads.

Each begins in silence, goes on by whole frames, and carries its state from call to call, so that any split into calls
gives the same samples:

    loop = NumbaLoop(model, rows, temperature)
    wav = loop(frames.cut(0, 4), uniforms[:, :320])     # (B, 320)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.parametrize import cached

from vocoder_core import excitation
from vocoder_core.recurrent.draws import LEAST_TEMPERATURE, draw
from vocoder_core.recurrent.integers import Tier as Whole
from vocoder_core.recurrent.integers import matrices
from vocoder_core.recurrent.streams import compile_aloud, pack, side_by_side

from . import labels
from .fold import Frame, Sample, folded, once
from .tellers import Frames, teller


class TorchLoop:
    """p(x[t] | what was said, conds) one t after another, by the modules of the network themselves."""

    def __init__(self, model: Any, rows: int, temperature: float) -> None:
        self.model, self.temperature, self.hop = model, temperature, model.config.mel.hop_length
        self.top, self.mid = (tier.begin(None, None, rows) for tier in (model.top, model.mid))
        self.teller = teller(model.config.labels, rows, self.hop, self.top.device)

    def __call__(self, frames: Frames, uniforms: np.ndarray) -> Tensor:
        """Waves (B, K hop) of the next K frames; uniforms (B, K hop) in [0, 1)."""
        draws = torch.from_numpy(uniforms).to(frames.conds.device)
        with cached():  # weight norm is computed once
            said = [self.frame(frames.cut(k, k + 1), draws[:, k * self.hop : (k + 1) * self.hop])
                    for k in range(frames.count)]  # fmt: skip
        return torch.cat(said, dim=1) if said else frames.conds.new_zeros(len(uniforms), 0)

    def frame(self, told: Frames, draws: Tensor) -> Tensor:
        """Waves (B, hop)."""
        self.teller.begin(told, self.hop)
        taps = self.model.sample.taps
        for t in range(self.hop):
            if t == 0:
                coarse = self.coarse(told.conds)
            if t % taps == 0:
                fine = self.fine(told.conds, coarse[:, t // taps])
            logits = self.logits(told.conds, fine[:, t % taps])
            self.teller.take(self.draw(logits, draws[:, t]))
        return self.teller.end()

    def draw(self, logits: Tensor, uniforms: Tensor) -> Tensor:
        """Labels (B,) of logits (B, Q), by uniforms (B,)."""
        return draw(logits, uniforms, self.temperature)

    def coarse(self, conds: Tensor) -> Tensor:
        """The top tier's vectors (B, 4, H) by conds (B, 1, C)."""
        past = self.teller.past(self.hop)[:, None]
        vectors, self.top = self.model.top(past, conds, None, self.top)
        return vectors

    def fine(self, conds: Tensor, upper: Tensor) -> Tensor:
        """The mid tier's vectors (B, 20, H) by conds and one of the top tier's (B, H)."""
        past = self.teller.past(self.model.sample.taps)[:, None]
        vectors, self.mid = self.model.mid(past, conds, upper[:, None], self.mid)
        return vectors

    def logits(self, conds: Tensor, upper: Tensor) -> Tensor:
        """Logits (B, Q) of the next sample, by conds and one of the mid tier's vectors (B, H)."""
        values, told = self.teller.told()
        window = self.teller.window(self.model.sample.taps)
        codes = F.pad(window[..., None], (0, told.shape[1]))
        codes[:, -1, 1:] = told
        made: Tensor = self.model.sample(codes, values[:, None], conds, upper[:, None])
        return made[:, 0]


class FoldedLoop(TorchLoop):
    """The same by the folded network."""

    def __init__(self, model: Any, rows: int, temperature: float) -> None:
        super().__init__(model, rows, temperature)
        self.net = _folded(model)
        self.top, self.mid = self.top[0], self.mid[0]
        classes, taps = model.config.labels.classes, model.sample.taps
        self.places = torch.arange(taps + model.config.labels.told, device=self.top.device) * classes
        self.tables = torch.cat([self.net.sample.tables, self.net.sample.told])
        self.logits_of = self.net.sample.logits.t().contiguous()

    def coarse(self, conds: Tensor) -> Tensor:
        """Gates (B, 4, 3H) that the mid tier's next four steps have of the top tier."""
        self.top, vectors = self._step(self.net.top, self.hop, conds[:, 0], self.net.bias, self.top)
        return vectors.unflatten(1, (-1, 3 * self.mid.shape[1]))

    def fine(self, conds: Tensor, upper: Tensor) -> Tensor:
        """What the mid tier adds to the next 20 samples (B, 20, H)."""
        self.mid, vectors = self._step(self.net.mid, self.model.sample.taps, conds[:, 0], upper, self.mid)
        place = F.linear(conds[:, 0], self.net.sample.conds)
        return vectors.unflatten(1, (-1, place.shape[1])) + place[:, None]

    def logits(self, conds: Tensor, upper: Tensor) -> Tensor:
        """Logits (B, Q)."""
        values, told = self.teller.told()
        rows = torch.cat([self.teller.window(self.model.sample.taps), told], dim=1) + self.places
        net, met = self.net.sample, upper + F.embedding(rows, self.tables).sum(1)
        if values.shape[1]:
            met = torch.addmm(met, values, net.values)
        return torch.addmm(net.logits_bias, F.relu(F.linear(F.relu(met), net.hidden, net.hidden_bias)), self.logits_of)

    def _step(self, net: Frame, frame: int, conds: Tensor, upper: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """The state (B, H) after a step of a frame tier, and its vectors (B, r E); upper (B, 3H) or (3H,)."""
        entry = F.linear(self.teller.past(frame), net.history) + F.linear(conds, net.conds) + upper
        product, width = F.linear(hidden, net.recurrent, net.recurrent_bias), hidden.shape[1]
        reset, keep = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
        fresh = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
        hidden = torch.lerp(fresh, hidden, keep)
        return hidden, F.linear(hidden, net.spread, net.spread_bias)


class NumbaLoop:
    """The same by the compiled kernels. A row's samples depend neither on the batch nor on the number of threads."""

    def __init__(self, model: Any, rows: int, temperature: float, tier: Whole | None = None) -> None:
        """tier: in whole numbers; None: in floats, exactly."""
        from vocoder_core.recurrent.excitation_kernel import pitch_of

        self.labels, self.hop = model.config.labels, model.config.mel.hop_length
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        self.rows = rows_of(model, rows, tier)
        lab = self.labels
        memory = excitation.MEMORY if lab.order else self.hop
        self.codes = np.full((rows, memory), lab.classes // 2)
        self.heard = np.zeros((rows, lab.channels, self.hop), np.float32)
        self.wav = np.zeros((rows, self.hop), np.float32)
        every = torch.arange(lab.classes)
        said = excitation.expanded(every, lab.classes, lab.span) if lab.order else labels.decode(every, lab)
        self.classes, self.pitch = said.numpy(), pitch_of(lab.excitation(self.hop))
        conds = torch.zeros(1, 0, model.config.conds_size)
        nothing = Frames(conds, torch.zeros(1, 0, lab.order + 1), *[torch.zeros(1, 0)] * 3)
        compile_aloud(lambda: self._row(0, nothing, np.zeros((1, 0))) if rows else None)

    def __call__(self, frames: Frames, uniforms: np.ndarray) -> Tensor:
        """Waves (B, K hop) of the next K frames; uniforms (B, K hop) in [0, 1)."""
        wav = np.empty(uniforms.shape, np.float32)

        def row(b: int) -> None:
            wav[b] = self._row(b, frames, uniforms)

        side_by_side(row, len(wav))
        return torch.from_numpy(wav).to(frames.conds.device)

    def _row(self, b: int, frames: Frames, uniforms: np.ndarray) -> np.ndarray:
        """The wave (K hop,) of one row."""
        from . import kernel

        n = uniforms.shape[1]
        conds, codes = array(frames.conds[b]), np.pad(self.codes[b], (0, n))
        heard = np.pad(self.heard[b], ((0, 0), (0, n)))
        given = *self.rows[b], conds, uniforms[b], self.sharpness
        if self.labels.order:
            wav = np.pad(self.wav[b], (0, n))
            period = excitation.periods(frames.lag)
            told = [array(each[b]) for each in (frames.filters, frames.gain, period, frames.voicing)]
            kernel.excitations_of(*given, *told, self.classes, self.pitch, codes, heard, wav)
        else:
            kernel.waves_of(*given, self.classes, codes, heard)
            wav = heard[0]
        self.codes[b], self.heard[b], self.wav[b] = codes[n:], heard[:, n:], wav[n:]
        return wav[self.hop :]


def rows_of(model: Any, rows: int, tier: Whole | None = None) -> list[tuple[Any, ...]]:
    """Tiers, mouth and bias of each row, as the kernels take them: weights that all rows share, and their own state."""
    from .kernel import Mouth, Tier

    (top, mid), mouth, bias = _packed[tier](model)
    firsts = array(model.top.first[0]), array(model.mid.first[0])

    def row() -> tuple[Any, ...]:
        tiers = [
            Tier._make([*weights, first.copy(), np.zeros_like(weights[3]), np.zeros_like(weights[5])])
            for weights, first in zip((top, mid), firsts)
        ]
        return *tiers, Mouth._make([*mouth, np.zeros_like(mouth[5])]), bias

    return [row() for _ in range(rows)]


def packed(model: Any, tier: Whole | None = None) -> tuple[list[list[Any]], list[Any], np.ndarray]:
    """The weights of both frame tiers, of the sample tier, and the top tier's bias, as kernel.py names them.

    tier: None for floats; else what is read whole is in whole numbers, and floats are tables and what conds meet.
    """
    net = folded(model)
    large = [(net.top.recurrent, True), (net.top.spread, True), (net.mid.recurrent, True), (net.mid.spread, True),
             (net.sample.hidden, False), (net.sample.logits, False)]  # fmt: skip
    made: list[Any]
    if tier is None:
        made = [pack(weight if signed else weight.t(), halves=True)[0] for weight, signed in large]
    else:
        from vocoder_core.recurrent.vnni import lanes

        made = list(matrices(large, tier, lanes()))

    def frames(of: Frame, recurrent: Any, spread: Any) -> list[Any]:
        history, conds, bias, spread_bias = pack(of.history, of.conds, of.recurrent_bias, of.spread_bias)
        return [history, conds, recurrent, bias, spread, spread_bias]

    def mouth(of: Sample, hidden: Any, logits: Any) -> list[Any]:
        told = pack(of.tables, of.told, of.values, of.conds)
        return [*told, hidden, array(of.hidden_bias), logits, array(of.logits_bias)]

    return [frames(net.top, *made[:2]), frames(net.mid, *made[2:4])], mouth(net.sample, *made[4:]), array(net.bias)


_folded = once(folded)
_packed = {tier: once(partial(packed, tier=tier)) for tier in (None, "int8", "int16")}


def array(tensor: Tensor) -> np.ndarray:
    """A copy, contiguous; float32 of floats."""
    copy = tensor.detach().cpu()
    return np.array(copy.float().numpy() if copy.is_floating_point() else copy.numpy(), order="C")
