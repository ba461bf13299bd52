"""What goes wrong in the public code before anything is learned: corpora, features, statistics. As in the other files.

swallowed   threads' exceptions are never read        cmu_artic   a folder's name is misspelt in some places
(0, 0)      statistics of whoever had one             65 ms       a recording shorter than a chunk breaks the batch
zero        a field that does not move is 0 / 0       gap         the last voiced frame before a gap is unvoiced
-1e10       "unvoiced" is a pitch like others         test        statistics hear validation and test speech
splits      drawn without a seed                      ckpt        what was prepared of other files is used in silence
"""

from __future__ import annotations

import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplernn_pase import ahocoder, feature_file, features, front_ends, label_files, statistics
from samplernn_pase.features import Features
from samplernn_pase.front_ends import Ahocoder, Mel
from samplernn_pase.model import MEL
from samplernn_pase.statistics import Moments, Statistics
from vocoder_core import public_corpora
from vocoder_core.corpus import Corpus, CorpusConfig, Entry, prepare
from vocoder_core.corpus import config as corpus_config
from vocoder_core.layouts import find

sys.path.append(str(Path(__file__).parent))
from noise_world import BROKEN, Patch
from small_corpora import Speech, trimmed

CORPUS = CorpusConfig(16_000, 80, "peak", -0.4455, valid_fraction=0.2, test_fraction=0.2)
FIELDS = range(42)


@dataclass(frozen=True)
class Data:
    """The original's data set in small, and room for what is made of it."""

    speech: Speech
    source: Path
    folder: Path

    def corpus(self, **settings: Any) -> Corpus:
        prepare(find(self.source), self.folder, replace(CORPUS, **settings), features=MEL, jobs=1, progress=False)
        return Corpus.open(self.folder)

    def acoustic(self, corpus: Corpus) -> Features:
        files = Ahocoder(label_files.acoustic(find(self.source)))
        features.make(corpus, files, FIELDS, progress=False)
        return Features.open(corpus, "world43")

    def conds(self, name: str) -> Path:
        return self.source / "vctk" / "wav16_trimmed_conds_acoustic" / "p225" / name


@pytest.fixture
def data(shared_audio: Path, tmp_path: Path) -> Data:
    speech = Speech(shared_audio)
    return Data(speech, trimmed(tmp_path / "in", speech), tmp_path / "data")


# ---- what is promised


def a_file_that_cannot_be_read_is_named(data: Data) -> None:
    data.conds("p225_000.fv").write_bytes(b"123")
    made = data.acoustic(data.corpus())
    assert "p225_000.fv: 3 bytes" in made.left_out["p225/p225_000"]


def statistics_divide_by_something(data: Data) -> None:
    made = data.acoustic(data.corpus())
    assert all((moments.std > 0).all() for moments in made.statistics.speakers.values())


def a_field_that_does_not_move_is_a_number(data: Data) -> None:
    corpus = data.corpus()
    made = data.acoustic(corpus)  # ln fv is the same in every frame
    assert np.isfinite(made.statistics.of("p225").z(made.of(corpus.entries[0]))).all()


def a_recording_without_a_voice_moves_nobodys_pitch(data: Data) -> None:
    """Of one speaker, one recording in three is never voiced; all are for training."""
    unvoiced = np.full(199, -1e10, "<f4")
    unvoiced.tofile(data.conds("p225_000.lf0"))
    made = data.acoustic(data.corpus(valid_fraction=0, test_fraction=0))
    pitch = made.statistics.of("p225")
    assert pitch.mean[41] == pytest.approx(5, abs=0.1) and pitch.std[41] == pytest.approx(0.07, abs=0.01)


def voiced_is_what_was_voiced(data: Data) -> None:
    lf0 = np.where(np.arange(199) % 10 < 4, 5.0, -1e10).astype("<f4")
    lf0.tofile(data.conds("p225_001.lf0"))
    assert np.array_equal(ahocoder.read(data.conds("p225_001"))[:, 42] > 0, lf0 > 0)


def only_training_speech_is_in_the_statistics(data: Data) -> None:
    corpus = data.corpus()
    made = data.acoustic(corpus)
    heard = np.concatenate([made.of(entry) for entry in corpus.entries if entry.split == "train"])
    np.testing.assert_allclose(made.statistics.everybody.mean[:40], heard[:, :40].mean(0, np.float64), rtol=1e-6)


def splits_are_the_same_whoever_draws_them(data: Data) -> None:
    splits = []
    for number in range(4):
        corpus = replace(data, folder=data.folder / str(number)).corpus()
        splits.append([entry.split for entry in corpus.entries])
    assert all(split == splits[0] for split in splits)


