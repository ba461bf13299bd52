"""A sentence as phrases of words of syllables of phones -> HTS full-context labels, without times.

What the fields mean is in Zen's "An example of context-dependent label format" (2006), how they are counted is
Festival's way, so that labels from either source are of one kind: stressed and accented syllables before this one leave
out the first of the phrase (b8, b10), distances end at the phrase, pauses know their neighbours. Accents are not known
here: all fields about them are x.

    pau | hh iy . t er n d . sh aa r p l iy | pau | ae n d . f ey s t | pau            phrases between pauses
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .hts_label import FIELDS, UNDEFINED, Phone

PAUSE = "pau"
VOWELS = frozenset("aa ae ah ao aw ax ay eh er ey ih iy ow oy uh uw".split())
BEFORE_ALL = -1  # a pause before the first word
NONE = "0"  # Festival's word for a neighbour that is not there


@dataclass(frozen=True)
class Syllable:
    """Phones around one vowel; stress 1 or 0."""

    phones: tuple[str, ...]
    stress: int

    @property
    def vowel(self) -> str:
        """Its vowel, `novowel` where it has none."""
        return next((phone for phone in self.phones if phone in VOWELS), "novowel")


@dataclass(frozen=True)
class Word:
    """A word: its syllables, and its part of speech as Festival guesses it (linguistic.GPOS)."""

    text: str
    syllables: tuple[Syllable, ...]
    gpos: str


@dataclass(frozen=True)
class Phrase:
    """Words that are said in one go, and how their melody ends (linguistic.TOBI)."""

    words: tuple[Word, ...]
    tone: str


@dataclass(frozen=True)
class _Place:
    """Where a phone stands: numbers from 0 of its phrase, word and syllable in the sentence, and of itself in that."""

    phrase: int
    word: int
    syllable: int
    phone: int


def labels(phrases: Sequence[Phrase], pauses: Iterable[int] | None = None) -> list[Phone]:
    """Labels of a sentence, without times. Raises ValueError where there is nothing to say.

    pauses: numbers of the words that a pause follows, counted through the sentence from 0, and BEFORE_ALL; None:
    before all and after each phrase.
    """
    if not phrases or not all(phrase.words and all(word.syllables for word in phrase.words) for phrase in phrases):
        raise ValueError("a sentence without words has no labels; expected phrases of words of syllables")
    return _Sentence(phrases).labels(after_phrases(phrases) if pauses is None else set(pauses))


def after_phrases(phrases: Sequence[Phrase]) -> set[int]:
    """The pauses of a sentence that is read as it is punctuated."""
    last, pauses = -1, {BEFORE_ALL}
    for phrase in phrases:
        last += len(phrase.words)
        pauses.add(last)
    return pauses


class _Sentence:
    """Everything that is counted, for each phrase, word and syllable."""

    def __init__(self, phrases: Sequence[Phrase]) -> None:
        self.phrases = phrases
        self.words: list[dict[str, Any]] = []
        self.syllables: list[dict[str, Any]] = []
        self.places: list[_Place] = []
        self.sizes = [(sum(len(w.syllables) for w in phrase.words), len(phrase.words)) for phrase in phrases]
        for number, phrase in enumerate(phrases):
            self._add(number, phrase)

    def _add(self, number: int, phrase: Phrase) -> None:
        syllables = [syllable for word in phrase.words for syllable in word.syllables]
        content = [word.gpos == "content" for word in phrase.words]
        stressed = [syllable.stress > 0 for syllable in syllables]
        first = 0
        for i, word in enumerate(phrase.words):
            for j, syllable in enumerate(word.syllables):
                self._add_places(number, syllable)
                self.syllables.append(_syllable_fields(syllable, j, len(word.syllables), stressed, first + j))
            first += len(word.syllables)
            self.words.append(_word_fields(word, content, i))

    def _add_places(self, phrase: int, syllable: Syllable) -> None:
        place = (phrase, len(self.words), len(self.syllables))
        self.places += [_Place(*place, i) for i in range(len(syllable.phones))]

    def labels(self, pauses: set[int]) -> list[Phone]:
        """The phones and, None, the pauses between them, each with its fields."""
        run: list[_Place | None] = [None] if BEFORE_ALL in pauses else []
        for place, following in pairwise([*self.places, None]):
            run.append(place)
            if place is not None and place.word in pauses and (following is None or following.word != place.word):
                run.append(None)
        names = [PAUSE if place is None else self._name(place) for place in run]
        around = [UNDEFINED, UNDEFINED, *names, UNDEFINED, UNDEFINED]
        made = []
        for i, place in enumerate(run):
            before = run[i - 1] if i else None
            after = run[i + 1] if i + 1 < len(run) else None
            fields = self._of_pause(before, after) if place is None else self._of_phone(place)
            fields |= dict(zip(("p1", "p2", "p3", "p4", "p5"), around[i : i + 5], strict=True))
            made.append(Phone(tuple(str(fields[name]) for name in FIELDS)))
        return made

    def _name(self, place: _Place) -> str:
        return str(self.syllables[place.syllable]["phones"][place.phone])

    def _of_phone(self, place: _Place) -> dict[str, Any]:
        own = self.syllables[place.syllable]
        at = (place.syllable, place.word, place.phrase)
        fields = {"p6": place.phone + 1, "p7": len(own["phones"]) - place.phone}
        fields |= {name: value for name, value in own.items() if name != "phones"} | self.words[place.word]
        fields |= self._beside(tuple(i - 1 for i in at), tuple(i + 1 for i in at))
        fields |= dict(zip(("h1", "h2"), self.sizes[place.phrase], strict=True))
        return fields | self._of_sentence(place.phrase) | {"h5": self.phrases[place.phrase].tone}

    def _of_pause(self, before: _Place | None, after: _Place | None) -> dict[str, Any]:
        """A pause has no syllable, word or phrase of its own; its neighbours are those of the phones beside it."""
        own = [name for name in FIELDS if name[0] in "be"] + ["p6", "p7", "h1", "h2"]
        fields = dict.fromkeys(own, UNDEFINED) | self._of_sentence(0) | {"h5": NONE}
        sides = ((-1, -1, -1) if side is None else (side.syllable, side.word, side.phrase) for side in (before, after))
        return fields | self._beside(*sides)

    def _of_sentence(self, phrase: int) -> dict[str, Any]:
        syllables, words = (sum(counts) for counts in zip(*self.sizes, strict=True))
        total = len(self.phrases)
        return {"h3": phrase + 1, "h4": total - phrase, "j1": syllables, "j2": words, "j3": total}

    def _beside(self, before: tuple[int, ...], after: tuple[int, ...]) -> dict[str, Any]:
        """Fields A, C, D, F, G and I. before, after: numbers of a syllable, a word and a phrase; where none is, 0."""
        fields: dict[str, Any] = {}
        for letters, (syllable, word, phrase) in (("adg", before), ("cfi", after)):
            near, said, around = _at(self.syllables, syllable), _at(self.words, word), _at(self.sizes, phrase)
            told = [
                (near["b1"], UNDEFINED, near["b3"]) if near else (NONE,) * 3,
                (said["e1"], said["e2"]) if said else (NONE,) * 2,
                around or (NONE,) * 2,
            ]
            for letter, values in zip(letters, told, strict=True):
                fields |= {f"{letter}{i}": value for i, value in enumerate(values, 1)}
        return fields


def _syllable_fields(syllable: Syllable, at: int, of: int, stressed: list[bool], place: int) -> dict[str, Any]:
    """Fields B. at: which of the word's `of`; stressed: of all syllables of the phrase, this one at `place`."""
    fields: dict[str, Any] = dict.fromkeys(("b2", "b10", "b11", "b14", "b15"), UNDEFINED)
    fields |= {"b1": syllable.stress, "b3": len(syllable.phones), "b4": at + 1, "b5": of - at}
    fields |= {"b6": place + 1, "b7": len(stressed) - place, "b16": syllable.vowel, "phones": syllable.phones}
    fields |= {"b8": sum(stressed[1:place]) + 1, "b9": sum(stressed[place + 1 :]) + 1}
    return fields | {"b12": _distance(stressed[:place][::-1]), "b13": _distance(stressed[place + 1 :])}


def _word_fields(word: Word, content: list[bool], place: int) -> dict[str, Any]:
    """Fields E. content: which words of the phrase are content words."""
    fields: dict[str, Any] = {"e1": word.gpos, "e2": len(word.syllables), "e3": place + 1, "e4": len(content) - place}
    fields |= {"e5": sum(content[:place]), "e6": sum(content[place + 1 :])}
    return fields | {"e7": _distance(content[:place][::-1]), "e8": _distance(content[place + 1 :])}


def _distance(marked: Sequence[bool]) -> int:
    """To the next that is marked, 1 for the neighbour; 0: there is none."""
    return next((i for i, mark in enumerate(marked, 1) if mark), 0)


def _at(items: Sequence[Any], index: int) -> Any:
    return items[index] if 0 <= index < len(items) else None
