"""shared-audio holds what its manifest says: real speech, bytes as gathered, credited, held-out clips marked."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from pathlib import Path

import pytest
import soundfile

LIMIT = 8 * 2**20  # bytes: everybody clones it


@pytest.fixture(scope="module")
def rows(shared_audio: Path) -> list[dict[str, str]]:
    with open(shared_audio / "manifest.tsv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def test_every_clip_is_the_one_that_was_gathered(shared_audio: Path, rows: list[dict[str, str]]) -> None:
    assert {row["path"] for row in rows} == {
        p.relative_to(shared_audio).as_posix() for p in shared_audio.glob("*/*.flac")
    }
    for row in rows:
        path, info = shared_audio / row["path"], soundfile.info(shared_audio / row["path"])
        assert hashlib.sha256(path.read_bytes()).hexdigest() == row["sha256"], row["path"]
        assert (info.samplerate, info.channels, info.subtype) == (int(row["sample_rate"]), 1, "PCM_16")
        assert info.frames / info.samplerate == pytest.approx(float(row["seconds"]), abs=6e-4)
        assert path.parent.name == row["speaker"]
        assert path.stem == row["utt"]


def test_minutes_speakers_and_splits(rows: list[dict[str, str]]) -> None:
    assert 3 * 60 <= sum(float(row["seconds"]) for row in rows) <= 5 * 60
    assert len({row["utt"] for row in rows}) == len(rows), "ids are unique across speakers"
    splits = Counter((row["speaker"], row["split"]) for row in rows)
    for speaker in ("carlo", "ivrvoice", "ru_nsh"):
        assert min(splits[speaker, split] for split in ("train", "valid", "test")) >= 2
    for speaker in ("austen", "slt"):
        assert {split for name, split in splits if name == speaker} == {"test"}, "never heard in training"
    for row in rows:
        if row["speaker"] == "ru_nsh":  # the rule of the whole corpus
            assert row["split"] == {7: "test", 13: "valid"}.get(int(row["utt"][3:]) % 20, "train")
        if row["language"] == "en" or row["speaker"] == "ru_nsh":
            assert row["transcript"]


def test_every_source_has_its_notice_and_its_credit(shared_audio: Path, rows: list[dict[str, str]]) -> None:
    readme = (shared_audio / "README.md").read_text(encoding="utf-8")
    for speaker, licence in {(row["speaker"], row["licence"]) for row in rows}:
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{speaker}/`"))
        notice = line.split("](licences/")[1].split(")")[0]
        assert (shared_audio / "licences" / notice).stat().st_size > 500
        assert licence.startswith(("BSD", "CC-BY-3.0", "LicenseRef-")), "nothing that shares alike or is not free"
    credits = (shared_audio / "licences" / "asterisk-core-sounds.txt").read_text(encoding="utf-8")
    for name in ("Carlo Flora", "Maxim Topal", "Creative Commons", "License: CC-BY-3.0"):
        assert name in credits


def test_the_folder_stays_small(shared_audio: Path) -> None:
    sizes = {path: path.stat().st_size for path in shared_audio.rglob("*") if path.is_file()}
    assert sum(sizes.values()) <= LIMIT
    assert sum(size for path, size in sizes.items() if path.parent.name == "golden") <= 1.5 * 2**20
    assert {path.suffix for path in sizes} <= {".flac", ".lab", ".npz", ".tsv", ".md", ".txt"}, "data, never code"
