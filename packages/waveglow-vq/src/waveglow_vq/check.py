"""What is measured on held-out speech while waveglow-vq trains: its likelihood, and a few copies with their scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocoder_core import metrics
from vocoder_core.corpus import Corpus, Entry
from vocoder_core.corpus.training_audio import generator
from vocoder_core.griffinlim import griffin_lim
from vocoder_core.mel import log_mel
from vocoder_core.validation import CheckConfig, HeldOut

from .model import WaveGlowVQ

FIGURES = ("loss", "nll", "bits", "mel_l1")  # nats and bits per sample, nat; a clip has too few codes for statistics
GRIFFIN_LIM = 32  # iterations
SCORES = ("mr_stft", "log_mel_mae", "pesq")  # PESQ where it is installed


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then.

    `seen_nll`, `seen_bits`, ... and the same of `unseen`: means over held-out utterances of speakers the training set
    has and has not, with the same dequantisation every time. Audio goes to run_dir/samples/STEP/: copies by the mel, or
    by the codes where the model has some.
    """

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.held_out = HeldOut(corpus, config)
        self.scores = [score.name for score in metrics.select(SCORES)[0]]

    def __call__(self, model: WaveGlowVQ, step: int, run_dir: Path) -> dict[str, float]:
        """The figures of the class's docstring."""
        figures: dict[str, float] = {}
        device = next(model.parameters()).device

        def said(entry: Entry) -> Tensor | None:
            """The vector (S,) of who speaks: the mean of all for one whom training never heard."""
            return model.speakers.vector(entry.speaker) if model.speakers else None

        for name, entries in self.held_out.groups.items():
            if entries:
                clips = [self.held_out.clip(entry, device) for entry in entries]
                rows = likelihoods(model, clips, [said(entry) for entry in entries])
                told = [key for key in FIGURES if key in rows[0]]
                figures |= {f"{name}_{key}": float(np.mean([row[key] for row in rows])) for key in told}

        def by_codes(entry: Entry, wav: Tensor) -> Tensor:
            who = said(entry)
            return _copy_by_codes(model, wav, None if who is None else who[None])

        folder = run_dir / "samples" / f"{step:07d}"
        copy = by_codes if model.config.condition.source != "mel" else None
        return figures | self.held_out.listen(model, folder, self.scores, said, copy)


@torch.inference_mode()
def _copy_by_codes(model: WaveGlowVQ, wav: Tensor, who: Tensor | None) -> Tensor:
    """What the codes of a wave (T,) say; through Griffin-Lim where the flow does not learn and may know nothing."""
    codes = model.encode(wav[None])
    if model.config.condition.objective != "mel":
        return model.decode(codes, who, seed=0)[0, : len(wav)]
    frames = len(wav) // model.config.mel.hop_length
    mel = model.condition.decode(codes, who)[0, :, :frames]
    return torch.as_tensor(griffin_lim(mel, model.config.mel, iterations=GRIFFIN_LIM))


@torch.inference_mode()
def likelihoods(
    model: WaveGlowVQ, wavs: Sequence[Tensor], speakers: Sequence[Tensor | None] = ()
) -> list[dict[str, float]]:
    """What the model's loss says of each wave (T,), T a multiple of hop_length: loss, nll (nats/sample), bits, ...

    speakers: a vector (S,) for each, where the model has speakers.
    """
    rows = []
    for i, (wav, speaker) in enumerate(zip_longest(wavs, speakers)):
        noise = torch.rand(1, len(wav), generator=generator(wav.device, i), device=wav.device) - 0.5
        who = None if speaker is None else speaker[None]
        figures = model.loss(model(wav[None], log_mel(wav[None], model.config.mel), noise, who))
        rows.append({name: float(value) for name, value in figures.items()})
    return rows
