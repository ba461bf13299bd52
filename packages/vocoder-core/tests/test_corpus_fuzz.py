"""Preparation of more than 200 files that somebody has been unkind to: each is prepared or listed with a reason."""

from __future__ import annotations

import csv
import os
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile

from vocoder_core import audio
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.layouts import find

GOOD, BAD, EITHER = "good", "bad", "either"
FORMATS = ("wav", "flac", "ogg", "mp3", "aiff")


class Zoo:
    """A folder of files and what has to become of each."""

    def __init__(self, folder: Path, speech: np.ndarray) -> None:
        self.folder, self.speech, self.fate = folder, speech, {}
        self.draw = random.Random(0)

    def path(self, group: str, name: str, fate: str) -> Path:
        path = self.folder / group / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.fate[str(path)] = fate
        return path

    def write(self, path: Path, wav: np.ndarray, rate: int = 16_000, subtype: str | None = None) -> Path:
        soundfile.write(path, wav, rate, subtype=subtype)
        return path

    def bytes_of(self, suffix: str) -> bytes:
        path = self.write(self.folder / f"scratch.{suffix}", self.speech)
        data = path.read_bytes()
        path.unlink()
        return data

    def fill(self) -> None:
        self.sound_ones()
        self.cut_ones()
        self.scrambled_ones()
        self.wrong_content()
        self.odd_names_and_links()

    def sound_ones(self) -> None:
        """Every depth, 1 to 8 channels, 8 to 192 kHz: all good."""
        for subtype in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW", "IMA_ADPCM"):
            for channels in (1, 2) if subtype == "IMA_ADPCM" else (1, 2, 5, 8):
                path = self.path("depth", f"{subtype}_{channels}.wav", GOOD)
                self.write(path, np.repeat(self.speech[:, None], channels, axis=1), subtype=subtype)
        for rate in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000):
            wav = audio.resample(self.speech, 16_000, rate)
            self.write(self.path("rate", f"{rate}.wav", GOOD), wav, rate)
            self.write(self.path("rate", f"{rate}_24.flac", GOOD), np.stack([wav, 0 * wav], axis=1), rate, "PCM_24")

    def cut_ones(self) -> None:
        """Cut at every tenth, and near the ends; the formats that know their length have to notice."""
        for suffix in FORMATS:
            data = self.bytes_of(suffix)
            for keep in (0, 1, 3, 11, 12, 40, 44, 60, *(len(data) * k // 10 for k in range(1, 10)), len(data) - 1):
                fate = BAD if suffix != "ogg" and not (suffix == "mp3" and keep == len(data) - 1) else EITHER
                self.path(f"cut_{suffix}", f"{keep}.{suffix}", fate).write_bytes(data[:keep])
            self.path(f"cut_{suffix}", f"whole.{suffix}", GOOD).write_bytes(data)

    def scrambled_ones(self) -> None:
        """Random bytes in the header, in the body, inserted, taken away: whatever comes, it is not a crash."""
        for suffix in FORMATS:
            data = self.bytes_of(suffix)
            for number in range(10):
                mutant = bytearray(data)
                for _ in range(self.draw.choice((1, 4, 100))):
                    end = 64 if number % 2 else len(mutant)
                    mutant[self.draw.randrange(end)] = self.draw.randrange(256)
                if number % 3 == 0:
                    where = self.draw.randrange(len(mutant))
                    mutant[where : where + self.draw.randrange(50)] = self.draw.randbytes(self.draw.randrange(50))
                self.path(f"scrambled_{suffix}", f"{number}.{suffix}", EITHER).write_bytes(mutant)

    def wrong_content(self) -> None:
        """Not audio, not finite, silent, too short; and audio whose name lies."""
        for number, data in enumerate((b"", b"\0" * 1000, b"RIFF", "привет".encode() * 99, b"fLaC" * 99, b"OggS" * 99)):
            for suffix in FORMATS:
                self.path("content", f"{number}.{suffix}", BAD).write_bytes(data)
        for value in (np.nan, np.inf, -np.inf, 1e30):
            wav = self.speech.copy()
            wav[len(wav) // 2] = value
            self.write(self.path("values", f"{value}.wav", BAD), wav, subtype="FLOAT")
        for seconds in (0.0, 0.01, 0.399):
            self.write(self.path("values", f"{seconds}s.wav", BAD), self.speech[: int(16_000 * seconds)])
        self.write(self.path("values", "0.4s.wav", GOOD), self.speech[:6400])
        self.write(self.path("values", "silence.wav", BAD), np.zeros(16_000))
        self.write(self.path("values", "dither.wav", BAD), np.sign(np.sin(np.arange(16_000.0))) / 32768)
        self.write(self.path("values", "offset.wav", EITHER), np.full(16_000, 0.5))
        for suffix in FORMATS:
            data = self.bytes_of(suffix)
            for wrong in FORMATS:
                self.path("misnamed", f"{suffix}.is.{wrong}", GOOD).write_bytes(data)

    def odd_names_and_links(self) -> None:
        """Cyrillic, spaces, quotes, new lines, long names; closed files; links to nowhere, to themselves, upwards."""
        data = self.bytes_of("wav")
        for name in (
            "привет мир",
            " leading",
            "трим ",
            "a'b\"c",
            "tab\there",
            "new\nline",
            "x" * 250,
            "%s {0} $HOME",
            "音",
        ):
            self.path("имя с пробелом", f"{name}.wav", GOOD).write_bytes(data)
        self.path("names", "UPPER.WAV", GOOD).write_bytes(data)
        closed = self.path("names", "closed.wav", EITHER)  # root may read it all the same
        closed.write_bytes(data)
        closed.chmod(0)
        self.path("links", "loop.wav", BAD).symlink_to("loop.wav")
        self.path("links", "ping.wav", BAD).symlink_to("pong.wav")
        self.path("links", "pong.wav", BAD).symlink_to("ping.wav")
        self.path("links", "dead.wav", BAD).symlink_to("/nowhere/at all.wav")
        self.path("links", "good.wav", GOOD).symlink_to(self.folder / "names" / "UPPER.WAV")
        (self.folder / "links" / "up").symlink_to("..")
        (self.folder / "links" / "round").symlink_to("round")
        os.mkfifo(self.path("links", "pipe.wav", BAD))


def test_every_file_is_prepared_or_listed_with_a_reason(shared_audio: Path, tmp_path: Path):
    """No crash, nothing lost: what must pass has passed, what must not is listed, and the summary adds up."""
    speech, _ = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    zoo = Zoo(tmp_path / "zoo", speech[8_000:20_000])
    zoo.folder.mkdir()
    zoo.fill()
    assert len(zoo.fate) >= 200
    utterances = find(zoo.folder)
    assert {str(utterance.path) for utterance in utterances} == set(zoo.fate), "each file is found once"
    summary = prepare(utterances, tmp_path / "data", CorpusConfig(), jobs=1, progress=False)
    assert summary.prepared + len(summary.rejected) == len(zoo.fate)
    rejected = {rejection.path: rejection.reason for rejection in summary.rejected}
    wrongly_in = [path for path, fate in zoo.fate.items() if fate == BAD and path not in rejected]
    wrongly_out = {path: rejected[path] for path, fate in zoo.fate.items() if fate == GOOD and path in rejected}
    assert not wrongly_in
    assert not wrongly_out
    assert all(reason and "\n" not in reason and "Traceback" not in reason for reason in rejected.values())
    corpus = Corpus.open(tmp_path / "data")
    assert len(corpus.entries) == summary.prepared
    assert {entry.id for entry in corpus.entries}.isdisjoint(rejection.id for rejection in summary.rejected)
    with open(tmp_path / "data" / "rejected.tsv", encoding="utf-8", newline="") as file:
        assert len(list(csv.reader(file, delimiter="\t"))) == 1 + len(rejected)
    assert all(np.abs(corpus.wav(entry)).max() > 0.001 for entry in corpus.entries)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_header_that_promises_the_moon_costs_no_memory(shared_audio: Path, tmp_path: Path, suffix: str):
    """A length of 2^35 samples in a header is refused, not allocated."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    soundfile.write(tmp_path / f"a.{suffix}", wav, rate)
    data = bytearray((tmp_path / f"a.{suffix}").read_bytes())
    if suffix == "wav":
        data[40:44] = (0x7000_0000).to_bytes(4, "little")
    else:
        data[21] |= 0x0F  # the upper four of the 36 bits that count samples
    (tmp_path / f"a.{suffix}").write_bytes(data)
    with pytest.raises(ValueError, match="cut short"):
        audio.load(tmp_path / f"a.{suffix}", 16_000)
