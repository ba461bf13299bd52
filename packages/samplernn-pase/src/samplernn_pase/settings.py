"""Everything a run of samplernn-pase can be told: a YAML file with the sections model, data, crop, train and check."""

from __future__ import annotations

from dataclasses import dataclass, field

from vocoder_core.corpus import CorpusConfig
from vocoder_core.train import TrainConfig

from .batches import CropConfig
from .check import CheckConfig
from .model import SampleRNNPASEConfig


def _corpus() -> CorpusConfig:
    model = SampleRNNPASEConfig()
    return CorpusConfig(model.mel.sample_rate, model.mel.hop_length, model.level, model.level_db)


@dataclass(frozen=True)
class Settings:
    """The sections of a settings file. `data` must prepare what `model` reads."""

    model: SampleRNNPASEConfig = field(default_factory=SampleRNNPASEConfig)
    data: CorpusConfig = field(default_factory=_corpus)
    crop: CropConfig = field(default_factory=CropConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        self.data.suit(self.model.mel, self.model.level, self.model.level_db)
