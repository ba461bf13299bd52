"""Layouts on miniature trees of the true shape, cut from real speech: what is found, in which order, by which names."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from vocoder_core import audio
from vocoder_core.layouts import LAYOUTS, Utterance, find

Clip = Callable[[Path], Path]


@pytest.fixture(scope="session")
def clip(shared_audio: Path) -> Clip:
    """Writes half a second of speech to a path, in the format of its suffix."""
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")

    def write(path: Path) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, wav[8000:16000], rate)
        return path

    return write


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def ids(utterances: list[Utterance]) -> list[str]:
    return [utterance.id for utterance in utterances]


def ljspeech(root: Path, clip: Clip) -> None:
    put(
        root / "metadata.csv",
        'LJ001-0001|Printing, in the "only sense"|Printing, in the "only sense"\n'
        "LJ001-0002|in 1455.|in fourteen fifty-five.\nLJ001-0003|lost|lost\n",
    )
    put(root / "README", "The LJ Speech Dataset")
    for number in ("LJ001-0002", "LJ001-0001", "LJ050-0278"):
        clip(root / "wavs" / f"{number}.wav")


def vctk_080(root: Path, clip: Clip) -> None:
    for name in ("p225_001", "p225_010", "p226_002"):
        clip(root / "wav48" / name[:4] / f"{name}.wav")
        put(root / "txt" / name[:4] / f"{name}.txt", f"Text of {name}.\n")
    put(root / "speaker-info.txt", "ID  AGE  GENDER  ACCENTS  REGION\n")


def vctk_092(root: Path, clip: Clip) -> None:
    for name in ("p225_001", "p225_010", "p226_002", "s5_001"):
        speaker = name.partition("_")[0]
        clip(root / "wav48_silence_trimmed" / speaker / f"{name}_mic1.flac")
        clip(root / "wav48_silence_trimmed" / speaker / f"{name}_mic2.flac")
        if speaker != "s5":  # as p315 of the true corpus: no texts
            put(root / "txt" / speaker / f"{name}.txt", f"Text of {name}.\n")
    put(root / "wav48_silence_trimmed" / "log.txt", "")


def arctic(root: Path, clip: Clip) -> None:
    for name in ("arctic_a0001", "arctic_a0002", "arctic_b0539"):
        clip(root / "wav" / f"{name}.wav")
    put(
        root / "etc" / "txt.done.data",
        '( arctic_a0001 "Author of the danger trail, Philip Steels, etc." )\n'
        '( arctic_a0002 "He said \\"no\\"." )\n( arctic_b0539 "You were making them talk shop." )\n',
    )
    put(root / "lab" / "arctic_a0001.lab", "#\n")


def libritts(root: Path, clip: Clip) -> None:
    for name in ("train-clean-100/103/1241/103_1241_000000_000001", "dev-clean/84/121123/84_121123_000007_000001"):
        clip(root / f"{name}.wav")
        put(root / f"{name}.normalized.txt", "matthew Cuthbert is surprised\n")
        put(root / f"{name}.original.txt", "matthew Cuthbert is surprised")
    clip(root / "test-other/10/1/10_1_000000_000000.wav")
    put(root / "SPEAKERS.txt", "")


def trimmed(root: Path, clip: Clip) -> None:
    for corpus, name in (("vctk", "p225/p225_001"), ("vctk", "p23/p23_9"), ("cmu_arctic", "slt/arctic_a0001")):
        clip(root / corpus / "wav16_trimmed" / f"{name}.wav")
        put(root / corpus / "wav16_trimmed_conds_linguistic" / f"{name}.lab", "")
        put(root / corpus / "speaker-info.txt", "name,gender\n")


def test_ljspeech(tmp_path: Path, clip: Clip):
    """Index and disk together: a line without a file is there to be reported, a file without a line has no text."""
    ljspeech(tmp_path, clip)
    found = find(tmp_path)
    assert found == find(tmp_path, "ljspeech")
    assert ids(found) == ["LJ001-0001", "LJ001-0002", "LJ001-0003", "LJ050-0278"]
    texts = ['Printing, in the "only sense"', "in fourteen fifty-five.", "lost", None]
    assert [utterance.text for utterance in found] == texts
    assert {utterance.speaker for utterance in found} == {"lj"}
    assert [utterance.path.exists() for utterance in found] == [True, True, False, True]


@pytest.mark.parametrize("version", [vctk_080, vctk_092])
def test_vctk(tmp_path: Path, clip: Clip, version: Callable[[Path, Clip], None]):
    """Both versions give the same ids, speakers and texts; of 0.92 the second microphone is left alone."""
    version(tmp_path, clip)
    found = find(tmp_path)
    assert found == find(tmp_path, "vctk")
    assert ids(found)[:3] == ["p225_001", "p225_010", "p226_002"]
    assert [utterance.speaker for utterance in found][:3] == ["p225", "p225", "p226"]
    assert found[1].text == "Text of p225_010."
    assert all(utterance.path.exists() and "mic2" not in utterance.path.name for utterance in found)
    if version is vctk_092:
        assert (found[3].id, found[3].speaker, found[3].text) == ("s5_001", "s5", None)


def test_arctic_one_voice_and_several(tmp_path: Path, clip: Clip):
    """One voice, or a folder of voices: prompts are shared by the voices, ids are not."""
    for voice in ("cmu_us_slt_arctic", "cmu_us_bdl_arctic", "msu_ru_nsh_clunits"):
        arctic(tmp_path / voice, clip)
    found = find(tmp_path / "cmu_us_slt_arctic")
    assert ids(found) == ["slt/arctic_a0001", "slt/arctic_a0002", "slt/arctic_b0539"]
    assert found[0].text == "Author of the danger trail, Philip Steels, etc."
    assert found[1].text == 'He said "no".'
    everyone = find(tmp_path)
    assert everyone == find(tmp_path, "arctic")
    assert {utterance.speaker for utterance in everyone} == {"slt", "bdl", "msu_ru_nsh_clunits"}
    assert len(everyone) == 9
    clip(tmp_path / "anna" / "a.wav")  # no voice of this shape: it must not get lost beside the others
    assert "anna" in {u.speaker for u in find(tmp_path)}


def test_libritts(tmp_path: Path, clip: Clip):
    """Readers are speakers, subsets are splits; one subset alone is a corpus, too."""
    libritts(tmp_path, clip)
    found = find(tmp_path)
    assert found == find(tmp_path, "libritts")
    assert ids(found) == ["10_1_000000_000000", "84_121123_000007_000001", "103_1241_000000_000001"]
    assert [(utterance.speaker, utterance.split) for utterance in found] == [
        ("10", "test"),
        ("84", "valid"),
        ("103", "train"),
    ]
    assert [utterance.text for utterance in found] == [None, *["matthew Cuthbert is surprised"] * 2]
    assert ids(find(tmp_path / "dev-clean")) == ["84_121123_000007_000001"]


def test_trimmed(tmp_path: Path, clip: Clip):
    """Both corpora of that data set together, or one of them; what belongs to the recordings is no speaker."""
    trimmed(tmp_path, clip)
    found = find(tmp_path)
    assert found == find(tmp_path, "trimmed")
    assert ids(found) == ["p23/p23_9", "p225/p225_001", "slt/arctic_a0001"]
    assert [utterance.speaker for utterance in found] == ["p23", "p225", "slt"]
    assert all(utterance.path.is_file() for utterance in found)
    assert ids(find(tmp_path / "cmu_arctic")) == ["slt/arctic_a0001"]


@pytest.mark.parametrize("layout", [ljspeech, vctk_092, libritts])
def test_the_folder_that_an_archive_leaves_is_looked_into(
    tmp_path: Path, clip: Clip, layout: Callable[[Path, Clip], None]
):
    """Archives unpack to one folder in the folder named; with two of them the user has to say which."""
    layout(tmp_path / "inside" / "Corpus-1.1", clip)
    (tmp_path / "inside" / "Corpus-1.1.tar.bz2").touch()
    assert find(tmp_path / "inside") == find(tmp_path / "inside" / "Corpus-1.1")
    assert find(tmp_path / "inside", layout.__name__[:4] + layout.__name__[4:].removesuffix("_092"))
    layout(tmp_path / "inside" / "Corpus-1.2", clip)
    with pytest.raises(ValueError, match=r"Corpus-1\.1, Corpus-1\.2 in it do: name one"):
        find(tmp_path / "inside", layout.__name__.removesuffix("_092"))


def test_plain_folders(tmp_path: Path, clip: Clip):
    """speakers: the first folder speaks, whatever lies below; flat: one speaker; auto tells them apart."""
    for name in ("p10/b.wav", "p2/2024/a 10.flac", "p2/2024/a 9.flac", "p2/a.ogg"):
        clip(tmp_path / "corpus" / name)
    found = find(tmp_path / "corpus")
    assert found == find(tmp_path / "corpus", "speakers")
    assert ids(found) == ["p2/2024/a 9", "p2/2024/a 10", "p2/a", "p10/b"]
    assert [utterance.speaker for utterance in found] == ["p2", "p2", "p2", "p10"]
    assert {utterance.speaker for utterance in find(tmp_path / "corpus", "flat")} == {"corpus"}
    clip(tmp_path / "corpus" / "top.wav")
    assert find(tmp_path / "corpus")[-1].speaker == "corpus"
    assert [(u.id, u.speaker) for u in find(tmp_path / "corpus/p2/2024")] == [("a 9", "2024"), ("a 10", "2024")]


def test_names_of_all_kinds(tmp_path: Path, clip: Clip):
    """Cyrillic, spaces, dots, upper-case suffixes; names that differ in their suffix alone keep it."""
    names = ["Анна/привет мир.wav", "Анна/Ёлка.WAV", "Анна/v1.2.final.flac", "Анна/twice.wav", "Анна/twice.flac"]
    for name in names:
        clip(tmp_path / name)
    found = find(tmp_path)
    assert sorted(ids(found)) == sorted(
        ["Анна/привет мир", "Анна/Ёлка", "Анна/v1.2.final", "Анна/twice.wav", "Анна/twice.flac"]
    )
    assert {utterance.speaker for utterance in found} == {"Анна"}
    assert all(audio.load(utterance.path)[0].size == 8000 for utterance in found)


def test_bytes_that_are_not_utf_8_become_escapes(tmp_path: Path, clip: Clip):
    """A name in an old encoding is still found and opened, and its id can be printed and written."""
    clip(tmp_path / "old.wav")
    try:
        (tmp_path / "old.wav").rename(
            bytes(tmp_path / "x").decode()[:-1] + b"\xcf\xf0\xe8.wav".decode(errors="surrogateescape")
        )
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (found,) = find(tmp_path)
    assert found.id == r"\xcf\xf0\xe8"
    assert found.id.encode("utf-8")
    assert audio.load(found.path)[0].size == 8000


def test_links_are_followed_and_loops_end(tmp_path: Path, clip: Clip):
    """A folder is read once, under its own name; so is what a link leads to; a link to nowhere is returned."""
    clip(tmp_path / "corpus" / "z" / "real.wav")
    clip(tmp_path / "elsewhere" / "far.wav")
    for link in ("a_link_to_z", "zz_link_to_z"):  # whatever order a folder is read in
        (tmp_path / "corpus" / link).symlink_to(tmp_path / "corpus" / "z")
    (tmp_path / "corpus" / "z" / "up").symlink_to(tmp_path / "corpus")
    (tmp_path / "corpus" / "z" / "self").symlink_to("self")
    (tmp_path / "corpus" / "far").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "z" / "linked.wav").symlink_to(tmp_path / "elsewhere" / "far.wav")
    (tmp_path / "corpus" / "z" / "loop.wav").symlink_to("loop.wav")
    (tmp_path / "corpus" / "z" / "dead.wav").symlink_to("nothing.wav")
    found = find(tmp_path / "corpus")
    assert ids(found) == ["far/far", "z/dead", "z/linked", "z/loop", "z/real"]


def test_what_is_left_out_is_counted_aloud(tmp_path: Path, clip: Clip, caplog: pytest.LogCaptureFixture):
    """Files that are not audio by name are not lost silently."""
    clip(tmp_path / "a.wav")
    for name in ("a.lab", "b.lab", "._a.wav", "README"):
        (tmp_path / name).touch()
    with caplog.at_level(logging.WARNING):
        assert ids(find(tmp_path)) == ["a"]
    assert caplog.messages == [
        f"{tmp_path}: left out files that are not audio by their names: 2 .lab, 1 hidden, 1 without suffix"
    ]


def test_the_repositorys_own_speech_is_a_table(shared_audio: Path):
    """shared-audio/manifest.tsv as it is: 46 clips of five speakers with their splits and texts."""
    found = find(shared_audio)
    assert len(found) == 46
    assert len({utterance.speaker for utterance in found}) == 5
    assert {utterance.split for utterance in found} == {"train", "valid", "test"}
    assert all(u.path.is_file() for u in found)
    assert next(u for u in found if u.id == "arctic_a0009").speaker == "slt"


def test_wrong_requests_are_answered(tmp_path: Path, clip: Clip):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        find(tmp_path / "nothing")
    with pytest.raises(ValueError, match=r"unknown layout 'vtck' \(did you mean vctk\?\)"):
        find(tmp_path, "vtck")
    with pytest.raises(ValueError, match="no audio files found there"):
        find(tmp_path)
    with pytest.raises(ValueError, match=r"expected a folder of audio or a \.tsv or \.csv table"):
        find(clip(tmp_path / "a.wav"))
    for layout in set(LAYOUTS) - {"auto", "speakers", "flat"}:
        with pytest.raises(ValueError, match=f"does not have the shape of layout {layout}, nor has a folder in it"):
            find(tmp_path, layout)
