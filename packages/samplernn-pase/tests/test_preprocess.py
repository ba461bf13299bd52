"""samplernn-pase-preprocess on real speech: corpora as they unpack, second runs, kills, mistakes in one sentence."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from samplernn_pase import corpus_speakers, features, speaker_vectors, world43
from samplernn_pase.features import Features
from samplernn_pase.model import MEL, SampleRNNPASEConfig
from samplernn_pase.preprocess import main
from samplernn_pase.settings import Settings
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core import config as configs
from vocoder_core.corpus import Corpus

sys.path.append(str(Path(__file__).parent))
from small_corpora import PLAIN, RATE, Speech, arctic, everything, libritts, tree, trimmed, vctk

KINDS = {"default": "mel80", "small": "mel80", "tiny": "mel80", "world43": "world43", "linguistic": "linguistic"}


def load(name: str) -> Settings:
    return configs.load(Settings, Path(str(resources.files("samplernn_pase") / "configs" / f"{name}.yaml")), [])


@pytest.fixture
def speech(shared_audio: Path) -> Speech:
    return Speech(shared_audio)


# ---- configs


def test_every_config_is_tested_and_hears_what_it_says() -> None:
    folder = Path(str(resources.files("samplernn_pase") / "configs"))
    assert {path.stem for path in folder.glob("*.yaml")} == KINDS.keys() | {"prosody"}, "which is another program's"
    for name, kind in KINDS.items():
        settings = load(name)
        assert (settings.model.content.kind, settings.model.mel) == (kind, MEL), name
        assert settings.data.hop_length == 80 and settings.data.level == settings.model.level


def test_the_config_default_is_the_default() -> None:
    assert replace(load("default").model, speaker=SpeakerConfig()) == SampleRNNPASEConfig()
    assert load("default").data == Settings().data


# ---- corpora as they unpack


@pytest.mark.parametrize(
    ("layout", "speakers"),
    [
        (lambda root, speech: vctk(root, speech, False), ["p26", "p225", "p300"]),
        (lambda root, speech: vctk(root, speech, True), ["p26", "p225", "p300"]),
        (arctic, ["bdl", "slt"]),
        (libritts, ["7", "84", "103"]),
        (tree, ["carlo", "ru_nsh"]),
        (trimmed, ["p225", "p300", "slt"]),
    ],
    ids=["vctk-0.80", "vctk-0.92", "arctic", "libritts", "tree", "trimmed"],
)
def test_every_layout_is_read(tmp_path: Path, speech: Speech, layout: object, speakers: list[str]) -> None:
    """Speakers of CMU ARCTIC, too: one place of the original called its folder cmu_artic."""
    root = layout(tmp_path / "in", speech)  # type: ignore[operator]
    assert main([str(root), str(tmp_path / "data"), "--config", "tiny", "--jobs", "1"]) == 0
    corpus = Corpus.open(tmp_path / "data")
    assert list(corpus.speakers) == speakers and all(entry.length == RATE for entry in corpus.entries)
    made = Features.open(corpus, "mel80", mel=MEL, pitch=True)
    assert made.pitch is not None and len(made.content) == len(made.pitch) == len(corpus.audio) // 80
    assert not made.left_out and set(made.statistics.speakers) == {e.speaker for e in corpus.split("train")}


@pytest.mark.slow
def test_all_of_the_shared_speech_as_a_user_runs_it(shared_audio: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "samplernn_pase.preprocess", shared_audio, tmp_path / "data", "--config", "tiny"]
    run = subprocess.run([*map(str, command), "--jobs", "2"], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "46 of 46 recordings prepared, 5 speakers" in run.stdout
    assert "speakers that training never hears: 2 (austen, slt)" in run.stdout
    assert f"{tmp_path}/data/features/content-mel80.npy: 46 of 46 recordings, 80 numbers a frame" in run.stdout
    assert f"{tmp_path}/data/features/pitch.npy: 46 of 46 recordings, 2 numbers a frame" in run.stdout
    corpus, model = Corpus.open(tmp_path / "data"), load("tiny").model
    corpus.require(model.mel, sample_rate=RATE, hop_length=80, level=model.level, level_db=model.level_db)
    assert set(Features.open(corpus, "mel80", mel=model.mel, pitch=True).statistics.speakers) == {
        "carlo", "ivrvoice", "ru_nsh",
    }  # fmt: skip


def test_vectors_of_speakers_are_made_when_asked_for(
    tmp_path: Path, speech: Speech, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of everybody, by the encoder and the seconds of the settings; who makes them is tested in test_embed.py."""

    class Told:
        name, dim, fingerprint = "ge2e", 256, "0" * 64

        def embed(self, wav: np.ndarray, sample_rate: int) -> np.ndarray:
            return np.full(256, len(wav) / sample_rate, np.float32)

    monkeypatch.setattr(corpus_speakers, "encoder", lambda provider, weights: Told())
    command = [str(tree(tmp_path / "in", speech)), str(tmp_path / "data"), *PLAIN, "--set", "model.speaker.seconds=0.5"]
    assert main([*command, "--speaker-vectors", "ge2e"]) == 0
    made = speaker_vectors.read(tmp_path / "data" / "features" / "speakers-ge2e.npz")
    assert made.names == ("carlo", "ru_nsh") and made.values.shape == (2, 256) and np.allclose(made.values, 0.5)
    assert main([*command, "--speaker-vectors", "file"]) == 2, "whose?"


