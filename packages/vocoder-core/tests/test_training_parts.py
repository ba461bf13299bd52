"""What every X-train does around `fit`: crops out of the corpus, the run's settings, first weights, held-out clips."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from vocoder_core import training
from vocoder_core.corpus import Corpus, CorpusConfig, crops, prepare
from vocoder_core.corpus.training_audio import TrainingAudio, generator
from vocoder_core.mel import MelConfig
from vocoder_core.utterance import Utterance
from vocoder_core.validation import CheckConfig, HeldOut, spread
from vocoder_core.vocoder import Vocoder

HOP = 100
MEL = MelConfig(n_mels=20, win_length=400, hop_length=HOP, n_fft=512)


@dataclass(frozen=True)
class CropConfig:
    frames: int = 4


@dataclass(frozen=True)
class Config:
    mel: MelConfig = MEL
    width: int = 3


@dataclass(frozen=True)
class Settings:
    model: Config = field(default_factory=Config)
    crop: CropConfig = field(default_factory=CropConfig)


class Echo(Vocoder):
    """Says a tone for as long as the mel lasts."""

    config_class = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.layer = nn.Linear(config.width, 1)

    def synthesize(self, mel: Tensor, *, seed: int) -> Tensor:
        return 0.1 * torch.sin(torch.arange(mel.shape[-1] * HOP) / 10 + seed)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Seven utterances, 0.5 to 1.1 s, some no multiple of a frame: five to train on, two held out."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    utterances = []
    for i in range(7):
        soundfile.write(folder / f"{i}.wav", 0.1 * rng.standard_normal(8000 + 1637 * i), 16_000)
        split = "train" if i < 5 else "valid" if i == 5 else "test"
        utterances.append(Utterance(str(i), "s" if i < 6 else "stranger", folder / f"{i}.wav", None, split))
    prepare(utterances, folder / "data", CorpusConfig(hop_length=HOP), features=MEL, progress=False)
    return Corpus.open(folder / "data")


@pytest.mark.parametrize(("frames", "margin"), [(7, 0), (7, 3), (200, 2)])
def test_crops_are_pieces_of_their_own_utterance_and_silence_beyond_it(
    corpus: Corpus, frames: int, margin: int
) -> None:
    """Against a slow loop, sample by sample; no crop holds a sample of its utterance's neighbour."""
    audio = TrainingAudio(corpus, "cpu")
    entries = corpus.split("train")
    index, first = crops([entry.frames for entry in entries], 3, 9, 24, frames)
    made = audio.waves(audio.crops(3, 9, 24, frames, margin))
    assert made.shape == (24, (frames + 2 * margin) * HOP) and made.dtype == torch.float32
    for row, which, begin in zip(made.numpy(), index, first, strict=True):
        own = corpus.wav(entries[which])
        wanted = np.zeros_like(row)
        for t in range(len(row)):
            at = (begin - margin) * HOP + t
            if 0 <= at < len(own):
                wanted[t] = own[at]
        assert np.array_equal(row, wanted)


def test_a_corpus_without_training_speech_is_refused(corpus: Corpus) -> None:
    with pytest.raises(ValueError, match="no training utterances"):
        TrainingAudio(replace(corpus, entries=corpus.split("test")), "cpu")


def test_a_generator_is_a_function_of_its_numbers() -> None:
    draw = [torch.rand(3, generator=generator("cpu", *numbers)) for numbers in ((1, 2), (1, 2), (2, 1))]
    assert torch.equal(draw[0], draw[1])
    assert not torch.equal(draw[0], draw[2])


def test_a_run_keeps_its_settings_and_refuses_other_crops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training.record(Settings(), tmp_path / "run")
    training.record(Settings(model=Config(width=4)), tmp_path / "run")  # `fit` compares the model
    with pytest.raises(ValueError, match="its crop.frames is 4, now it is 5"):
        training.record(Settings(crop=CropConfig(5)), tmp_path / "run")
    monkeypatch.setenv("RANK", "1")
    training.record(Settings(), tmp_path / "other")
    assert not (tmp_path / "other").exists(), "one process writes"


def test_first_weights_are_new_or_a_checkpoints(tmp_path: Path) -> None:
    Echo(Config()).save_pretrained(tmp_path)
    saved = Echo.from_pretrained(tmp_path)
    again = training.initial(Echo, Config(), tmp_path)
    assert torch.equal(again.layer.weight, saved.layer.weight)
    assert not torch.equal(training.initial(Echo, Config(), None).layer.weight, saved.layer.weight)
    with pytest.raises(ValueError, match="its width is 3, the settings say 5; set model.width"):
        training.initial(Echo, Config(width=5), tmp_path)


def test_held_out_clips_are_of_known_and_of_unknown_speakers(corpus: Corpus, tmp_path: Path) -> None:
    held_out = HeldOut(corpus, CheckConfig(clips=9, seconds=0.31, synthesize=9))
    assert {name: [e.id for e in entries] for name, entries in held_out.groups.items()} == {
        "seen": ["5"],
        "unseen": ["6"],
    }
    clip = held_out.clip(corpus.split("valid")[0], torch.device("cpu"))
    assert np.array_equal(clip.numpy(), corpus.wav(corpus.split("valid")[0])[: 49 * HOP])
    figures = held_out.listen(Echo(Config()), tmp_path, ["mr_stft", "lsd"])
    assert set(figures) == {"mr_stft", "lsd"} and all(np.isfinite(v) and v > 0 for v in figures.values())
    assert soundfile.info(tmp_path / "6.wav").frames == 49 * HOP
    assert HeldOut(corpus, CheckConfig(synthesize=0)).listen(Echo(Config()), tmp_path, ["lsd"]) == {}


def test_a_few_stand_for_all_evenly(corpus: Corpus) -> None:
    assert [e.id for e in spread(corpus.entries, 3)] == ["0", "3", "6"]
    assert spread(corpus.entries, 7) == spread(corpus.entries, 99) == corpus.entries
