"""waveglow-vq-preprocess on real speech, and the settings that it shares with training, file by file."""

from __future__ import annotations

import subprocess
import sys
from importlib import resources
from pathlib import Path

import pytest
import torch
import yaml

from vocoder_core import config as configs
from vocoder_core.corpus import Corpus
from vocoder_core.mel_presets import PRESETS
from waveglow_vq import WaveGlowVQ
from waveglow_vq.model import WaveGlowVQConfig
from waveglow_vq.preprocess import main
from waveglow_vq.settings import Settings

FRONT_ENDS = {
    "default": "asr16", "s": "asr16", "xs": "asr16", "convert": "asr16", "tiny": "asr16", "nvidia256": "waveglow22",
    "paper512": "waveglow22", "seed_ljs_vq": "waveglow22", "seed_vctk": "waveglow22",
}  # fmt: skip


def load(name: str, *overrides: str) -> Settings:
    return configs.load(Settings, Path(str(resources.files("waveglow_vq") / "configs" / f"{name}.yaml")), overrides)


def test_every_config_is_tested() -> None:
    folder = Path(str(resources.files("waveglow_vq") / "configs"))
    assert {path.stem for path in folder.glob("*.yaml")} == FRONT_ENDS.keys()


@pytest.mark.parametrize(("name", "preset"), FRONT_ENDS.items())
def test_every_config_has_the_front_end_it_says(name: str, preset: str) -> None:
    """Written out in full, so that one field of it can be set without the others falling back to another preset."""
    settings = load(name)
    assert settings.model.mel == PRESETS[preset]
    changed = load(name, "model.mel.fmin=30", "data.min_seconds=1", "model.flow.layers=3", "crop.frames=24")
    assert changed.model.mel.n_mels == PRESETS[preset].n_mels and changed.data.level == "peak"
    assert changed.model.flow.group == settings.model.flow.group
    assert (changed.model.mel.fmin, changed.data.min_seconds, changed.model.flow.layers) == (30, 1, 3)


def test_the_config_default_is_the_default() -> None:
    assert load("default").model == WaveGlowVQConfig() == Settings().model
    assert load("default").data == Settings().data


@pytest.mark.parametrize(("name", "parameters"), [("nvidia256", 87_879_272), ("paper512", 268_294_760)])
def test_the_public_networks_have_their_size(name: str, parameters: int) -> None:
    """Counted in NVIDIA/waveglow and in DeepLearningExamples."""
    with torch.device("meta"):
        model = WaveGlowVQ(load(name).model)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_speech_becomes_what_training_asks_for(shared_audio: Path, tmp_path: Path) -> None:
    """The command as a user runs it: all clips at the model's rate, hop, level and mel."""
    command = [sys.executable, "-m", "waveglow_vq.preprocess", shared_audio, tmp_path / "data", "--config", "tiny"]
    run = subprocess.run([*map(str, command), "--jobs", "1"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "46 of 46 recordings prepared, 5 speakers" in run.stdout
    corpus, model = Corpus.open(tmp_path / "data"), load("tiny").model
    corpus.require(model.mel, sample_rate=16_000, hop_length=256, level="peak", level_db=model.level_db)
    peaks = [abs(corpus.wav(entry)).max() for entry in corpus.entries]
    assert min(peaks) == pytest.approx(0.95, abs=1e-4) == max(peaks)


def test_lists_of_splits_are_read(shared_audio: Path, tmp_path: Path) -> None:
    """train.txt, valid.txt and test.txt with a path a line, beside the recordings."""
    clips = sorted((shared_audio / "carlo").glob("*.flac"))[:4]
    (tmp_path / "wavs").mkdir()
    for clip in clips:
        (tmp_path / "wavs" / clip.name).write_bytes(clip.read_bytes())
    for split, names in (("train", clips[:2]), ("valid", clips[2:3]), ("test", clips[3:])):
        (tmp_path / f"{split}.txt").write_text("".join(f"wavs/{clip.name}\n" for clip in names))
    assert main([str(tmp_path), str(tmp_path / "data"), "--config", "tiny", "--jobs", "1"]) == 0
    corpus = Corpus.open(tmp_path / "data")
    made = {split: [entry.id for entry in corpus.split(split)] for split in ("train", "valid", "test")}
    names = [clip.stem for clip in clips]
    assert made == {"train": names[:2], "valid": names[2:3], "test": names[3:]}


def test_print_config_shows_the_settings_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path), str(tmp_path / "data"), "--config", "nvidia256", "--print-config"])
    assert not end.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["model"]["flow"]["cond"] == "group" and printed["data"]["sample_rate"] == 22_050
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing", "{tmp}/data"], "nothing: no such folder"),
        (["{speech}", "{tmp}/data", "--set", "data.hop_length=300"], "data.hop_length is 300, the model needs 256"),
        (["{speech}", "{tmp}/data", "--set", "data.level=none"], "data.level is none, the model needs peak"),
        (["{speech}", "{tmp}/data", "--set", "model.level_db=-1"], "data.level_db is -0.4455, the model needs -1.0"),
        (["{speech}", "{tmp}/data", "--config", "paper"], "built in: convert, default"),
        (["{speech}", "{tmp}/data", "--layout", "lists"], "does not have the shape of layout lists"),
    ],
)
def test_errors_are_one_sentence(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main([text.format(speech=shared_audio, tmp=tmp_path) for text in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("waveglow-vq-preprocess: error: ") and message in error
    assert error.count("\n") == 1 and not (tmp_path / "data").exists()