# ---- again


def test_running_again_changes_nothing(tmp_path: Path, speech: Speech, capsys: pytest.CaptureFixture[str]) -> None:
    root = vctk(tmp_path / "in", speech, True)
    command = [str(root), str(tmp_path / "data"), "--config", "tiny", "--hold-out-fraction", "0.3", "--jobs", "1"]
    assert main(command) == 0
    said, before = capsys.readouterr().out, everything(tmp_path / "data")
    assert main(command) == 0 and capsys.readouterr().out == said
    assert everything(tmp_path / "data") == before


def test_as_a_user_runs_it_it_is_the_same_in_every_process(tmp_path: Path, speech: Speech) -> None:
    """The original drew its splits without a seed, and kept sets, whose order a process draws."""
    root = tree(tmp_path / "in", speech)
    for seed in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "samplernn_pase.preprocess",
            root,
            tmp_path / seed,
            "--config",
            "tiny",
            "--jobs",
            "1",
        ]
        subprocess.run([*map(str, command)], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True)
    one, other = (everything(tmp_path / seed) for seed in ("1", "2"))
    assert {name: data for name, (data, _) in one.items()} == {name: data for name, (data, _) in other.items()}


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(shared_audio: Path, tmp_path: Path) -> None:
    """SIGKILL in the audio, in the mel and in the pitch, then one run to the end."""
    folders = [tmp_path / name for name in ("whole", "killed")]
    commands = [
        [
            sys.executable,
            "-m",
            "samplernn_pase.preprocess",
            str(shared_audio),
            str(folder),
            "--config",
            "tiny",
            "--jobs",
            "1",
        ]
        for folder in folders
    ]
    subprocess.run(commands[0], check=True, capture_output=True)
    killed, draw = 0, random.Random(0)
    for mark in ("partial", "manifest.jsonl", "features/.content-mel80.done", "features/.pitch.done"):
        process = subprocess.Popen(commands[1], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (folders[1] / mark).exists():
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.1))
        killed += process.poll() is None
        process.kill()
        process.wait()
    assert killed >= 3, "the test has to meet processes that are still at work"
    subprocess.run(commands[1], check=True, capture_output=True)
    one, other = (everything(folder) for folder in folders)
    assert {name: data for name, (data, _) in one.items()} == {name: data for name, (data, _) in other.items()}


def test_a_shard_makes_its_audio_and_the_last_run_the_features(tmp_path: Path, speech: Speech) -> None:
    root, command = tree(tmp_path / "in", speech), ["--config", "tiny", "--jobs", "1"]
    assert main([str(root), str(tmp_path / "data"), *command, "--shard", "0/2"]) == 0
    assert not (tmp_path / "data" / "features").exists()
    assert main([str(root), str(tmp_path / "data"), *command]) == 0
    assert Features.open(tmp_path / "data", "mel80", pitch=True).pitch is not None


# ---- mistakes


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing", "{tmp}/data"], "nothing: no such folder"),
        (["{speech}", "{tmp}/data", "--content", "mel"], "model.content.kind is 'mel'; expected one of mel80, world43"),
        (
            ["{speech}", "{tmp}/data", "--labels", "{tmp}"],
            "--labels are read for linguistic content, but mel80 is asked",
        ),
        (
            ["{speech}", "{tmp}/data", "--acoustic", "{tmp}"],
            "--acoustic is read for world43 and linguistic_lf0, but mel80",
        ),
        (["{speech}", "{tmp}/data", "--content", "world43"], "labels.order is 24"),
        (["{speech}", "{tmp}/data", "--set", "data.hop_length=256"], "data.hop_length is 256, the model needs 80"),
        (["{speech}", "{tmp}/data", "--hold-out", "carol"], "names 'carol' (did you mean carlo?)"),
        (["{speech}", "{tmp}/data", "--speaker-vectors", "ge2"], "--speaker-vectors ge2: expected one of ge2e, pase"),
        (["{speech}", "{tmp}/data", "--config", "linguistic", "--labels", "{tmp}/none"], "none: no such folder"),
    ],
)
def test_mistakes_are_one_sentence_before_anything_is_done(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    given = [text.format(speech=shared_audio, tmp=tmp_path) for text in arguments]
    assert main(given if "--config" in given else [*given, "--config", "tiny"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("samplernn-pase-preprocess: error: ") and message in error
    assert error.count("\n") == 1 and not (tmp_path / "data").exists()


def test_without_pyworld_world43_says_how_to_get_it(
    tmp_path: Path, speech: Speech, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world43, "available", lambda: False)
    assert main([str(tree(tmp_path / "in", speech)), str(tmp_path / "data"), *PLAIN, "--content", "world43"]) == 2
    assert 'pip install "samplernn-pase[world]"' in capsys.readouterr().err and not (tmp_path / "data").exists()


def test_no_label_at_all_is_an_error(tmp_path: Path, speech: Speech, capsys: pytest.CaptureFixture[str]) -> None:
    root = tree(tmp_path / "in", speech)
    assert main([str(root), str(tmp_path / "data"), "--config", "linguistic", "--jobs", "1"]) == 2
    error = capsys.readouterr().err
    assert "content-linguistic: none of the 6 recordings can be used; carlo/0:" in error and "no such file" in error
    assert features.mel_of(Corpus.open(tmp_path / "data")) == MEL, "the audio is kept"
