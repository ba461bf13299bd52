"""The step of toy_voice.py, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np

from vocoder_core.recurrent.loop import loop_of
from vocoder_core.recurrent.primitives import exactly
from vocoder_core.recurrent.products import affine


@exactly
def advance(net: Any, work: Any, told: np.ndarray, lines: Any, t: int, k: int) -> None:
    codes = lines[0]
    for b in range(len(codes)):
        row = net.table[codes[b, 0, t + 1] if k else codes[b, 1, t]]
        for j in range(len(row)):
            work.hidden[b, j] = work.hidden[b, j] / 2 + row[j]
            if k == 0:
                work.hidden[b, j] += told[b, t // 4, j]
    affine(net.weight, net.none, work.hidden, work.logits)


@exactly
def take(net: Any, work: Any, told: np.ndarray, lines: Any, t: int, k: int, b: int, label: int) -> None:
    lines[0][b, k, t + 1] = label


speak = loop_of(advance, take)
