"""One seed for each row of a batch, from what the caller of `synthesize` gave: so a row alone equals it in a batch."""

from __future__ import annotations

import secrets
from collections.abc import Sequence


def of_rows(seed: int | Sequence[int] | None, rows: int) -> list[int]:
    """Seeds (rows,): any where None was given, one for all where one number was.

    Raises ValueError for another number of seeds than rows.
    """
    if seed is None:
        return [secrets.randbits(63) for _ in range(rows)]
    if isinstance(seed, int):
        return [seed] * rows
    if len(seed) != rows:
        raise ValueError(f"synthesize got {len(seed)} seeds for {rows} mels; expected one each, or one number for all")
    return list(seed)
