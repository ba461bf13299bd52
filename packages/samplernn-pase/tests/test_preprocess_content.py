"""Every kind of content that samplernn-pase-preprocess makes: WORLD's, labels, Ahocoder's files, hostile recordings."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from samplernn_pase import ahocoder, hts_label, label_files, linguistic, world43
from samplernn_pase.features import Features
from samplernn_pase.preprocess import main
from vocoder_core.corpus import Corpus
from vocoder_core.utterance import Utterance

sys.path.append(str(Path(__file__).parent))
from small_corpora import PLAIN, RATE, Speech, everything, put, put_labels, tree, trimmed

world = pytest.mark.skipif(not world43.available(), reason="WORLD needs pyworld: pip install samplernn-pase[world]")


@pytest.fixture
def speech(shared_audio: Path) -> Speech:
    return Speech(shared_audio)


@world
def test_kinds_are_added_one_by_one(tmp_path: Path, speech: Speech) -> None:
    """Each run adds its own, leaves the others alone, and no pitch where none is told."""
    root, data = tree(tmp_path / "in", speech), tmp_path / "data"
    assert main([str(root), str(data), *PLAIN]) == 0
    before = everything(data)
    assert main([str(root), str(data), *PLAIN, "--content", "world43", "--f0", "dio"]) == 0
    after = everything(data)
    assert {name: after[name] for name in before} == before
    assert "features/content-mel80.npy" in before and "features/pitch.npy" not in after
    assert sorted(after.keys() - before.keys()) == [
        "features/content-world43.json", "features/content-world43.npy", "features/statistics-world43.json",
    ]  # fmt: skip
    corpus = Corpus.open(data)
    made = Features.open(corpus, "world43")
    assert made.acoustic == "world" and Features.open(corpus, "mel80").acoustic == ""
    wav = corpus.wav(corpus.entries[1])
    np.testing.assert_array_equal(made.of(corpus.entries[1]), world43.analyse(wav, world43.WorldConfig("dio")))
    assert made.statistics.everybody.std[world43.VUV] == 1 and made.statistics.everybody.mean[world43.VUV] == 0


def test_labels_beside_the_recordings(shared_audio: Path, tmp_path: Path, speech: Speech) -> None:
    """A real label: 55 numbers, as linguistic.py makes them; who has none, or a broken one, is listed and left out."""
    root = tree(tmp_path / "in", speech)
    shutil.copy(shared_audio / "slt" / "arctic_a0009.flac", root / "carlo" / "real.flac")
    shutil.copy(shared_audio / "slt" / "arctic_a0009.lab", root / "carlo" / "real.lab")
    put(root / "carlo" / "0.lab", "0 100 not a label\n")
    put_labels(root / "carlo" / "1.lab", 1.0)
    put_labels(root / "ru_nsh" / "0.lab", 1.5)
    put(root / "ru_nsh" / "1.lab", "")
    assert main([str(root), str(tmp_path / "data"), "--config", "linguistic", "--jobs", "1"]) == 0
    corpus = Corpus.open(tmp_path / "data")
    made, entries = Features.open(corpus, "linguistic"), {entry.id: entry for entry in corpus.entries}
    assert set(made.left_out) == {"carlo/0", "carlo/2", "ru_nsh/0", "ru_nsh/1", "ru_nsh/2"}
    assert "carlo/2.lab: no such file" in made.left_out["carlo/2"]
    assert "1.50 s, its recording has 1.00 s; expected 0.1 s between them" in made.left_out["ru_nsh/0"]
    assert str(root / "carlo" / "0.lab") in made.left_out["carlo/0"]
    expected = linguistic.frames(hts_label.read(root / "carlo" / "real.lab"))
    seen = made.of(entries["carlo/real"])
    shorter = min(len(seen), len(expected))
    assert abs(len(seen) - len(expected)) <= 20
    np.testing.assert_array_equal(seen[:shorter], expected[:shorter])


def test_what_is_left_out_is_said_and_a_mended_label_is_read(
    tmp_path: Path, speech: Speech, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree(tmp_path / "in", speech)
    for path in sorted(root.rglob("*.wav"))[1:]:
        put_labels(tmp_path / "labels" / path.parent.name / f"{path.stem}.lab", 1.0)
    command = [
        str(root),
        str(tmp_path / "data"),
        "--config",
        "linguistic",
        "--jobs",
        "1",
        "--labels",
        str(tmp_path / "labels"),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "content-linguistic.npy: 5 of 6 recordings, 55 numbers a frame" in said
    assert "1 without, listed in content-linguistic.json; training skips them:\n  carlo/0: " in said
    assert "fields that do not move, and are 0 for the model: 0, 7" in said
    put_labels(tmp_path / "labels" / "carlo" / "0.lab", 1.0)
    assert main(command) == 0
    assert "content-linguistic.npy: 6 of 6 recordings, 55 numbers a frame\nfields" in capsys.readouterr().out
    assert not Features.open(tmp_path / "data", "linguistic").left_out


def test_the_originals_data_set_with_its_features(tmp_path: Path, speech: Speech) -> None:
    """.cc .fv .lf0 and .lab where the Kaggle archive has them; a broken file is named, its recording left out."""
    root = trimmed(tmp_path / "in", speech)
    (root / "vctk/wav16_trimmed_conds_acoustic/p225/p225_000.fv").write_bytes(b"\0" * 6)
    acoustic = ["--acoustic", str(root / "vctk" / "wav16_trimmed_conds_acoustic")]
    assert main([str(root / "vctk"), str(tmp_path / "data"), *PLAIN, "--content", "world43", *acoustic]) == 0
    corpus = Corpus.open(tmp_path / "data")
    made = Features.open(corpus, "world43")
    assert [*made.left_out] == ["p225/p225_000"] and "p225_000.fv: 6 bytes" in made.left_out["p225/p225_000"]
    entry = corpus.entries[1]
    content = ahocoder.read(root / "vctk/wav16_trimmed_conds_acoustic/p225/p225_001")
    seen = made.of(entry)
    np.testing.assert_allclose(seen[:199, 1:], content[:, 1:])
    np.testing.assert_allclose(seen[:199, 0], content[:, 0] + np.log(entry.gain), rtol=1e-5)
    np.testing.assert_array_equal(seen[199], seen[198])
    assert made.acoustic == "ahocoder", "nobody takes them for WORLD's"
    assert main([str(root / "vctk"), str(tmp_path / "data"), *PLAIN, "--content", "linguistic_lf0", *acoustic]) == 0
    made = Features.open(corpus, "linguistic_lf0")
    assert made.of(entry).shape == (200, 57) and made.acoustic == "ahocoder" and [*made.left_out] == ["p225/p225_000"]
    np.testing.assert_array_equal(made.of(entry)[:, 55:], seen[:, 41:])


@world
def test_hostile_recordings_do_no_harm(tmp_path: Path, speech: Speech) -> None:
    """Never voiced, full scale, shorter than the 65 ms of a chunk, silent, empty: listed, or finite and bounded."""
    root, draw = tree(tmp_path / "in", speech), np.random.default_rng(0)
    hiss, burst = draw.normal(size=RATE) * 0.01, np.sign(np.sin(np.arange(RATE) / 20))
    for name, wav in {"hiss": hiss, "square": burst, "blip": hiss[:900], "silent": hiss * 0, "none": hiss[:0]}.items():
        soundfile.write(root / "carlo" / f"{name}.wav", wav, RATE)
    few = ["--set", "data.min_seconds=0.05", "--test-fraction", "0", "--valid-fraction", "0"]
    assert main([str(root), str(tmp_path / "data"), *PLAIN, "--content", "world43", "--f0", "dio", *few]) == 0
    corpus = Corpus.open(tmp_path / "data")
    assert {entry.id for entry in corpus.entries} >= {"carlo/hiss", "carlo/square", "carlo/blip"}
    rejected = (tmp_path / "data" / "rejected.tsv").read_text()
    assert "carlo/silent" in rejected and "carlo/none" in rejected
    made = Features.open(corpus, "world43")
    for entry in corpus.entries:
        z = made.statistics.of(entry.speaker).z(made.of(entry))
        assert not np.isinf(z).any() and np.isfinite(z[:, :41]).all(), entry.id
        assert np.nanmax(np.abs(z[:, 41]), initial=0) < 8, "no pitch of 0, 1 or -1e10"


def test_where_labels_are_looked_for(tmp_path: Path) -> None:
    """By the id, by speaker and name, by name; beside it, in the original's folder; VCTK's by the name without mic1."""
    wav = tmp_path / "wav16_trimmed" / "p225" / "p225_001_mic1.flac"
    utterance = Utterance("p225_001", "p225", wav)
    given = tmp_path / "given"
    for place in (
        tmp_path / "wav16_trimmed_conds_linguistic" / "p225" / "p225_001.lab",
        wav.with_name("p225_001.lab"),
        wav.with_suffix(".lab"),
    ):
        assert label_files.labels([utterance])["p225_001"] != place
        put(place, "")
        if place != wav.with_suffix(".lab"):
            assert label_files.labels([utterance]) == {"p225_001": place}
    given.mkdir()
    assert label_files.labels([utterance], given) == {"p225_001": given / "p225_001.lab"}, "where it should be"
    for place in (given / "p225_001_mic1.lab", given / "p225" / "p225_001.lab"):
        put(place, "")
        assert label_files.labels([utterance], given) == {"p225_001": place}
    before = label_files.stamps({"p225_001": place})
    put(place, "another")
    assert label_files.stamps({"p225_001": place}) != before
    assert label_files.stamps({"a": tmp_path / "none"}) == [["a", -1, -1]]
