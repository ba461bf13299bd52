"""What is measured on held-out speech while RNN_MS trains: bits per sample, and a few syntheses with scores."""

from __future__ import annotations

from math import log
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from vocoder_core.corpus import Corpus
from vocoder_core.mel import log_mel
from vocoder_core.validation import CheckConfig, HeldOut

from .model import RNNMS

CHUNK = 4  # frames a pass of the decoder: 32 clips of 10-bit logits take 100 MB


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then.

    Bits per sample are means over held-out utterances (whole, or their first `seconds`), of speakers the training set
    has (`seen_bits`) and has not (`unseen_bits`). Audio goes to run_dir/samples/STEP/.
    """

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.held_out = HeldOut(corpus, config)

    def __call__(self, model: RNNMS, step: int, run_dir: Path) -> dict[str, float]:
        """The figures of the class's docstring."""
        figures, device = {}, next(model.parameters()).device
        for name, entries in self.held_out.groups.items():
            if entries:
                clips = [self.held_out.clip(entry, device) for entry in entries]
                figures[f"{name}_bits"] = float(np.mean(bits_per_sample(model, clips)))
        return figures | self.held_out.listen(model, run_dir / "samples" / f"{step:07d}", ["mr_stft", "log_mel_mae"])


@torch.inference_mode()
def bits_per_sample(model: RNNMS, wavs: list[Tensor]) -> list[float]:
    """-log2 p(sample | the true ones before it), mean over each wave (T,), T a multiple of hop_length. One batch."""
    hop, bits = model.config.mel.hop_length, model.config.bits
    lengths = torch.tensor([len(wav) for wav in wavs], device=wavs[0].device)
    # each mel ends with its own wave; what follows it is silence that does not count
    latents = pad_sequence([model.encode(log_mel(wav, model.config.mel)[None])[0] for wav in wavs], batch_first=True)
    codes = pad_sequence([model.labels(wav[None])[0] for wav in wavs], batch_first=True)
    past = F.pad(codes, (1, 0), value=2 ** (bits - 1))[:, :-1]
    total, state = torch.zeros(len(wavs), dtype=torch.float64, device=lengths.device), None
    for first in range(0, latents.shape[1], CHUNK):
        span = slice(first * hop, (first + CHUNK) * hop)
        logits, state = model.decoder(latents[:, first : first + CHUNK], past[:, span], state)
        nats = F.cross_entropy(logits.float().flatten(0, 1), codes[:, span].flatten(), reduction="none")
        counts = (
            torch.arange(span.start, span.start + codes[:, span].shape[1], device=lengths.device) < lengths[:, None]
        )
        total += (nats.view(len(wavs), -1) * counts).sum(1)
    return (total / lengths / log(2)).tolist()
