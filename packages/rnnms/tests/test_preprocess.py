"""rnnms-preprocess on real speech: what it writes is what rnnms-train asks for, and errors are one sentence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rnnms.preprocess import main
from rnnms.settings import Settings
from vocoder_core.corpus import Corpus


def preprocess(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rnnms.preprocess", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_speech_becomes_what_training_asks_for(shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The command as a user runs it: all clips at the model's rate, hop, level and mel; run again, it agrees."""
    run = preprocess(shared_audio, tmp_path / "data", "--config", "tiny", "--jobs", 2)
    assert run.returncode == 0, run.stderr
    assert "46 of 46 recordings prepared, 5 speakers, minutes: train 1.9, valid 0.6, test 2.1" in run.stdout
    corpus, model = Corpus.open(tmp_path / "data"), Settings().model
    corpus.require(
        model.mel, sample_rate=model.mel.sample_rate, hop_length=model.mel.hop_length, level_db=model.loudness
    )
    assert corpus.unseen_speakers == {"austen", "slt"}
    assert main([str(shared_audio), str(tmp_path / "data"), "--config", "tiny"]) == 0
    assert capsys.readouterr().out == run.stdout


def test_shards_are_joined_by_a_run_without_shard(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Two machines' halves and one machine's whole are the same bytes."""
    for shard in ("0/2", "1/2"):
        assert main([str(shared_audio), str(tmp_path / "parts"), "--shard", shard, "--jobs", "1"]) == 0
        assert "when all are, run the same command without --shard" in capsys.readouterr().out
    for folder in ("parts", "whole"):
        assert main([str(shared_audio), str(tmp_path / folder), "--jobs", "1"]) == 0
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == ["audio.npy", "features.yaml", "manifest.jsonl", "rejected.tsv", "speakers.json"]
    for name in names:
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_flags_are_short_for_settings(shared_audio: Path, tmp_path: Path):
    """Fractions apply where the corpus names no split; speakers are held out; several folders become one corpus."""
    sources = [str(shared_audio / "carlo"), str(shared_audio / "ru_nsh")]
    flags = ["--valid-fraction", "0.3", "--test-fraction", "0", "--hold-out", "ru_nsh", "--jobs", "1"]
    assert main([*sources, str(tmp_path / "data"), *flags, "--set", "data.min_seconds=2"]) == 0
    corpus = Corpus.open(tmp_path / "data")
    assert corpus.speakers.keys() == {"carlo", "ru_nsh"}
    assert corpus.unseen_speakers == {"ru_nsh"}
    assert {entry.speaker for entry in corpus.split("test")} == {"ru_nsh"}
    assert 0 < len(corpus.split("valid")) < len(corpus.split("train"))
    assert corpus.config.min_seconds == 2.0
    assert (corpus.config.valid_fraction, corpus.config.held_out_speakers) == (0.3, ("ru_nsh",))


def test_print_config_shows_the_settings_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path), str(tmp_path / "data"), "--valid-fraction", "0.125", "--print-config"])
    assert not end.value.code
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["data"]["valid_fraction"] == 0.125
    assert printed["model"]["mel"]["hop_length"] == 200
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{tmp}/nothing", "{tmp}/data"], "nothing: no such folder"),
        (["{speech}", "{speech}"], "holds other things"),
        (["{speech}", "{tmp}/data", "--set", "data.levle=peak"], "unknown key data.levle (did you mean data.level?)"),
        (
            ["{speech}", "{tmp}/data", "--set", "data.level=peak"],
            "level_db is -24.0, expected -12 to 0 dB for level peak",
        ),
        (
            ["{speech}", "{tmp}/data", "--set", "data.hop_length=300"],
            "data.hop_length is 300, the model needs 200",
        ),
        (["{speech}", "{tmp}/data", "--valid-fraction", "much"], "data.valid_fraction is 'much'; expected a number"),
        (["{speech}", "{tmp}/data", "--hold-out", "carol"], "names 'carol' (did you mean carlo?)"),
        (["{speech}", "{tmp}/data", "--layout", "vctk"], "does not have the shape of layout vctk"),
        (["{speech}", "{tmp}/data", "--download", "timit"], "--download timit: unknown, expected ljspeech, vctk"),
        (["{speech}", "{tmp}", "{tmp}/data", "--download", "vctk"], "fetches into one folder, but 2 were given"),
    ],
)
def test_errors_are_one_sentence(
    shared_audio: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
):
    filled = [text.format(speech=shared_audio, tmp=tmp_path) for text in arguments]
    assert main(filled) == 2
    error = capsys.readouterr().err
    assert error.startswith("rnnms-preprocess: error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--shard", "2/2", "'2/2' is not a shard, expected I/N with I from 0 to N - 1"),
        ("--jobs", "0", "'0' is not a number of processes, expected 1 or more"),
        ("--layout", "ljspech", "invalid choice: 'ljspech'"),
    ],
)
def test_arguments_that_cannot_be_meant_show_the_usage(
    capsys: pytest.CaptureFixture[str], flag: str, value: str, message: str
):
    with pytest.raises(SystemExit) as end:
        main(["in", "data", flag, value])
    assert end.value.code == 2
    assert message in capsys.readouterr().err
