"""Everything a run of SpecGrad can be told: one YAML file with the sections model, data, crop, train and check."""

from __future__ import annotations

from dataclasses import dataclass, field

from vocoder_core.corpus import CorpusConfig
from vocoder_core.train import TrainConfig
from vocoder_core.validation import CheckConfig

from .batches import CropConfig
from .model import SpecGradConfig


def _corpus() -> CorpusConfig:
    model = SpecGradConfig()
    return CorpusConfig(model.mel.sample_rate, model.mel.hop_length, "peak", model.level_db)


@dataclass(frozen=True)
class Settings:
    """The sections of a settings file. `data` must prepare what `model` reads."""

    model: SpecGradConfig = field(default_factory=SpecGradConfig)
    data: CorpusConfig = field(default_factory=_corpus)
    crop: CropConfig = field(default_factory=CropConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    check: CheckConfig = field(default_factory=CheckConfig)

    def __post_init__(self) -> None:
        self.data.suit(self.model.mel, "peak", self.model.level_db)
