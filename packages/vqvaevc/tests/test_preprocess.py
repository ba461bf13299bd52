"""vqvaevc-preprocess on real speech: VCTK as it unpacks, speaker trees, splits that are recorded, second runs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import pytest
import soundfile
import torch

from vocoder_core import audio
from vocoder_core import config as configs
from vocoder_core.corpus import Corpus
from vocoder_core.mel_presets import PRESETS
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.model import ORIGINAL_MEL
from vqvaevc.preprocess import main
from vqvaevc.settings import Settings

OVERTONE = ORIGINAL_MEL
FRONT_ENDS = {
    **dict.fromkeys(("default", "nocond", "mel"), OVERTONE),
    **dict.fromkeys(("codec", "small", "tiny"), PRESETS["asr16"]),
}


def load(name: str, *overrides: str) -> Settings:
    return configs.load(Settings, Path(str(resources.files("vqvaevc") / "configs" / f"{name}.yaml")), overrides)


def test_every_config_is_tested() -> None:
    folder = Path(str(resources.files("vqvaevc") / "configs"))
    assert {path.stem for path in folder.glob("*.yaml")} == FRONT_ENDS.keys()


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_every_config_has_the_front_end_it_says(name: str) -> None:
    """Written out in full, so that one field of it can be set without the others falling back to another preset."""
    assert load(name).model.mel == FRONT_ENDS[name]
    changed = load(name, "model.mel.fmin=30", "data.min_seconds=1", "crop.balance=0.25")
    assert changed.model.mel.n_mels == FRONT_ENDS[name].n_mels and changed.data.level == "peak"
    assert (changed.model.mel.fmin, changed.data.min_seconds, changed.crop.balance) == (30, 1, 0.25)


def test_the_config_default_is_the_default() -> None:
    assert load("default").model == VQVAEVCConfig() == Settings().model
    assert load("default").data == Settings().data


@pytest.mark.parametrize(("name", "parameters"), [("default", 15_041_920), ("nocond", 13_398_400)])
def test_the_public_networks_have_their_size(name: str, parameters: int) -> None:
    """Theirs without any speaker, and without the weights that they mask: 448 of each gate's coarse half."""
    with torch.device("meta"):
        own, of_two = (VQVAEVC(replace(load(name).model, speakers=names)) for names in ((), ("one", "other")))
    assert sum(p.numel() for p in own.parameters()) == parameters - 3 * 448
    grown = sum(p.numel() for p in of_two.parameters()) - sum(p.numel() for p in own.parameters())
    assert grown == (2 * 8832 if name == "default" else 0)


@pytest.mark.parametrize("name", FRONT_ENDS)
def test_the_readme_says_how_large_each_config_is(name: str) -> None:
    """The last column of its table; `small` with the speakers that it was trained on, whose half `codec` is."""
    readme = Path(__file__).resolve().parents[1] / "README.md"
    if not readme.is_file():
        pytest.skip("no README beside the tests")
    said = dict(re.findall(r"(?m)^\| `(\w+)` \|.*\| ([^|]+) \|$", readme.read_text(encoding="utf-8")))
    shipped = VQVAEVC.from_pretrained().config.speakers
    with torch.device("meta"):
        model = VQVAEVC(replace(load(name).model, speakers=shipped if name in ("small", "codec") else ()))
    size = said["small"] if name == "codec" else said[name]
    assert f"{sum(p.numel() for p in model.parameters()):,}" == size.split()[0]
    assert (said[name] == "the same") is (name == "codec")


def test_the_parts_of_the_default_have_the_sizes_of_the_originals() -> None:
    """Of 109 speakers, as published: encoder, table, each convolution and GRU of the context stack."""
    with torch.device("meta"):
        model = VQVAEVC(replace(load("default").model, speakers=tuple(f"p{i}" for i in range(109))))
    over = model.overtone
    parts = [model.condition.encoder, model.quantizer, *over.convs, *over.rnns, model.wavernn]
    sizes = [sum(p.numel() for p in part.parameters()) for part in parts]
    assert sizes[:-1] == [1_381_376, 65_536, 188_416, 318_464, 318_464, 2_399_232, 2_989_056, 2_989_056]
    assert sizes[-1] == 5_355_008 - 3 * 448, "of the WaveRNN without what the mask keeps at zero"


