"""What is measured on held-out speech while samplernn-pase trains: bits per sample, and scores of a few copies.

- `seen_bits`, `unseen_bits`: of speakers the training split has and has not. Each clip is heard from its beginning, in
  one piece, with the learned state before it. A model of names tells an unseen speaker by the mean of all vectors, and
  normalises his content by everybody's statistics.
- `mr_stft`, `log_mel_mae` of a few copies, in run_dir/samples/STEP/
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core import validation
from vocoder_core.corpus import Corpus, Entry
from vocoder_core.validation import HeldOut

from .model import Pass, SampleRNNPASE

if TYPE_CHECKING:
    from .features import Features

CheckConfig = validation.CheckConfig
SCORES = ("mr_stft", "log_mel_mae")


class Check:
    """validate(model, step, run_dir) -> figures: what `vocoder_core.train.fit` calls now and then. See the file."""

    def __init__(self, corpus: Corpus, features: Features, config: CheckConfig) -> None:
        self.held_out, self.features = HeldOut(corpus, config), features
        self.hop = corpus.config.hop_length
        for name, entries in self.held_out.groups.items():
            self.held_out.groups[name] = list(features.usable(entries))

    def __call__(self, model: SampleRNNPASE, step: int, run_dir: Path) -> dict[str, float]:
        """The figures of the file's docstring."""
        figures = {}
        device = next(model.parameters()).device
        for name, entries in self.held_out.groups.items():
            if entries:
                bits = [self.bits(model, entry, device) for entry in entries]
                figures[f"{name}_bits"] = sum(bits) / len(bits)
        folder = run_dir / "samples" / f"{step:07d}"

        def copy(entry: Entry, wav: Tensor) -> Tensor:
            content, pitch = self.told(model, entry, len(wav) // self.hop, wav.device)
            heard = content.transpose(1, 2) if model.config.content.kind == "mel80" else content
            normal = model.normal([entry.speaker], content)
            return model.synthesize(heard, spoken_by(model, [entry.speaker]), pitch=pitch, normal=normal, seed=0)[0]

        return figures | self.held_out.listen(model, folder, SCORES, copy=copy)

    def bits(self, model: SampleRNNPASE, entry: Entry, device: torch.device) -> float:
        """Bits a sample of the clip of an entry."""
        wav = self.held_out.clip(entry, device)
        content, pitch = self.told(model, entry, len(wav) // self.hop, device)
        return bits_of(model, wav[None], content, pitch, [entry.speaker])

    def told(
        self, model: SampleRNNPASE, entry: Entry, frames: int, device: torch.device
    ) -> tuple[Tensor, Tensor | None]:
        """Raw content (1, F, C) of a clip, and its pitch (1, F, 2) where the model wants one."""
        first = entry.offset // self.hop
        rows = slice(first, first + frames)
        content = torch.from_numpy(self.features.content[rows].astype("float32")).to(device)
        if not model.config.labels.pitch or self.features.pitch is None:
            return content[None], None
        return content[None], torch.from_numpy(self.features.pitch[rows].astype("float32")).to(device)[None]


@torch.inference_mode()
def bits_of(
    model: SampleRNNPASE, wav: Tensor, content: Tensor, pitch: Tensor | None, names: Sequence[str],
    speaker: Tensor | None = None, normal: Tensor | None = None,
) -> float:  # fmt: skip
    """Bits a sample of what `passed` is given."""
    made = passed(model, wav, content, pitch, names, speaker, normal)
    nats = F.cross_entropy(made.logits.float().flatten(0, 1), made.targets.flatten())
    return float(nats) / log(2)


def passed(
    model: SampleRNNPASE, wav: Tensor, content: Tensor, pitch: Tensor | None, names: Sequence[str],
    speaker: Tensor | None = None, normal: Tensor | None = None,
) -> Pass:  # fmt: skip
    """A pass over whole waves (B, F hop), each from its beginning, by raw content (B, F, C) and pitch (B, F, 2).

    names: whose statistics normalise content that is a speaker's, unless `normal` (B, 2, C) does; speaker (B, S):
    vectors, None: those of the names.
    """
    before, after = model.context
    hop = model.config.mel.hop_length
    content = F.pad(content.transpose(1, 2), (before, after), mode="replicate").transpose(1, 2)
    if pitch is not None:
        pitch = F.pad(pitch.transpose(1, 2), (before, 0), mode="replicate").transpose(1, 2)
    who = spoken_by(model, names) if speaker is None else speaker
    normal = model.normal(list(names), content) if normal is None else normal
    made: Pass = model(F.pad(wav, (before * hop, 0)), content, who, normal=normal, pitch=pitch)
    return made


@torch.inference_mode()
def heard_pass(model: SampleRNNPASE, wav: np.ndarray) -> Pass:
    """A pass over a recording (F hop,) at the model's rate and level, as `listening.hear` hears it, by nobody known."""
    from .listening import hear

    own = torch.from_numpy(wav)
    heard = hear(model, own)
    content = heard.content.transpose(1, 2) if model.config.content.kind == "mel80" else heard.content
    return passed(model, own[None].to(content), content, heard.pitch, [""], normal=heard.normal)


def spoken_by(model: SampleRNNPASE, names: Sequence[str]) -> Tensor | None:
    """Vectors (B, S) of speakers, of one whom training never heard the mean of all; None of a model without any."""
    if not model.speaker_size:
        return None
    if model.voices is None:
        return torch.zeros(len(names), model.speaker_size).to(next(model.parameters()))
    return torch.stack([model.voices.vector(name) for name in names]).to(next(model.parameters()))
