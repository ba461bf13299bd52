"""The network as kernel.py runs it: folded, its weights packed in floats or in whole numbers."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder_core import excitation
from vocoder_core.recurrent.integers import Tier, matrices
from vocoder_core.recurrent.streams import pack

from . import labels
from .fold import Frame, Sample, folded, once
from .tellers import Frames


class Packed:
    """B rows (vocoder_core.recurrent.engine.Kernel)."""

    draws = 1

    def __init__(self, model: Any, rows: int, tier: Tier | None = None, lanes: int | None = None) -> None:
        """tier: whole numbers, None: float32. lanes: of the registers that their products use (None: the widest)."""
        from . import kernel

        self.labels, self.block, self.rows = model.config.labels, model.config.mel.hop_length, rows
        self.net = _nets[tier](model) if lanes is None else net_of(model, tier, lanes)
        self.firsts = array(model.top.first), array(model.mid.first)
        self.speak = kernel.speak_excitations if self.labels.order else kernel.speak_waves

    def work(self, rows: slice) -> Any:
        """What so many rows remember before their first sample, and room for one."""
        from .kernel import Steps, Work

        count, mouth = rows.stop - rows.start, self.net.mouth

        def room(*sizes: int) -> list[np.ndarray]:
            return [np.zeros((count, size), np.float32) for size in sizes]

        steps = []
        for tier, first in zip((self.net.top, self.net.mid), self.firsts):
            gates, frame = tier.history.shape
            sizes = len(tier.spread_bias), gates, frame, gates, gates
            steps.append(Steps._make([np.repeat(first, count, axis=0), *room(*sizes)]))
        width = len(mouth.hidden_bias)
        own = room(width, width, width, len(mouth.logits_bias))
        predicted, values = np.zeros(count, np.float32), np.zeros(len(mouth.values), np.float32)
        known, active = np.zeros(self.labels.told, np.int64), np.zeros(width, np.int64)
        return Work._make([*steps, *own, predicted, known, values, active])

    def past(self) -> tuple[np.ndarray, ...]:
        """Silence: codes (B, memory), what is heard (B, channels, hop), behind a prediction also waves (B, hop)."""
        codes = np.full((self.rows, self.net.memory), self.labels.classes // 2)
        heard = np.zeros((self.rows, self.labels.channels, self.block), np.float32)
        return (codes, heard, heard[:, 0].copy()) if self.labels.order else (codes, heard)

    def told(self, told: Frames, rows: slice) -> Any:
        """Conds (B, K, C), or kernel.Told."""
        from .kernel import Told

        conds = array(told.conds[rows])
        if not self.labels.order:
            return conds
        parts = told.filters, told.gain, excitation.periods(told.lag), told.voicing
        return Told(conds, *(array(part[rows]) for part in parts))

    def said(self, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        """Waves (B, n)."""
        return lines[2] if self.labels.order else np.ascontiguousarray(lines[1][:, 0])


def net_of(model: Any, tier: Tier | None = None, lanes: int | None = None) -> Any:
    """The weights as kernel.Net names them.

    tier: None for floats; else what is read whole is in whole numbers, and floats are tables and what conds meet.
    """
    from vocoder_core.recurrent import vnni
    from vocoder_core.recurrent.excitation_kernel import pitch_of

    from .kernel import Net

    net, lab, hop = folded(model), model.config.labels, model.config.mel.hop_length
    large = [(net.top.recurrent, True), (net.top.spread, True), (net.mid.recurrent, True), (net.mid.spread, True),
             (net.sample.hidden, False), (net.sample.logits, False)]  # fmt: skip
    made: list[Any]
    if tier is None:
        made = [pack(weight if signed else weight.t(), halves=True)[0] for weight, signed in large]
    else:
        made = list(matrices(large, tier, vnni.lanes() if lanes is None else lanes))
    every = torch.arange(lab.classes)
    said = excitation.expanded(every, lab.classes, lab.span) if lab.order else labels.decode(every, lab)
    top, mid = frames(net.top, net.bias, *made[:2]), frames(net.mid, torch.zeros_like(net.bias), *made[2:4])
    sizes = model.sample.taps, hop, excitation.MEMORY if lab.order else hop
    return Net(top, mid, mouth(net.sample, *made[4:]), array(said), pitch_of(lab.excitation(hop)), *sizes)


def frames(of: Frame, bias: Tensor, recurrent: Any, spread: Any) -> Any:
    """A frame tier as kernel.Tier; bias (3H,): of its gates."""
    from .kernel import Tier as Packing

    history, common, conds = pack(of.history, bias, of.conds)
    biases = pack(of.recurrent_bias, of.spread_bias)
    return Packing(history, common, conds, recurrent, biases[0], spread, biases[1])


def mouth(of: Sample, hidden: Any, logits: Any) -> Any:
    """The sample tier as kernel.Mouth."""
    from .kernel import Mouth

    read = pack(of.tables, of.told, of.values, of.conds)
    return Mouth._make([*read, hidden, array(of.hidden_bias), logits, array(of.logits_bias)])


def array(tensor: Tensor) -> np.ndarray:
    """A copy, contiguous; float32 of floats."""
    copy = tensor.detach().cpu()
    return np.array(copy.float().numpy() if copy.is_floating_point() else copy.numpy(), order="C")


_nets = {tier: once(partial(net_of, tier=tier)) for tier in (None, "int8", "int16")}