def test_speech_becomes_what_training_asks_for(shared_audio: Path, tmp_path: Path) -> None:
    """The command as a user runs it: all clips at the model's rate, hop, level and mel."""
    command = [sys.executable, "-m", "vqvaevc.preprocess", shared_audio, tmp_path / "data", "--config", "tiny"]
    run = subprocess.run([*map(str, command), "--jobs", "1"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "46 of 46 recordings prepared, 5 speakers" in run.stdout
    assert "speakers that training never hears: 2 (austen, slt)" in run.stdout
    corpus, model = Corpus.open(tmp_path / "data"), load("tiny").model
    corpus.require(model.mel, sample_rate=16_000, hop_length=256, level=model.level, level_db=model.level_db)
    peaks = [abs(corpus.wav(entry)).max() for entry in corpus.entries]
    assert min(peaks) == pytest.approx(0.95, abs=1e-4) == max(peaks)


def vctk(shared_audio: Path, root: Path, version: str) -> Path:
    """Some of our recordings, as an archive of VCTK unpacks; folders are made in an order that is nobody's."""
    newer = version == "0.92"
    folder = root / ("VCTK-Corpus-0.92" if newer else "VCTK-Corpus")
    wavs = folder / ("wav48_silence_trimmed" if newer else "wav48")
    for place, (speaker, source) in enumerate((("p300", "slt"), ("p225", "carlo"), ("p26", "ivrvoice"))):
        for number, clip in enumerate(sorted((shared_audio / source).glob("*.flac"))[:3], 1):
            name = f"{speaker}_{number:03d}"
            wav, _ = audio.load(clip, 48_000)
            (wavs / speaker).mkdir(parents=True, exist_ok=True)
            (folder / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (folder / "txt" / speaker / f"{name}.txt").write_text(f"Words {place} {number}.\n")
            for stem in (f"{name}_mic1", f"{name}_mic2") if newer else (name,):
                soundfile.write(wavs / speaker / f"{stem}.{'flac' if newer else 'wav'}", wav[:48_000], 48_000)
    return folder


@pytest.mark.parametrize("version", ["0.80", "0.92"])
@pytest.mark.parametrize("config", ["tiny", "default"])
def test_both_versions_of_vctk_are_read(shared_audio: Path, tmp_path: Path, version: str, config: str) -> None:
    """Three speakers by their names in natural order; of 0.92 the first microphone; 48 kHz becomes the model's rate."""
    root = vctk(shared_audio, tmp_path, version)
    assert main([str(root.parent), str(tmp_path / "data"), "--config", config, "--jobs", "1"]) == 0
    corpus, model = Corpus.open(tmp_path / "data"), load(config).model
    assert corpus.speakers == {"p26": 0, "p225": 1, "p300": 2}
    assert [entry.id for entry in corpus.entries][:4] == ["p26_001", "p26_002", "p26_003", "p225_001"]
    assert {entry.text for entry in corpus.entries} >= {"Words 0 1.", "Words 2 3."}
    assert all(entry.length == model.mel.sample_rate for entry in corpus.entries)
    assert all(entry.samples % model.mel.hop_length == 0 for entry in corpus.entries)


def test_running_again_changes_nothing(shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The original's second run left an empty index."""
    root = vctk(shared_audio, tmp_path, "0.92")
    command = [str(root), str(tmp_path / "data"), "--config", "tiny", "--hold-out-fraction", "0.3", "--jobs", "1"]
    assert main(command) == 0
    said = capsys.readouterr().out
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "data").iterdir()}
    assert main(command) == 0 and capsys.readouterr().out == said
    after = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "data").iterdir()}
    assert after == before


def test_who_and_what_is_held_out_is_recorded_and_the_same_everywhere(shared_audio: Path, tmp_path: Path) -> None:
    """A share of the speakers by a hash of their names: other folders, other runs and other orders agree."""
    told = ["--hold-out-fraction", "0.3", "--valid-fraction", "0.4", "--test-fraction", "0", "--jobs", "1"]
    made = []
    for name in ("one", "other"):
        root = vctk(shared_audio, tmp_path / name, "0.80")
        if name == "other":  # the same speakers, come upon in another order
            (root / "wav48" / "p26").rename(root / "wav48" / "x")
            (root / "wav48" / "x").rename(root / "wav48" / "p26")
        assert main([str(root), str(tmp_path / name / "data"), "--config", "tiny", *told]) == 0
        corpus = Corpus.open(tmp_path / name / "data")
        made.append({entry.id: (entry.speaker, entry.split) for entry in corpus.entries})
        assert len(corpus.unseen_speakers) == 1 and corpus.config.held_out_fraction == 0.3
        (unseen,) = corpus.unseen_speakers
        assert {entry.split for entry in corpus.entries if entry.speaker == unseen} == {"test"}
        assert {entry.split for entry in corpus.entries if entry.speaker != unseen} == {"train", "valid"}
        assert list(json.loads((tmp_path / name / "data" / "speakers.json").read_text())) == ["p26", "p225", "p300"]
    assert made[0] == made[1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing", "{tmp}/data"], "nothing: no such folder"),
        (["{speech}", "{tmp}/data", "--set", "data.hop_length=300"], "data.hop_length is 300, the model needs 256"),
        (["{speech}", "{tmp}/data", "--set", "data.level=none"], "data.level is none, the model needs peak"),
        (["{speech}", "{tmp}/data", "--config", "paper"], "built in: "),
        (["{speech}", "{tmp}/data", "--layout", "vctk"], "does not have the shape of layout vctk"),
        (["{speech}", "{tmp}/data", "--hold-out", "carol"], "names 'carol' (did you mean carlo?)"),
        (["{speech}", "{tmp}/data", "--hold-out-fraction", "1"], "held_out_fraction is 1.0, expected 0 to below 1"),
    ],
)
def test_errors_are_one_sentence(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [text.format(speech=shared_audio, tmp=tmp_path) for text in arguments]
    assert main(given if "--config" in given else [*given, "--config", "tiny"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vqvaevc-preprocess: error: ") and message in error
    assert error.count("\n") == 1 and not (tmp_path / "data").exists()
