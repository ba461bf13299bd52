"""mel_statistics: what the mels of a prepared corpus are like, band by band. Needs torch."""

from __future__ import annotations

import torch
from torch import Tensor

from ..mel import MelConfig, log_mel
from ..validation import spread
from .prepared import Corpus

UTTERANCES, SECONDS = 512, 8.0  # at most, and of each
LEAST_DEVIATION = 0.1  # nat: of a band that hardly moves, such as those above the recordings' own bandwidth


def mel_statistics(corpus: Corpus, mel: MelConfig) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (M,), (M,) of each band over the training split, evenly sampled where it is long."""
    entries = spread(corpus.split("train"), UTTERANCES)
    longest = int(SECONDS * mel.sample_rate) // mel.hop_length * mel.hop_length
    waves = (torch.from_numpy(corpus.wav(entry)[:longest]) for entry in entries)
    frames = torch.cat([log_mel(wav, mel) for wav in waves], dim=1)
    return frames.mean(1), frames.std(1).clamp(min=LEAST_DEVIATION)
