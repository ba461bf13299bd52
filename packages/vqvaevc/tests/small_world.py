"""A corpus of noise and a tiny network of the original's kind, for promises about training and generation."""

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

from vocoder_core import train
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.mel import MelConfig
from vocoder_core.train import TrainConfig
from vocoder_core.utterance import Utterance
from vocoder_core.vq import QuantizerConfig
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.batches import Batches, CropConfig
from vqvaevc.condition import EncoderConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.train import Loss, after_step

MEL = MelConfig(n_mels=20, win_length=256, hop_length=64, n_fft=256)
MODEL = VQVAEVCConfig(
    mel=MEL,
    encoder=EncoderConfig(channels=4),
    quantizer=QuantizerConfig(kind="sphere", size=8, dim=4),
    overtone=OvertoneConfig(conv=3, rnn=4, hidden=6, linear=5),
    speakers=("p225", "p303"),
)
WINDOW = 5632 + 64 + 960  # samples around 64 that are predicted
FRAMES = WINDOW // 64 + 8


@dataclass(frozen=True)
class World:
    """Where a promise may write, and a corpus: see `recordings`."""

    folder: Path
    corpus: Corpus


Promise = Callable[[World], None]
Patch = tuple[Any, str, Any]  # of this object, this name, is this instead
BROKEN = (AssertionError, ValueError, TypeError, RuntimeError, AttributeError, ImportError, SystemExit, UserWarning)


def recordings(folder: Path) -> list[Utterance]:
    """Two speakers with a recording each to train on and one held out; and one, p999, whom training never hears."""
    made = []
    for i, split in enumerate(("train", "train", "valid", "valid", "valid")):
        wav = np.random.default_rng(i).uniform(-0.5, 0.5, FRAMES * 64 + 100 * i)
        soundfile.write(folder / f"{i}.wav", wav, 16_000)
        made.append(Utterance(str(i), "p999" if i == 4 else MODEL.speakers[i % 2], folder / f"{i}.wav", None, split))
    return made


def prepared(folder: Path) -> Corpus:
    """The corpus of these recordings, in folder/data."""
    config = CorpusConfig(16_000, 64, MODEL.level, MODEL.level_db)
    prepare(recordings(folder), folder / "data", config, features=MEL, progress=False, jobs=1)
    return Corpus.open(folder / "data")


def network(**more: Any) -> VQVAEVC:
    """A new one, always the same."""
    torch.manual_seed(0)
    return VQVAEVC(replace(MODEL, **more)).eval()


def noise(samples: int, rows: int = 1) -> Tensor:
    """Waves (B, T) in [-0.5, 0.5)."""
    return torch.rand(rows, samples, generator=torch.Generator().manual_seed(1)) - 0.5


def cut(world: World, size: int = 2) -> Batches:
    """Training batches of a window each."""
    crop = CropConfig(frames=FRAMES, samples=64)
    return Batches(world.corpus, network().reach, crop, size, 0, "cpu", MODEL.speakers)


def fitted(world: World, name: str, steps: int, **settings: Any) -> VQVAEVC:
    """A model trained to a step in a folder, from where it stands there; validation says `listened`."""
    made, told = network(), {"batch_size": 2, "warmup": 0, "lr": 1e-2, "schedule": "constant", "ema": 0.0, **settings}
    config = TrainConfig(**{"steps": steps, **told})
    train.fit(
        made, Loss(), cut(world), config, world.folder / name,
        after_step=after_step, validate=lambda *_: {"listened": 1.0}, device="cpu",
    )  # fmt: skip
    return made


def weights(made: VQVAEVC) -> Tensor:
    """All of them, in one row."""
    return torch.cat([parameter.detach().flatten() for parameter in made.parameters()])


def kept_and_broken(promise: Promise, patches: list[Patch], world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The promise holds; with what was done instead it does not."""
    for name in ("kept", "broken"):
        (world.folder / name).mkdir()
    promise(World(world.folder / "kept", world.corpus))
    for owner, name, instead in patches:
        monkeypatch.setattr(owner, name, instead)
    with pytest.raises(BROKEN):
        promise(World(world.folder / "broken", world.corpus))
