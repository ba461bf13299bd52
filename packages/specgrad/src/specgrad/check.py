"""What is measured on held-out speech while SpecGrad trains: the loss, and a few copies with their scores."""

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
from vocoder_core.mel import log_mel
from vocoder_core.validation import CheckConfig, HeldOut

from .model import SpecGrad

SCORES = ("mr_stft", "log_mel_mae", "pesq")  # PESQ where it is installed


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then.

    `seen_loss`, `unseen_loss`: means over held-out utterances of speakers the training set has and has not, always at
    the same places between noise and speech and with the same noise. Audio, in the sampler's usual number of steps,
    goes to run_dir/samples/STEP/.
    """

    def __init__(self, corpus: Corpus, config: CheckConfig) -> None:
        self.held_out = HeldOut(corpus, config)
        self.scores = [score.name for score in metrics.select(SCORES)[0]]

    def __call__(self, model: SpecGrad, step: int, run_dir: Path) -> dict[str, float]:
        """The figures of the class's docstring."""
        figures, device = {}, next(model.parameters()).device

        def said(entry: Entry) -> Tensor | None:
            """The vector (S,) of who speaks: the mean of all for one whom training never heard."""
            return model.speakers.vector(entry.speaker) if model.speakers else None

        for name, entries in self.held_out.groups.items():
            if entries:
                clips = [self.held_out.clip(entry, device) for entry in entries]
                figures[f"{name}_loss"] = float(np.mean(losses(model, clips, [said(entry) for entry in entries])))
        return figures | self.held_out.listen(model, run_dir / "samples" / f"{step:07d}", self.scores, said)


@torch.inference_mode()
def losses(model: SpecGrad, wavs: list[Tensor], speakers: Sequence[Tensor | None] = ()) -> list[float]:
    """The loss of each wave (T,), T a multiple of hop_length; wave i of N at place (i + 1/2) / N of noise to speech.

    speakers: a vector (S,) for each, where the model has speakers.
    """
    values = []
    for i, (wav, speaker) in enumerate(zip_longest(wavs, speakers)):
        white = torch.randn(1, len(wav), generator=generator(wav.device, i), device=wav.device)
        place = torch.tensor([(i + 0.5) / len(wavs)], device=wav.device)
        who = None if speaker is None else speaker[None]
        made = model(log_mel(wav[None], model.config.mel), wav[None], white, place, who)
        values.append(float(model.loss(made)["loss"]))
    return values
