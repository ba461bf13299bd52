"""Tiny models whose weights were drawn, not learned, one of each kind; and what they are fed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.content import ContentConfig
from samplernn_pase.labels import LabelConfig
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.speaker_vectors import Vectors
from samplernn_pase.statistics import Moments, Statistics

WHO = ("anna", "bruno", "carlo")
HOP = 80
SMALL: dict[str, Any] = {"hidden_size": 12, "embedding_size": 4, "conds_size": 6}
NOBODY = SpeakerConfig(provider="none")

WAVE = SampleRNNPASEConfig(speaker=NOBODY, **SMALL)
EXCITED = replace(WAVE, labels=LabelConfig(order=8, pitch=True), combine="add", weight_norm=False)
VOICES = SampleRNNPASEConfig(content=ContentConfig("world43"), speaker=SpeakerConfig(size=5), speakers=WHO, **SMALL)
GIVEN = replace(VOICES, speaker=SpeakerConfig(provider="file", size=7))
TEXT = replace(VOICES, content=ContentConfig("linguistic", embedding_size=3))
SUNG = replace(VOICES, content=ContentConfig("linguistic_lf0", embedding_size=3, look_ahead=True))
ALL = {"wave": WAVE, "excited": EXCITED, "voices": VOICES, "given": GIVEN, "text": TEXT, "sung": SUNG}


def drawn(config: SampleRNNPASEConfig, seed: int = 0) -> SampleRNNPASE:
    """A network with statistics, vectors and no weight at zero, in eval mode."""
    torch.manual_seed(seed)
    model = SampleRNNPASE(config)
    for parameter in model.parameters():
        if not parameter.any():
            parameter.data = 0.2 * torch.randn(parameter.shape)
    model.content.set_statistics(statistics(config))
    if config.speaker.provider == "file" and model.voices is not None:
        model.voices.fill(vectors(config))  # type: ignore[operator]
    return model.eval()


def statistics(config: SampleRNNPASEConfig) -> Statistics:
    """Of each of WHO, and of everybody: all different."""
    draw, width = np.random.default_rng(0), config.content.width
    mean = -5 if config.content.kind == "mel80" else 0
    moments = [Moments(draw.normal(mean, 0.5, width), draw.uniform(1, 2, width)) for _ in range(len(WHO) + 1)]
    return Statistics(moments[-1], dict(zip(WHO, moments)))


def vectors(config: SampleRNNPASEConfig) -> Vectors:
    """Of each of WHO."""
    values = np.random.default_rng(1).normal(size=(len(WHO), config.speaker.size)).astype(np.float32)
    return Vectors(WHO, values, "file", "0" * 64, 60.0)


def untrained(config: SampleRNNPASEConfig, folder: Path, seed: int = 0) -> Path:
    """A checkpoint folder of a drawn network."""
    drawn(config, seed).save_pretrained(folder)
    return folder


def content(config: SampleRNNPASEConfig, rows: int, frames: int, seed: int = 0) -> Tensor:
    """Raw content (B, F, C); a mel is speech-like enough for a stable prediction."""
    draw = torch.Generator().manual_seed(seed)
    made = torch.randn(rows, frames, config.content.width, generator=draw)
    if config.content.kind == "mel80":
        return made - torch.linspace(3, 7, config.content.width)
    for field, name in config.content.categories.items():
        count = len(config.content.vocabulary(name))
        made[..., field] = torch.randint(0, count, (rows, frames), generator=draw).float()
    return made


def fed(model: SampleRNNPASE, rows: int = 2, frames: int = 3, seed: int = 0) -> dict[str, Any]:
    """What `forward` is told of `frames` frames of noise."""
    (before, after), config = model.context, model.config
    draw = torch.Generator().manual_seed(seed + 100)
    wav = (0.2 * torch.randn(rows, (before + frames) * HOP, generator=draw)).clamp(-1, 1)
    told: dict[str, Any] = {"wav": wav, "content": content(config, rows, before + frames + after, seed)}
    if model.voices is not None:
        told["speaker"] = torch.arange(rows) % len(WHO)
    if config.labels.pitch:
        lag = 60 + 200 * torch.rand(rows, before + frames, generator=draw)
        told["pitch"] = torch.stack([lag, torch.rand(rows, before + frames, generator=draw)], dim=2)
    return told


def cut(model: SampleRNNPASE, told: dict[str, Any], first: int, frames: int) -> dict[str, Any]:
    """The same of the predicted frames first ... first + frames - 1."""
    before, after = model.context
    part = told | {"wav": told["wav"][:, first * HOP : (first + before + frames) * HOP]}
    part["content"] = told["content"][:, first : first + before + frames + after]
    if "pitch" in told:
        part["pitch"] = told["pitch"][:, first : first + before + frames]
    return part
