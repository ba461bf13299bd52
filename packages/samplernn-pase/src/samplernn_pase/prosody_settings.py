"""Everything a run of samplernn-pase-prosody can be told: a YAML file with the sections model and train."""

from __future__ import annotations

from dataclasses import dataclass, field

from vocoder_core.train import TrainConfig

from .prosody import ProsodyConfig


@dataclass(frozen=True)
class ProsodySettings:
    """The sections of a settings file, see configs/prosody.yaml."""

    model: ProsodyConfig = field(default_factory=ProsodyConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
