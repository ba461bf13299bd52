"""Features beside a prepared corpus: librosa's mel, who is left out and why, kills, full disks, damaged files."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from samplernn_pase import feature_file, features, front_ends
from samplernn_pase.content import ContentConfig
from samplernn_pase.features import Features
from samplernn_pase.front_ends import Mel, Pitch
from samplernn_pase.model import MEL
from vocoder_core import pitch
from vocoder_core.corpus import Corpus, CorpusConfig, Entry, prepare
from vocoder_core.layouts import find

CORPUS = CorpusConfig(16_000, 80, "peak", -0.4455)


@pytest.fixture(scope="module")
def prepared(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The two shortest recordings of each speaker and split, 20 of them, prepared, without features."""
    folder, shortest = tmp_path_factory.mktemp("features") / "data", {}
    for utterance in sorted(find(shared_audio), key=lambda utterance: -utterance.path.stat().st_size):
        shortest.setdefault((utterance.speaker, utterance.split), []).append(utterance)
    chosen = [utterance for found in shortest.values() for utterance in found[-2:]]
    prepare(chosen, folder, CORPUS, features=MEL, jobs=1, progress=False)
    return folder


@pytest.fixture
def corpus(prepared: Path, tmp_path: Path) -> Corpus:
    """A copy to write beside."""
    shutil.copytree(prepared, tmp_path / "data")
    return Corpus.open(tmp_path / "data")


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "features").iterdir()}


@dataclasses.dataclass(frozen=True)
class Counted:
    """A front end that is quick, and says of two recordings that it cannot."""

    name: str = "content-counted"
    width: int = 3
    dtype: str = "float32"
    broken: tuple[str, ...] = ()
    version: int = 0

    def settings(self, entries: Sequence[Entry]) -> dict[str, Any]:
        return {"version": self.version}

    def rows(self, entry: Entry, wav: np.ndarray) -> np.ndarray:
        if entry.id in self.broken:
            raise ValueError(f"{entry.id}.lab: no such\n  file")
        power = np.square(wav.reshape(entry.frames, 80)).mean(1)
        return np.stack([np.arange(entry.frames), power, np.full(entry.frames, 7.0)], axis=1) * (1 + self.version)


# ---- what they hold


