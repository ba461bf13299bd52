"""Restore: what a model made of a recording, piece by piece, at the recording's rate and level, and as long as it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from torch import Tensor

from .rates import resampled


def restored(
    made: Iterable[Tensor], gain: float, model_rate: int, sample_rate: int, samples: Callable[[], int]
) -> Iterator[np.ndarray]:
    """Pieces (t,) float32 at `sample_rate`, as inference.restore makes the whole, of pieces at the model's rate.

    samples: how many there were at `sample_rate`; while they are coming, how many came, which is more than was made.
    """

    def own() -> Iterator[np.ndarray]:
        done = 0
        for wav in made:
            wanted = (2 * samples() * model_rate + sample_rate) // (2 * sample_rate) - done
            kept = wav[: max(0, wanted)].cpu().numpy()
            done += len(kept)
            yield kept / gain

    done = 0
    for piece in resampled(own(), model_rate, sample_rate):
        kept = piece[: max(0, samples() - done)]
        done += len(kept)
        if len(kept):
            yield kept
    if done < samples():
        yield np.zeros(samples() - done, np.float32)
