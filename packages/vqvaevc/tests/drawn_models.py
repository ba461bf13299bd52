"""Tiny models whose weights were drawn, not learned: what they say does not matter, how long and in what voice does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from vocoder_core.mel_presets import PRESETS
from vocoder_core.vq import QuantizerConfig
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.condition import EncoderConfig
from vqvaevc.labels import LabelConfig
from vqvaevc.overtone import OvertoneConfig

WHO = ("anna", "bruno", "carlo")
OVERTONE = OvertoneConfig(conv=4, rnn=8, hidden=16, linear=8)
DEAF = replace(OVERTONE, speaker=False)
EXCITATION = LabelConfig(kind="mulaw", order=8, block=64, pitch=True, embedding=4)
MEL = PRESETS["asr16"]

WAVE = VQVAEVCConfig(
    encoder=EncoderConfig(channels=8),
    quantizer=QuantizerConfig(kind="sphere", size=16, dim=8),
    overtone=OVERTONE,
    speakers=WHO,
)
CODEC = VQVAEVCConfig(
    mel=MEL,
    encoder=EncoderConfig(source="codec", channels=16, frames_per_code=2, layers=1, fine_layers=1),
    quantizer=QuantizerConfig(kind="ema", size=16, dim=8),
    overtone=DEAF,
    labels=EXCITATION,
    speakers=WHO,
    speaker="learned",
    speaker_size=4,
)
VOCODER = VQVAEVCConfig(mel=MEL, encoder=EncoderConfig(source="mel"), overtone=DEAF, labels=EXCITATION)
BABBLE = VQVAEVCConfig(encoder=EncoderConfig(source="none"), overtone=OVERTONE, speakers=WHO)


def untrained(config: VQVAEVCConfig, folder: Path, seed: int = 0) -> Path:
    """A checkpoint folder. Who speaks makes a difference in it, and codes are of many kinds."""
    torch.manual_seed(seed)
    model = VQVAEVC(config)
    for name, parameter in model.named_parameters():
        if not parameter.any():
            parameter.data = 0.05 * torch.randn(parameter.shape)
        if name.endswith(("weight_row", "speaker.weight")) and "decoder" not in name:
            parameter.data *= 20
        if name.endswith("wide.weight") and "encoder" in name:
            parameter.data *= 4
    if hasattr(model.condition, "set_statistics"):
        model.condition.set_statistics(torch.full((80,), -5.0), torch.full((80,), 2.0))
    if hasattr(model.condition, "voices"):
        model.condition.voices.copy_(torch.tensor([[5.3, 0.2], [4.6, 0.2], [4.9, 0.1]]))
    model.save_pretrained(folder)
    return folder
