"""Speakers: a learned vector for each speaker of a training set, and whose vectors a caller means.

A vocoder that reads mels may leave them out: a mel already says who speaks, and a vocoder that has to be told is bound
to a list of voices. Codes that do not say who speaks need them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Protocol

import torch
from torch import Tensor, nn

Who = Tensor | str | Sequence[str]  # vectors (B, S), numbers of speakers (B,) int64, a name a row, or one name for all


class Known(Protocol):
    """Speakers who have names, and vectors by their places among these."""

    @property
    def names(self) -> tuple[str, ...]:
        """Who they are."""

    @property
    def table(self) -> Callable[[Tensor], Tensor]:
        """Vectors (B, S) of places (B,) int64."""


class Speakers(nn.Module):
    """The names of a model's speakers, and their vectors."""

    def __init__(self, names: tuple[str, ...], size: int) -> None:
        super().__init__()
        self.names = names
        self.table = nn.Embedding(len(names), size)

    def vector(self, name: str) -> Tensor:
        """The vector (S,) of a speaker; of one whom the table lacks the mean of all, which is far from nobody's."""
        weight = self.table.weight
        return weight[self.names.index(name)] if name in self.names else weight.mean(0)


def vectors(who: Who | None, size: int, known: Known | None, rows: Tensor) -> Tensor | None:
    """Vectors (B, S) of those who speak in rows (B, ...), mels or codes; None of a model without speakers, S = 0.

    In the type of floating-point rows, on the device of any.

    Raises ValueError where nobody was named or somebody unknown, and for a tensor that does not fit.
    """
    names = known.names if known else ()
    expected = f"a vector of {size} for each row{f', or one of {_some(names)}' if names else ''}" if size else "none"
    if who is None or not size:
        if who is None and not size:
            return None
        raise ValueError(f"the model got {'no' if who is None else 'a'} speaker; expected {expected}")
    if isinstance(who, str):
        who = [who] * len(rows)
    told = (who if isinstance(who, Tensor) else numbers(who, names)).to(rows.device)
    if told.is_floating_point() and told.shape == (len(rows), size):
        return told.to(rows.dtype if rows.is_floating_point() else told.dtype)
    some = told.device.type != "cpu" or ((told >= 0) & (told < len(names))).all()  # a GPU would have to be waited for
    if told.is_floating_point() or told.shape != rows.shape[:1] or not some:
        raise ValueError(
            f"speaker is {told.dtype} of shape {tuple(told.shape)} for {len(rows)} rows; expected {expected}"
        )
    assert known is not None, "a number below len(names)"
    return known.table(told)


def numbers(who: Sequence[str], names: Sequence[str]) -> Tensor:
    """Names -> their places (B,) int64 among a model's. Raises ValueError for a name that is none of them."""
    places = {name: place for place, name in enumerate(names)}
    for name in who:
        if name not in places:
            near = get_close_matches(name, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"known: {_some(names)}"
            raise ValueError(f"speaker {name!r} is none of the model's {len(names)} speakers ({hint})")
    return torch.tensor([places[name] for name in who], dtype=torch.int64)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (" ..." if len(names) > 8 else "") if names else "none by name"