def both_corpora_are_there(data: Data) -> None:
    assert set(data.corpus().speakers) == {"p225", "p300", "slt"}


def a_short_recording_is_a_recording(data: Data) -> None:
    data.speech.put(data.source / "vctk" / "wav16_trimmed" / "p225" / "short.wav", seconds=0.05)
    corpus = data.corpus(min_seconds=0.02)
    made = features.make(corpus, Mel(MEL), range(80), progress=False)
    (entry,) = (entry for entry in corpus.entries if entry.id == "p225/short")
    assert not made.left_out and entry.frames == 10 and Features.open(corpus, "mel80").of(entry).any()


def other_files_are_other_features(data: Data) -> None:
    corpus = data.corpus()
    before = data.acoustic(corpus).of(corpus.entries[0]).copy()
    for suffix in ahocoder.SUFFIXES:
        shutil.copy(data.conds(f"p225_002{suffix}"), data.conds(f"p225_000{suffix}"))
    assert not np.array_equal(data.acoustic(corpus).of(corpus.entries[0]), before)


# ---- what was done instead


def swallowing(audio: Path, end: feature_file.FrontEnd, number: int, entries: list[Entry]) -> Any:
    number, results = BLOCK(audio, end, number, entries)
    nothing = [np.zeros((entry.frames, end.width), end.dtype) for entry in entries]
    return number, [zeros if isinstance(rows, str) else rows for rows, zeros in zip(results, nothing, strict=True)]


def never_computed(content: Any, scored: Sequence[int]) -> Statistics:
    nothing = Moments(np.zeros(43), np.zeros(43))
    return Statistics(nothing, {speaker: nothing for speaker, _ in content})


def a_pitch_like_others(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    filled, voiced = INTERPOLATED(values)
    return np.nan_to_num(filled, nan=-1e10), voiced


def without_the_last_before_a_gap(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    filled, voiced = INTERPOLATED(values)
    return filled, voiced * np.append(voiced[1:], voiced[-1:])


def every_split(self: Corpus, name: str) -> list[Entry]:
    return self.entries


def misspelt(root: Path) -> list[Path]:
    return [folder for folder in (root / "vctk", root / "cmu_artic") if folder.is_dir()]


def in_chunks(self: Mel, entry: Entry, wav: np.ndarray) -> np.ndarray:
    rows = ROWS(self, entry, wav)
    np.stack([rows[start : start + 13] for start in range(0, len(rows) - 12, 13)])  # of nothing: an error
    return rows


BLOCK, INTERPOLATED, ROWS = feature_file._block, ahocoder.interpolated, Mel.rows
Promise = Callable[[Data], None]
DEFECTS: dict[str, tuple[Promise, list[Patch]]] = {
    "swallowed": (a_file_that_cannot_be_read_is_named, [(feature_file, "_block", swallowing)]),
    "(0, 0)": (statistics_divide_by_something, [(statistics, "collect", never_computed)]),
    "zero": (a_field_that_does_not_move_is_a_number, [(statistics, "LEAST", 0), (statistics, "FLOOR", 0)]),
    "-1e10": (a_recording_without_a_voice_moves_nobodys_pitch, [(ahocoder, "interpolated", a_pitch_like_others)]),
    "gap": (voiced_is_what_was_voiced, [(ahocoder, "interpolated", without_the_last_before_a_gap)]),
    "test": (only_training_speech_is_in_the_statistics, [(Corpus, "split", every_split)]),
    "splits": (splits_are_the_same_whoever_draws_them, [(corpus_config, "_uniform", lambda *_: random.random())]),
    "cmu_artic": (both_corpora_are_there, [(public_corpora, "_trimmed", misspelt)]),
    "65 ms": (a_short_recording_is_a_recording, [(Mel, "rows", in_chunks)]),
    "ckpt": (other_files_are_other_features, [(front_ends, "_digest", lambda *_: "")]),
}


@pytest.mark.parametrize("name", DEFECTS)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value)")
def test_a_promise_is_kept_and_broken_by_its_defect(name: str, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    promise, patches = DEFECTS[name]
    promise(replace(data, folder=data.folder / "kept"))
    shutil.rmtree(data.source)
    trimmed(data.source, data.speech)
    for owner, attribute, instead in patches:
        monkeypatch.setattr(owner, attribute, instead)
    with pytest.raises(BROKEN):
        promise(replace(data, folder=data.folder / "broken"))