def test_mel_is_librosas_frame_for_frame(corpus: Corpus) -> None:
    """In half precision, which costs 0.004 of ln units; each utterance by itself, at its own place."""
    librosa = pytest.importorskip("librosa")
    features.make_mel(corpus, progress=False)
    made = Features.open(corpus, "mel80", mel=MEL)
    assert made.content.dtype == np.float16 and made.content.shape == (len(corpus.audio) // 80, 80)
    for entry in (corpus.entries[0], corpus.entries[7], corpus.entries[-1]):
        amplitude = librosa.feature.melspectrogram(
            y=corpus.wav(entry), sr=16_000, n_fft=1024, hop_length=80, win_length=1024, power=1.0, n_mels=80, fmin=0,
            fmax=8000, pad_mode="reflect",
        )  # fmt: skip
        expected = np.log(np.maximum(amplitude, 1e-5)).T[: entry.frames]
        seen = made.of(entry)
        assert seen.shape == (entry.frames, 80) and seen.base is not None, "a view of the file"
        assert np.abs(seen - expected).max() < 0.006
        assert np.array_equal(seen, made.content[entry.offset // 80 :][: entry.frames])


def test_pitch_is_the_cores_of_each_utterance_alone(corpus: Corpus) -> None:
    features.make_mel(corpus, progress=False)
    features.make_pitch(corpus, progress=False)
    made = Features.open(corpus, "mel80", pitch=True)
    assert made.pitch is not None and made.pitch.dtype == np.float32 and made.pitch.shape == (len(made.content), 2)
    for entry in corpus.entries[::7]:
        lag, voicing = pitch.track(torch.from_numpy(corpus.wav(entry))[None], 16_000, 80)
        seen = made.pitch[entry.offset // 80 :][: entry.frames]
        np.testing.assert_allclose(seen, torch.cat([lag, voicing]).T, rtol=1e-5, atol=1e-6)
    assert Features.open(corpus, "mel80").pitch is None


def test_statistics_are_of_the_training_split_alone(corpus: Corpus) -> None:
    """The original's were of validation and test speech as well."""
    left = corpus.split("train")[0].id
    features.make(corpus, Counted(broken=(left,)), ContentConfig().scored[:2], progress=False)
    made = Features.open(corpus, "counted")
    rows = {
        split: np.concatenate([made.of(entry) for entry in made.usable(corpus.split(split))])
        for split in ("train", "valid", "test")
    }
    np.testing.assert_allclose(made.statistics.everybody.mean[:2], rows["train"].mean(0, np.float64)[:2], rtol=1e-6)
    np.testing.assert_allclose(made.statistics.everybody.std[:2], rows["train"].std(0, np.float64)[:2], rtol=1e-6)
    everything = np.concatenate([*rows.values()]).mean(0, np.float64)
    assert abs(made.statistics.everybody.mean / everything - 1)[:2].max() > 0.01, "the splits differ"
    assert set(made.statistics.speakers) == {entry.speaker for entry in corpus.split("train")}
    assert made.statistics.everybody.std[2] == 1, "a field that is not scored"


def test_every_kind_has_the_width_that_content_expects(corpus: Corpus) -> None:
    words = {name: ContentConfig().vocabulary(name) for name in ("phonemes", "vowels", "gpos", "tobi")}
    ends: list[feature_file.FrontEnd] = [
        Mel(MEL), front_ends.Ahocoder({}), front_ends.Linguistic({}, words),
        front_ends.Linguistic({}, words, front_ends.Ahocoder({})),
    ]  # fmt: skip
    for kind, end in zip(("mel80", "world43", "linguistic", "linguistic_lf0"), ends, strict=True):
        assert (end.name, end.width) == (f"content-{kind}", ContentConfig(kind=kind).width)  # type: ignore[arg-type]


# ---- who is left out


def test_a_recording_without_features_is_listed_with_its_reason(corpus: Corpus) -> None:
    """The original's threads swallowed such errors: the speaker's statistics stayed (0, 0)."""
    broken = tuple(entry.id for entry in corpus.entries[3:5])
    made = features.make(corpus, Counted(broken=broken), range(3), progress=False)
    assert made.left_out == {name: f"{name}.lab: no such file" for name in broken}
    opened = Features.open(corpus, "counted")
    assert opened.left_out == made.left_out
    assert [entry.id for entry in opened.usable(corpus.entries)] == [
        entry.id for entry in corpus.entries if entry.id not in broken
    ]
    assert not opened.of(corpus.entries[3]).any() and opened.of(corpus.entries[5])[1:].any()


def test_nothing_but_bad_files_is_an_error_that_names_the_first(corpus: Corpus) -> None:
    end = Counted(broken=tuple(entry.id for entry in corpus.entries))
    with pytest.raises(ValueError, match=r"content-counted: none of the 22 recordings can be used; .*\.lab: no such"):
        features.make(corpus, end, range(3), progress=False)
    with pytest.raises(ValueError, match="no content to make statistics of"):
        features.make(corpus, Counted(broken=tuple(e.id for e in corpus.split("train"))), range(3), progress=False)


def test_other_errors_are_not_swallowed(corpus: Corpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording's ValueError is its own; a mistake of the program stops the program."""
    monkeypatch.setattr(Counted, "rows", lambda self, entry, wav: np.zeros((entry.frames, 4)))
    with pytest.raises(AssertionError, match="content-counted of"):
        feature_file.make(corpus, Counted(), progress=False)
    monkeypatch.setattr(Counted, "rows", lambda self, entry, wav: {}["key"])
    with pytest.raises(KeyError):
        feature_file.make(corpus, Counted(), progress=False)


# ---- again, killed, on several processors, on a full disk


def test_made_again_changes_nothing_and_other_settings_make_it_anew(corpus: Corpus) -> None:
    first = features.make(corpus, Counted(), range(3), progress=False)
    before = {path.name: path.stat().st_mtime_ns for path in first.path.parent.iterdir()}
    assert sorted(before) == ["content-counted.json", "content-counted.npy", "statistics-counted.json"]
    assert features.make(corpus, Counted(), range(3), progress=False) == first
    assert {path.name: path.stat().st_mtime_ns for path in first.path.parent.iterdir()} == before
    other = features.make(corpus, Counted(broken=(corpus.entries[0].id,), version=1), range(3), progress=False)
    mean = Features.open(corpus, "counted").statistics.everybody.mean
    assert mean[2] == 14, "of the new features"
    assert len(other.left_out) == 1 and sorted(path.name for path in first.path.parent.iterdir()) == sorted(before)
    (first.path.parent / "statistics-counted.json").unlink()  # a kill between the two
    features.make(corpus, Counted(broken=(corpus.entries[0].id,), version=1), range(3), progress=False)
    assert Features.open(corpus, "counted").statistics


PROGRAM = """
import sys
from vocoder_core.corpus import Corpus
from samplernn_pase import features
features.feature_file.SIZE = 2
features.make_mel(Corpus.open(sys.argv[1]), jobs=int(sys.argv[2]), progress=False)
"""


def start(folder: Path, jobs: int = 1) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder), str(jobs)])


@pytest.fixture(scope="module")
def whole(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run that nobody disturbs writes, in one process and in blocks of 32."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    shutil.copytree(prepared, folder)
    features.make_mel(Corpus.open(folder), progress=False)
    return content(folder)


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(corpus: Corpus, whole: dict[str, bytes]) -> None:
    """SIGKILL, again and again, as soon as so many blocks are done; then one run to the end, of two processes."""
    log, killed, draw = corpus.folder / "features" / ".content-mel80.done", 0, random.Random(0)
    for blocks in (1, 4, 7):
        process = start(corpus.folder)
        while process.poll() is None and not (log.is_file() and log.read_bytes().count(b"\n") > blocks):
            time.sleep(0.002)
        time.sleep(draw.uniform(0, 0.02))
        killed += process.poll() is None
        process.kill()
        process.wait()
        if not (corpus.folder / "features" / "content-mel80.npy").exists():
            with pytest.raises(FileNotFoundError, match=r"content-mel80.npy: not there: run samplernn-pase-preprocess"):
                Features.open(corpus, "mel80")
    assert killed >= 2, "the test has to meet processes that are still at work"
    assert start(corpus.folder, jobs=2).wait() == 0
    assert content(corpus.folder) == whole


def interrupted(corpus: Corpus, monkeypatch: pytest.MonkeyPatch, blocks: int) -> None:
    """Make features until so many blocks of two recordings are done."""
    monkeypatch.setattr(feature_file, "SIZE", 2)
    keep = feature_file._Unfinished.keep

    def once(self: Any, number: int, results: list[feature_file.Rows]) -> None:
        if len(self.done) == blocks:
            raise KeyboardInterrupt
        keep(self, number, results)

    with monkeypatch.context() as patch:
        patch.setattr(feature_file._Unfinished, "keep", once)
        with pytest.raises(KeyboardInterrupt):
            features.make(corpus, Counted(), range(3), progress=False)


def test_done_blocks_are_not_made_twice_and_half_a_line_counts_for_nothing(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(corpus, monkeypatch, blocks=4)
    log = corpus.folder / "features" / ".content-counted.done"
    assert log.read_bytes().count(b"\n") == 1 + 4
    with open(log, "ab") as file:
        file.write(b'[4, {"x')
    seen: list[str] = []
    rows = Counted.rows
    monkeypatch.setattr(Counted, "rows", lambda self, entry, wav: seen.append(entry.id) or rows(self, entry, wav))
    features.make(corpus, Counted(), range(3), progress=False)
    assert seen == [entry.id for entry in corpus.entries[8:]]
    frames = Features.open(corpus, "counted").content[:, 0]
    assert frames.tolist() == [frame for entry in corpus.entries for frame in range(entry.frames)]


@pytest.mark.parametrize("damage", ["nothing", "log", "part", "other"])
def test_what_is_left_of_other_work_is_not_gone_on_with(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    features.make(corpus, Counted(), range(3), progress=False)
    whole = content(corpus.folder)
    feature_file.discard(corpus.folder, "content-counted")
    interrupted(corpus, monkeypatch, blocks=4)
    log, part = (corpus.folder / "features" / f".content-counted.{name}" for name in ("done", "part"))
    first = part.read_bytes()
    part.write_bytes(bytes(len(first)) if damage == "other" else first)
    if damage == "log":
        log.write_bytes(log.read_bytes()[:50])
    elif damage == "part":
        os.truncate(part, 1000)
    elif damage == "other":
        log.write_bytes(log.read_bytes().replace(b'"version": 0', b'"version": 9'))
    features.make(corpus, Counted(), range(3), progress=False)
    assert content(corpus.folder) == whole


@pytest.mark.parametrize("limit", [50, 1000])
def test_a_full_disk_is_one_sentence_and_loses_nothing(corpus: Corpus, limit: int) -> None:
    """No file fits, or no array does (a limit on the size of a file): then room, and it goes on."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(
            OSError, match="File too large; what is done so far is kept: mend it and run the same"
        ) as told:
            features.make(corpus, Counted(), range(3), progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(corpus.folder / "features") in str(told.value.filename)
    assert not features.make(corpus, Counted(), range(3), progress=False).left_out
    assert Features.open(corpus, "counted").content[:, 2].all()


def test_another_front_end_leaves_the_first_alone(corpus: Corpus) -> None:
    features.make(corpus, Counted(name="content-other"), range(3), progress=False)
    before = content(corpus.folder)
    features.make(corpus, Counted(), range(3), progress=False)
    assert {name: data for name, data in content(corpus.folder).items() if "counted" not in name} == before


# ---- reading


@pytest.fixture
def made(corpus: Corpus) -> Corpus:
    features.make(corpus, Counted(), range(3), progress=False)
    return corpus


def test_what_is_not_there_is_said_in_a_sentence(made: Corpus) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"content-world43.npy: not there: run samplernn-pase-preprocess IN DATA"
    ):
        Features.open(made, "world43")
    with pytest.raises(FileNotFoundError, match=r"pitch.npy: not there"):
        Features.open(made, "counted", pitch=True)
    (made.folder / "features" / "statistics-counted.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"statistics-counted.json: not there"):
        Features.open(made.folder, "counted")
    with pytest.raises(FileNotFoundError, match="not a prepared corpus"):
        Features.open(made.folder / "features", "counted")


def test_a_mel_of_another_front_end_is_refused_by_the_field(corpus: Corpus) -> None:
    features.make_mel(corpus, progress=False)
    assert Features.open(corpus, "mel80", mel=MEL).kind == "mel80"
    with pytest.raises(ValueError, match=r"content-mel80.npy: was made with mel.fmax = 8000.0, now 7600.0 is asked"):
        Features.open(corpus, "mel80", mel=dataclasses.replace(MEL, fmax=7600.0))


def test_features_of_another_corpus_are_refused(made: Corpus) -> None:
    """Even one with as many frames: another split of the same recordings has other statistics."""
    manifest = made.folder / "manifest.jsonl"
    manifest.write_text(manifest.read_text().replace('"split": "valid"', '"split": "train"', 1))
    with pytest.raises(ValueError, match=r"content-counted.npy: was made of another corpus"):
        Features.open(made.folder, "counted")
    remade = Corpus.open(made.folder)
    features.make(remade, Counted(), range(3), progress=False)
    assert Features.open(remade, "counted").statistics.everybody.mean[0] > 0


def test_damaged_files_are_named(made: Corpus) -> None:
    path = made.folder / "features" / "content-counted.npy"
    rows = path.read_bytes()
    for damaged in (rows[:-5000], rows[:40], b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"content-counted.npy: damaged or cut short"):
            Features.open(made, "counted")
    np.save(path, np.zeros((10, 3), np.float32))
    with pytest.raises(ValueError, match=r"holds float32 \(10, 3\), the corpus has"):
        Features.open(made, "counted")
    for text in ("", "{}", "[]", json.dumps({"made_with": 3, "left_out": {}})):
        path.with_suffix(".json").write_text(text)
        with pytest.raises(ValueError, match=r"content-counted.json: missing or damaged: remove .*npy"):
            Features.open(made, "counted")


def test_a_corpus_without_a_mel_says_so(shared_audio: Path, tmp_path: Path) -> None:
    prepare(find(shared_audio / "slt"), tmp_path / "data", CORPUS, jobs=1, progress=False)
    with pytest.raises(ValueError, match="data: was prepared without a mel front end"):
        features.make_mel(Corpus.open(tmp_path / "data"), progress=False)


def test_front_ends_leave_the_number_of_threads_alone(corpus: Corpus) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        entry = corpus.entries[0]
        for end in (Mel(MEL), Pitch(16_000, 80)):
            assert end.rows(entry, corpus.wav(entry)).shape == (entry.frames, end.width)
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
