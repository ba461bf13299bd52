"""One utterance as several streams: cut where it is quiet, said side by side, joined.

A core reads its weights once for all streams that it says at once: eight folds of an utterance take little more time
than one of them. It is not what one stream would have said: each fold begins in silence, hears `lead` blocks before
its own, which are thrown away, and knows nothing of what the others say. Hence the cuts in the quietest places, where
nothing goes on across them, and a cross-fade of one block.

    told        |-------------- cut 1 ------------- cut 2 ---------------|      K blocks
    fold 0      |--------------+x..............|                                x faded into the next, . thrown away
    fold 1               |.....|-------------------+x......|                    all of them L blocks long
    fold 2                               |.........|---------------------|

WaveRNN's batched generation (fatchord, 2018) cuts at equal lengths and fades 550 samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

SEARCHED = 0.5  # of a fold's length, around equal lengths, in which the quietest block is looked for
SMOOTH = 5  # blocks over which loudness is averaged

T = TypeVar("T")


@dataclass(frozen=True)
class Folds:
    """Where K blocks are cut: fold i says blocks cuts[i] ... cuts[i + 1] - 1, and begins at starts[i]."""

    cuts: tuple[int, ...]  # 0, ..., K
    starts: tuple[int, ...]
    length: int  # L

    def split(self, told: Any) -> Any:
        """What the folds are told, as rows, of what one row is told (a dataclass of tensors, `engine.Told`)."""
        return together([told.cut(start, start + self.length) for start in self.starts])

    def join(self, waves: Tensor, block: int) -> Tensor:
        """The wave (K block,) of those of the folds (N, L block)."""
        fade = torch.linspace(0, 1, block + 2, device=waves.device)[1:-1]
        parts, left = [], None
        for start, first, last, wave in zip(self.starts, self.cuts, self.cuts[1:], waves):
            own = wave[(first - start) * block : (last - start) * block].clone()
            if left is not None:
                own[:block] = torch.lerp(left, own[:block], fade)
            left = wave[(last - start) * block : (last - start + 1) * block]
            parts.append(own)
        return torch.cat(parts)


def plan(loud: Tensor, count: int, lead: int) -> Folds:
    """At most `count` folds of blocks as loud as (K,), each with `lead` blocks before its own.

    Fewer where a fold would be shorter than its lead. Raises ValueError for a number below 1.
    """
    if count < 1:
        raise ValueError(f"folds is {count}; expected 1 or more")
    blocks = len(loud)
    count = max(1, min(count, blocks // max(1, lead)))
    even, reach = blocks / count, int(SEARCHED * blocks / count / 2)
    quiet = F.avg_pool1d(F.pad(loud[None, None].float(), (SMOOTH // 2,) * 2, mode="replicate"), SMOOTH, 1)[0, 0]
    cuts = [0]
    for i in range(1, count):
        first = max(cuts[-1] + 1, round(i * even) - reach)
        cuts.append(first + int(quiet[first : max(first + 1, round(i * even) + reach)].argmin()))
    cuts.append(blocks)
    longest = max(last - first for first, last in pairwise(cuts))
    length = min(blocks, longest + lead + 1)
    starts = [min(max(0, first - lead), blocks - length) for first in cuts[:-1]]
    return Folds(tuple(cuts), tuple(starts), length)


def together(parts: Sequence[T]) -> T:
    """Rows of several dataclasses of tensors as the rows of one."""
    one: Any = parts[0]
    named = {field.name: torch.cat([getattr(part, field.name) for part in parts]) for field in fields(one)}
    made: T = type(one)(**named)
    return made
