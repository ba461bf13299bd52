"""train.txt, valid.txt, test.txt of three public projects: the same recordings, splits and texts in every spelling."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from vocoder_core import audio
from vocoder_core.corpus import Corpus, CorpusConfig, prepare
from vocoder_core.layouts import Utterance, find

SPLITS = {"train": ("LJ001-0001", "LJ001-0002", "LJ002-0010"), "valid": ("LJ003-0001",), "test": ("LJ050-0278",)}


@pytest.fixture(scope="module")
def corpus(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LJSpeech as it unpacks, with one recording that no list names."""
    root = tmp_path_factory.mktemp("lists") / "ljspeech"
    (root / "wavs").mkdir(parents=True)
    wav, rate = audio.load(shared_audio / "slt" / "arctic_a0009.flac")
    for name in (*sum(SPLITS.values(), ()), "LJ009-0009"):
        soundfile.write(root / "wavs" / f"{name}.wav", wav[8000:16000], rate)
    (root / "metadata.csv").write_text("LJ001-0001|One|One\n", encoding="utf-8")
    return root


def write(root: Path, line: Callable[[str], str], **more: str) -> None:
    for split, names in SPLITS.items():
        text = "".join(line(name) + "\n" for name in names)
        (root / f"{split}.txt").write_text(text + more.get(split, ""), encoding="utf-8")


@pytest.mark.parametrize(
    ("project", "line"),
    [
        ("specgrad", "wavs/{}.wav"),
        ("priorgrad", "{root}/wavs/{}.wav"),
        ("teysir", "wavs/{}|{text}"),
        ("hifigan", "{}|Numbers as 10.|{text}"),
        ("names", "{}"),
    ],
)
@pytest.mark.parametrize("layout", ["auto", "lists"])
def test_the_lists_say_what_belongs_where(corpus: Path, project: str, line: str, layout: str) -> None:
    write(corpus, lambda name: line.format(name, root=corpus, text=f"Text of {name}."), train="\n  \n")
    found = find(corpus, layout)
    wanted = [(name, split) for split, names in SPLITS.items() for name in names]
    assert [(u.id, u.split) for u in found] == sorted(wanted)
    assert {u.speaker for u in found} == {"ljspeech"}
    assert all(u.path == corpus / "wavs" / f"{u.id}.wav" and u.path.is_file() for u in found)
    assert {u.text for u in found} == ({f"Text of {u.id}." for u in found} if "{text}" in line else {None})


def test_a_corpus_is_prepared_by_its_lists(corpus: Path, tmp_path: Path) -> None:
    write(corpus, "wavs/{}.wav".format)
    prepare(find(corpus), tmp_path / "data", CorpusConfig(), progress=False, jobs=1)
    prepared = Corpus.open(tmp_path / "data")
    assert {split: tuple(e.id for e in prepared.split(split)) for split in SPLITS} == SPLITS


def test_speakers_are_the_folders_that_differ(shared_audio: Path, tmp_path: Path) -> None:
    paths = [
        f"{folder}/{path.name}" for folder in ("carlo", "slt") for path in sorted((shared_audio / folder).iterdir())
    ]
    (tmp_path / "training.txt").write_text("\n".join(f"{shared_audio}/{path}" for path in paths[2:]), encoding="utf-8")
    (tmp_path / "dev.txt").write_text("\n".join(f"{shared_audio}/{path}" for path in paths[:2]), encoding="utf-8")
    found = find(tmp_path)
    assert [u.id for u in found] == [path.removesuffix(".flac") for path in paths]
    assert [u.speaker for u in found] == [path.split("/")[0] for path in paths]
    assert [u.split for u in found] == ["valid"] * 2 + ["train"] * (len(paths) - 2)


def test_a_recording_in_two_lists_is_refused(corpus: Path) -> None:
    write(corpus, "wavs/{}.wav".format, test="wavs/../wavs/LJ001-0002\n")
    with pytest.raises(
        ValueError, match=r"test.txt:2: .*LJ001-0002.wav is in train.txt:2 too; expected it in one list"
    ):
        find(corpus)


def test_what_a_list_names_and_the_disk_lacks_is_reported_when_opened(corpus: Path, tmp_path: Path) -> None:
    write(corpus, "wavs/{}.wav".format, train="wavs/LJ077-0077.wav\n")
    assert Utterance("LJ077-0077", "ljspeech", corpus / "wavs/LJ077-0077.wav", None, "train") in find(corpus)


def test_other_texts_are_not_taken_for_lists(corpus: Path, tmp_path: Path) -> None:
    """A train.txt of sentences leaves the folder what it was."""
    write(corpus, lambda name: f"The sentence that {name} reads, " * 20)
    assert len(find(corpus)) == 6 and {u.speaker for u in find(corpus)} == {"lj"}
    with pytest.raises(ValueError, match="does not have the shape of layout lists"):
        find(corpus, "lists")
