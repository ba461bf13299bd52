"""A corpus of noise and a tiny network of the public kind, for promises about training and generation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, features, front_ends
from samplernn_pase.batches import Batches, CropConfig
from samplernn_pase.features import Features
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import MEL
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.train import Loss
from vocoder_core import train
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.train import TrainConfig
from vocoder_core.utterance import Utterance

SMALL_MEL = replace(MEL, n_mels=12, n_fft=256, win_length=256)
NAMES = ("p225", "p303")
MODEL = SampleRNNPASEConfig(
    mel=SMALL_MEL, hidden_size=8, embedding_size=4, conds_size=5, speaker=SpeakerConfig(size=3), speakers=NAMES
)
FRAMES = {"0": 24, "1": 9, "2": 3, "3": 14, "4": 12, "5": 12, "6": 12}  # "2" is shorter than a chunk
CHUNK = 5


@dataclass(frozen=True)
class World:
    """Where a promise may write, and a corpus with features: see `recordings`."""

    folder: Path
    corpus: Corpus
    features: Features


Promise = Callable[[World], None]
Patch = tuple[Any, str, Any]  # of this object, this name, is this instead
BROKEN = (
    AssertionError, ValueError, TypeError, RuntimeError, AttributeError, IndexError, KeyError, NotImplementedError,
    SystemExit, pytest.fail.Exception,
)  # fmt: skip


def recordings(folder: Path) -> list[Utterance]:
    """Four to train on of two speakers, one of each held out; and one of p999, whom training never hears."""
    made = []
    for i, (name, frames) in enumerate(FRAMES.items()):
        wav = np.random.default_rng(i).uniform(-0.5, 0.5, frames * 80)
        soundfile.write(folder / f"{name}.wav", wav, 16_000)
        speaker = "p999" if name == "6" else NAMES[i % 2]
        made.append(Utterance(name, speaker, folder / f"{name}.wav", None, "train" if i < 4 else "valid"))
    return made


def prepared(folder: Path) -> World:
    """The corpus of these recordings and its mels, in folder/data."""
    config = CorpusConfig(16_000, 80, MODEL.level, MODEL.level_db, min_seconds=0)
    prepare(recordings(folder), folder / "data", config, features=SMALL_MEL, progress=False, jobs=1)
    corpus = Corpus.open(folder / "data")
    features.make(corpus, front_ends.Mel(SMALL_MEL), range(SMALL_MEL.n_mels), progress=False)
    return World(folder, corpus, Features.open(corpus, "mel80", mel=SMALL_MEL))


def network(**more: Any) -> SampleRNNPASE:
    """A new one, always the same, whose learned first states are not zero."""
    torch.manual_seed(0)
    made = SampleRNNPASE(replace(MODEL, **more)).eval()
    with torch.no_grad():
        for tier in (made.mid, made.top):
            tier.first.normal_(std=0.5)
    return made


def noise(frames: int, rows: int = 1, seed: int = 1) -> Tensor:
    """Waves (B, F 80) in [-0.5, 0.5)."""
    return torch.rand(rows, frames * 80, generator=torch.Generator().manual_seed(seed)) - 0.5


def mels(frames: int, rows: int = 1) -> Tensor:
    """Raw content (B, F, M) of no wave."""
    return torch.randn(rows, frames, SMALL_MEL.n_mels, generator=torch.Generator().manual_seed(2)) - 5


def cut(world: World, size: int = 2, made: SampleRNNPASE | None = None, **crop: Any) -> Batches:
    """Training batches of short chunks."""
    settings = CropConfig(**{"frames": CHUNK, **crop})
    return Batches(world.corpus, world.features, made or network(), settings, size, 0, "cpu")


def fitted(world: World, name: str, steps: int, loss: Any = None, **settings: Any) -> SampleRNNPASE:
    """A model trained to a step in a folder, from where it stands there."""
    made, told = network(), {"batch_size": 2, "warmup": 0, "lr": 1e-2, "schedule": "constant", "ema": 0.0, **settings}
    config = TrainConfig(**{"steps": steps, **told})
    train.fit(made, loss or Loss(), cut(world, made=made), config, world.folder / name, device="cpu")
    return made


def weights(made: SampleRNNPASE) -> Tensor:
    """All of them, in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in made.parameters()])


def kept_and_broken(promise: Promise, patches: list[Patch], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise holds; with what was done instead it does not."""
    for name in ("kept", "broken"):
        (world.folder / name).mkdir()
    promise(replace(world, folder=world.folder / "kept"))
    for owner, name, instead in patches:
        monkeypatch.setattr(owner, name, instead)
    with pytest.raises(BROKEN):
        promise(replace(world, folder=world.folder / "broken"))


SEED = LabelConfig(codec="seed")
