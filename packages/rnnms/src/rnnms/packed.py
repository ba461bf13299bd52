"""The decoder as kernel.py runs it: its weights packed, in floats or in whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from vocoder_core.recurrent.arithmetic import Cost, Met, cost
from vocoder_core.recurrent.integers import Tier, matrices
from vocoder_core.recurrent.streams import pack

from .cell import Frames, conditioning


class Packed:
    """B rows (vocoder_core.recurrent.engine.Kernel)."""

    draws = 1

    def __init__(self, decoder: Any, rows: int, tier: Tier | None = None, lanes: int | None = None) -> None:
        """tier: whole numbers, None: float32. lanes: of the registers that their products use (None: the widest)."""
        from vocoder_core.recurrent import vnni

        from . import kernel

        rnn, first, second = decoder.rnn, decoder.fc1, decoder.fc2
        condition = conditioning(decoder)
        table, _ = decoder.folded(condition.new_zeros(1, 0, condition.shape[1]))
        small = table, condition, rnn.bias_hh_l0, first.bias, second.bias
        if tier is None:
            made: list[Any] = pack(rnn.weight_hh_l0, first.weight, second.weight.t(), *small)
        else:
            signed = [(rnn.weight_hh_l0, True), (first.weight, True), (second.weight, False)]
            made = [*matrices(signed, tier, vnni.lanes() if lanes is None else lanes), *pack(*small)]
        large, (entries, frame, *biases) = made[:3], made[3:]
        pairs = [each for pair in zip(large, biases) for each in pair]
        self.net = kernel.Net._make([entries, frame, *pairs, decoder.hop_length])
        self.block, self.rows, self.speak = decoder.hop_length, rows, kernel.speak

    def work(self, rows: slice) -> Any:
        """What so many rows remember before their first sample, and room for one."""
        from .kernel import Work

        gates, linear, classes = (len(bias) for bias in (self.net[3], self.net[5], self.net[7]))
        sizes = gates // 3, gates, gates, linear, classes
        room = [np.zeros((rows.stop - rows.start, size), np.float32) for size in sizes]
        return Work._make([*room, np.zeros(linear, np.int64)])

    def past(self) -> tuple[np.ndarray, ...]:
        """Silence: one code (B, 1)."""
        return (np.full((self.rows, 1), len(self.net.second_bias) // 2, np.int64),)

    def told(self, told: Frames, rows: slice) -> np.ndarray:
        """Latents (B, F, 2C)."""
        return told.latents[rows].detach().float().cpu().contiguous().numpy()

    def said(self, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        """Codes (B, n)."""
        return lines[0]

    def cost(self) -> Cost:
        """Of a sample, without its frame's. Of `second` in floats the rows whose feature is not 0: about half."""
        net = self.net
        often = 0.5 if isinstance(net.second, np.ndarray) else 1
        return cost([Met(net.recurrent), Met(net.first), Met(net.second, often)], [net.table[0]])
