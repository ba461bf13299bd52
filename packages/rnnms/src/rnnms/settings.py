"""Everything a run of RNN_MS can be told: one YAML file with the sections model, data, crop, train and check."""

from __future__ import annotations

from dataclasses import dataclass, field

from vocoder_core.corpus import CorpusConfig
from vocoder_core.train import TrainConfig
from vocoder_core.validation import CheckConfig

from .batches import CropConfig
from .model import RNNMSConfig


@dataclass(frozen=True)
class Settings:
    """The sections of a settings file. `data` must prepare what `model` reads."""

    model: RNNMSConfig = field(default_factory=RNNMSConfig)
    data: CorpusConfig = field(default_factory=CorpusConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        self.data.suit(self.model.mel, "loudness", self.model.loudness)
