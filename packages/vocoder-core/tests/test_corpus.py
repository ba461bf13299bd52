"""Prepared corpora: what is stored, that it is the same however it was made, and what opening them checks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder_core import audio
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.layouts import Utterance, find

CONFIG = CorpusConfig(sample_rate=16_000, hop_length=200)


@dataclasses.dataclass(frozen=True)
class Features:
    sample_rate: int = 16_000
    hop_length: int = 200
    n_mels: int = 80


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder: what has to be the same."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def speech(shared_audio: Path) -> list[Utterance]:
    """All the repository's speech."""
    return find(shared_audio)


@pytest.fixture(scope="module")
def prepared(speech: list[Utterance], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The speech, prepared by one process."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    summary = prepare(speech, folder, CONFIG, features=Features(), jobs=1, progress=False)
    assert (summary.prepared, summary.rejected, summary.finished) == (len(speech), (), True)
    return folder


def test_what_is_stored_is_the_recording_at_one_level(prepared: Path, speech: list[Utterance]):
    """Each utterance: the recording times its gain to the nearest 16-bit value, then zeros to a whole frame."""
    corpus = Corpus.open(prepared)
    assert [entry.id for entry in corpus.entries] == [utterance.id for utterance in speech]
    for entry, utterance in zip(corpus.entries, speech):
        wav, rate = soundfile.read(utterance.path, dtype="float32")
        stored = corpus.wav(entry)
        assert (rate, stored.dtype, stored.shape) == (16_000, np.float32, (entry.samples,))
        assert entry.samples == entry.frames * 200
        assert entry.length == len(wav) > entry.samples - 200
        assert np.abs(stored[: len(wav)] - wav * entry.gain).max() <= 0.5 / 32768 + 1e-7
        assert not stored[len(wav) :].any()
        assert entry.source_sha256 == hashlib.sha256(utterance.path.read_bytes()).hexdigest()
        assert (entry.speaker, entry.split, entry.text) == (utterance.speaker, utterance.split, utterance.text)


def test_speech_is_brought_to_minus_24_lufs(prepared: Path):
    """By pyloudnorm's measure; where the peak would clip, the recording stays below instead."""
    pyloudnorm = pytest.importorskip("pyloudnorm")
    corpus = Corpus.open(prepared)
    for entry in corpus.entries[::5]:
        wav = corpus.wav(entry)[: entry.length // 1600 * 1600]
        measured = pyloudnorm.Meter(16_000).integrated_loudness(wav)
        assert measured == pytest.approx(-24.0, abs=0.3) or (
            measured < -24 and np.abs(wav).max() == pytest.approx(0.999, abs=1e-3)
        )


def test_a_click_holds_the_level_back(tmp_path: Path, shared_audio: Path):
    """Soft speech with one loud sample: the gain stops where that sample reaches 0.999, it is never clipped."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    wav = 0.05 * wav
    wav[20_000] = -0.8
    soundfile.write(tmp_path / "a.wav", wav, rate)
    prepare(find(tmp_path), tmp_path / "data", CONFIG, progress=False)
    corpus = Corpus.open(tmp_path / "data")
    assert corpus.wav(corpus.entries[0]).min() == pytest.approx(-0.999, abs=1e-4)
    assert corpus.entries[0].gain == pytest.approx(0.999 / 0.8, rel=1e-4)


@pytest.mark.parametrize(("level", "level_db", "peak"), [("peak", -1.0, 0.8912509), ("none", -24.0, None)])
def test_other_levels(tmp_path: Path, shared_audio: Path, level: str, level_db: float, peak: float | None):
    """peak: the highest sample at level_db dBFS. none: as recorded, but float files beyond 1 come below it."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    soundfile.write(tmp_path / "a.wav", wav, rate)
    soundfile.write(tmp_path / "loud.wav", wav * (3 / np.abs(wav).max()), rate, subtype="FLOAT")
    config = dataclasses.replace(CONFIG, level=level, level_db=level_db)
    prepare(find(tmp_path), tmp_path / "data", config, progress=False)
    corpus = Corpus.open(tmp_path / "data")
    plain, loud = (np.abs(corpus.wav(entry)).max() for entry in corpus.entries)
    assert plain == pytest.approx(peak or np.abs(wav).max(), abs=1e-4)
    assert loud == pytest.approx(peak or 0.999, abs=1e-4)


def test_the_bytes_depend_on_neither_order_nor_jobs_nor_shards(prepared: Path, speech: list[Utterance], tmp_path: Path):
    """Two processes, a shuffled list, three shards that are joined: all files equal to those of one process."""
    shuffled = random.Random(0).sample(speech, len(speech))
    prepare(shuffled, tmp_path / "jobs", CONFIG, features=Features(), jobs=2, progress=False)
    assert content(tmp_path / "jobs") == content(prepared)
    seen = 0
    for shard in (2, 0, 1):
        summary = prepare(
            speech, tmp_path / "shards", CONFIG, features=Features(), jobs=1, shard=(shard, 3), progress=False
        )
        assert not summary.finished
        seen += summary.prepared
        with pytest.raises(FileNotFoundError, match="its preparation is not finished: run it again"):
            Corpus.open(tmp_path / "shards")
    assert seen == len(speech)
    assert "run the same command without --shard" in str(summary)
    assert prepare(speech, tmp_path / "shards", CONFIG, features=Features(), progress=False).finished
    assert content(tmp_path / "shards") == content(prepared)


def test_running_again_changes_nothing(prepared: Path, speech: list[Utterance]):
    """A finished corpus is recognised, and its summary told again."""
    before = {path: path.stat().st_mtime_ns for path in prepared.iterdir()}
    again = prepare(speech, prepared, CONFIG, features=Features(), progress=False)
    assert again.prepared == len(speech)
    assert sum(again.seconds.values()) == pytest.approx(sum(e.length for e in Corpus.open(prepared).entries) / 16_000)
    assert {path: path.stat().st_mtime_ns for path in prepared.iterdir()} == before


def test_a_corpus_of_an_earlier_version_is_recognised_too(prepared: Path, speech: list[Utterance], tmp_path: Path):
    """A setting that did not exist then had what is its default now; another value of it is another corpus."""
    shutil.copytree(prepared, tmp_path / "data")
    features = tmp_path / "data" / "features.yaml"
    lines = features.read_text().splitlines(keepends=True)
    features.write_text("".join(line for line in lines if "held_out_fraction" not in line))
    assert len(features.read_text().splitlines()) == len(lines) - 1
    assert prepare(speech, tmp_path / "data", CONFIG, features=Features(), progress=False).finished
    asked = dataclasses.replace(CONFIG, held_out_fraction=0.5)
    with pytest.raises(ValueError, match=r"corpus\.held_out_fraction = 0\.0, now 0\.5 is asked"):
        prepare(speech, tmp_path / "data", asked, features=Features(), progress=False)


def test_the_summary_names_who_is_never_heard_in_training(prepared: Path, speech: list[Utterance]):
    again = prepare(speech, prepared, CONFIG, features=Features(), progress=False)
    assert again.unseen == ("austen", "slt")
    assert "speakers that training never hears: 2 (austen, slt)" in str(again)


def test_what_cannot_be_used_is_listed_with_its_reason(tmp_path: Path, speech: list[Utterance]):
    """Too short, silent, broken, missing: never lost, in rejected.tsv and in the summary, the rest prepared."""
    bad = tmp_path / "bad"
    bad.mkdir()
    soundfile.write(bad / "short.wav", audio.load(speech[0].path)[0][:6399], 16_000)
    soundfile.write(bad / "zero.wav", np.zeros(16_000, np.float32), 16_000)
    soundfile.write(bad / "hiss.wav", np.random.default_rng(0).normal(0, 1e-5, 16_000), 16_000, subtype="FLOAT")
    (bad / "text\tand tab.wav").write_text("no audio")
    (bad / "missing.wav").symlink_to("nowhere.wav")
    utterances = [*find(bad), *speech[:3]]
    summary = prepare(utterances, tmp_path / "data", CONFIG, progress=False)
    reasons = {rejection.id: rejection.reason for rejection in summary.rejected}
    assert reasons == {
        "short": "too short: 0.400 s, expected 0.4 s or more",
        "zero": "silent: all samples are zero",
        "hiss": "silent: no part of it is louder than -70 LUFS",
        "text\tand tab": "not readable as audio, or cut short (Format not recognised)",
        "missing": "no such file",
    }
    assert summary.prepared + len(summary.rejected) == len(utterances)
    assert len((tmp_path / "data" / "rejected.tsv").read_text().splitlines()) == 1 + len(reasons)
    assert all(reason in str(summary) for reason in reasons.values())
    with pytest.raises(
        ValueError, match=r"none of the 5 recordings can be used \(see .*rejected\.tsv\); .*hiss\.wav: silent"
    ):
        prepare(find(bad), tmp_path / "nothing", CONFIG, progress=False)
    assert len((tmp_path / "nothing" / "rejected.tsv").read_text().splitlines()) == 6


def damaged(prepared: Path, tmp_path: Path, name: str, change: object) -> Path:
    shutil.copytree(prepared, tmp_path / "data")
    path = tmp_path / "data" / name
    data = path.read_bytes()
    path.unlink()
    if change is not None:
        path.write_bytes(change(data))  # type: ignore[operator]
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("audio.npy", lambda d: d[:-1000], r"audio\.npy: damaged or cut short .* prepare the corpus again"),
        ("audio.npy", lambda d: b"", r"audio\.npy: damaged or cut short"),
        ("audio.npy", lambda d: b"PK" + d, r"audio\.npy: damaged or cut short"),
        ("audio.npy", None, r"audio\.npy: the file is missing"),
        ("manifest.jsonl", None, r"not a prepared corpus, it has no manifest\.jsonl"),
        ("manifest.jsonl", lambda d: d[: len(d) // 2], r"manifest\.jsonl:\d+: the line is damaged"),
        ("manifest.jsonl", lambda d: d[: d.rindex(b"{")], r"audio\.npy: holds int16 .* the manifest wants int16"),
        ("manifest.jsonl", lambda d: d[d.index(b"\n") + 1 :], r"manifest\.jsonl:1: .* does not fit here"),
        (
            "manifest.jsonl",
            lambda d: d.replace(b'"train"', b'"trian"', 1),
            r"manifest\.jsonl:\d+: .* does not fit here",
        ),
        ("features.yaml", None, r"features\.yaml: the file is missing"),
        ("features.yaml", lambda d: b"x: [", r"features\.yaml: not the settings of a prepared corpus"),
        ("features.yaml", lambda d: d.replace(b"format: 1", b"format: 2"), "has format 2, this version reads 1"),
        ("features.yaml", lambda d: d.replace(b"level:", b"lavel:"), r"unknown key lavel \(did you mean level\?\)"),
        ("speakers.json", None, r"speakers\.json: the file is missing"),
        ("speakers.json", lambda d: b"{", r"speakers\.json: damaged"),
        ("speakers.json", lambda d: b"{}", r"speakers\.json: lacks 'austen', a speaker of the manifest"),
    ],
)
def test_a_damaged_corpus_is_not_opened(prepared: Path, tmp_path: Path, name: str, change: object, message: str):
    """Each file missing, cut or of another version is one sentence that names it."""
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        Corpus.open(damaged(prepared, tmp_path, name, change))
    assert "\n" not in str(caught.value)


def test_training_asks_for_the_features_it_was_prepared_for(prepared: Path):
    """A mismatch names the field; fields of the corpus can be asked for, too."""
    corpus = Corpus.open(prepared)
    corpus.require(Features(), level_db=-24.0)
    with pytest.raises(ValueError, match=r"prepared with features\.n_mels = 80, now 100 is asked: prepare it again"):
        corpus.require(Features(n_mels=100))
    with pytest.raises(ValueError, match=r"prepared with level_db = -24\.0, now -20\.0 is asked"):
        corpus.require(Features(), level_db=-20.0)


def test_a_corpus_made_before_a_field_existed_was_made_with_its_default(prepared: Path):
    corpus = Corpus.open(prepared)
    made = dataclasses.make_dataclass(
        "Features", [(f.name, f.type, f.default) for f in dataclasses.fields(Features)] + [("new", int, 3)], frozen=True
    )
    corpus.require(made())
    with pytest.raises(ValueError, match=r"prepared with features\.new = 3, now 4 is asked"):
        corpus.require(made(new=4))


def test_speakers_and_splits(prepared: Path):
    """speakers.json counts from 0 in natural order; speakers without training clips are the unseen ones."""
    corpus = Corpus.open(prepared)
    assert corpus.speakers == {"austen": 0, "carlo": 1, "ivrvoice": 2, "ru_nsh": 3, "slt": 4}
    assert json.loads((prepared / "speakers.json").read_text()) == corpus.speakers
    assert corpus.unseen_speakers == {"austen", "slt"}
    assert sum(len(corpus.split(name)) for name in ("train", "valid", "test")) == len(corpus.entries)
    with pytest.raises(ValueError, match="unknown split 'dev', expected train, valid, test"):
        corpus.split("dev")


def test_the_audio_is_read_from_disk_and_cannot_be_changed(prepared: Path):
    corpus = Corpus.open(prepared)
    assert isinstance(corpus.audio, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        corpus.audio[0] = 1
    assert os.path.getsize(prepared / "audio.npy") == 128 + 2 * len(corpus.audio)
    assert math.isclose(float(corpus.wav(corpus.entries[0])[100]), corpus.audio[100] / 32768)
