"""Small models of every kind of labels that are loud enough for states and labels to matter, and what they are told."""

from __future__ import annotations

import torch
from torch import Tensor

from vocoder_core.mel import MelConfig
from vqvaevc.condition import Conditioned, EncoderConfig
from vqvaevc.generate import Sampling, generate
from vqvaevc.labels import LabelConfig
from vqvaevc.model import VQVAEVC, VQVAEVCConfig
from vqvaevc.overtone import OvertoneConfig

UNITS = 3
SIZES = OvertoneConfig(conv=9, rnn=13, hidden=22, linear=17)  # they divide by nothing
LABELS = {
    "dual": LabelConfig(),
    "wave": LabelConfig(kind="mulaw"),
    "prediction": LabelConfig(kind="mulaw", order=7, embedding=5, loudest=1e6),
    "pitch": LabelConfig(kind="mulaw", order=7, pitch=True, embedding=5, loudest=1e6),
    "held": LabelConfig(kind="mulaw", order=7, pitch=True, embedding=5),
}


def network(kind: str) -> VQVAEVC:
    """A small one whose weights are large enough for states and labels to matter."""
    torch.manual_seed(0)
    mel = MelConfig(sample_rate=16000, hop_length=64, win_length=256, n_fft=256, n_mels=9)
    source = "mel" if LABELS[kind].order else "wave"
    config = VQVAEVCConfig(mel=mel, encoder=EncoderConfig(source=source, channels=6), overtone=SIZES,
                           labels=LABELS[kind], speakers=("ann", "bob", "cid"))  # fmt: skip
    model = VQVAEVC(config).eval()
    with torch.no_grad():
        for parameter in [*model.overtone.parameters(), *model.wavernn.parameters()]:
            parameter.mul_(1.5)
        if kind != "dual":
            model.wavernn.logits[0].bias[0] = -30  # no wave has class 0, nor has a network that was trained
    return model


def told_to(model: VQVAEVC, rows: int = 2, units: int = UNITS) -> Conditioned:
    """A condition of noise, predictors that ring a little, pitch that moves."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(rows, model.condition.channels, model.timing.units_before + units, generator=draw)
    if not model.config.labels.order:
        return Conditioned(vectors)
    filters = 0.1 * torch.randn(rows, units, model.config.labels.order + 1, generator=draw)
    filters[..., 0] = 1
    gain = 0.01 + 0.02 * torch.rand(rows, units, generator=draw)
    lag, voicing = 30 + 60 * torch.rand(rows, units, generator=draw), torch.rand(rows, units, generator=draw)
    return Conditioned(vectors, filters=filters, gain=gain, lag=lag, voicing=voicing)


def speakers(model: VQVAEVC) -> Tensor | None:
    return model.who(["ann", "cid"], torch.zeros(2, 1)) if model.config.overtone.speaker else None


def said(model: VQVAEVC, how: Sampling, made: Conditioned | None = None, who: Tensor | None = None) -> Tensor:
    made = told_to(model) if made is None else made
    who = speakers(model) if who is None else who
    return generate(model, made, made.units_.shape[2] * 64 - 64 * model.timing.units_before, who, how)
