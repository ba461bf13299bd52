"""The front ends of recordings: what is heard of each frame of 5 ms. Frame j is of the samples [80 j, 80 (j + 1)).

Mel       content-mel80     the log-mel of the whole recording, any dialect of the core; the vocoder's default
Pitch     pitch             the lag of one period in samples, and the voicing 0 to 1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from vocoder_core.config import to_dict
from vocoder_core.corpus import Entry
from vocoder_core.mel import MelConfig


@dataclass(frozen=True)
class Mel:
    """`log_mel` of the whole recording (F, M), float16: in ln units 0.004 off at most, and half the memory."""

    mel: MelConfig
    name: str = "content-mel80"
    dtype: str = "float16"

    @property
    def width(self) -> int:
        """M."""
        return self.mel.n_mels

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """The front end, field by field."""
        return {"mel": to_dict(self.mel)}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, M)."""
        import torch

        from vocoder_core.mel import log_mel

        with _one_thread():
            return log_mel(torch.from_numpy(wav), self.mel).T.numpy()


@dataclass(frozen=True)
class Pitch:
    """The core's pitch tracker (F, 2), float32: lags, never jumping where unvoiced, and voicing, 0 there."""

    sample_rate: int
    hop_length: int
    name: str = "pitch"
    width: int = 2
    dtype: str = "float32"

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        """The tracker's range and costs."""
        from vocoder_core.pitch import PitchConfig

        return {"pitch": to_dict(PitchConfig())}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        """(F, 2)."""
        import torch

        from vocoder_core.pitch import track

        with _one_thread():
            return torch.cat(track(torch.from_numpy(wav)[None], self.sample_rate, self.hop_length)).T.numpy()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small products: a second thread costs more than it brings, and the sums must not depend on how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
