"""English text -> sentences -> phrases of words to be said: numbers, times, money, abbreviations and signs read out.

    "Mr. Steels owes $5.50 at 10:30, doesn't he?"
    -> [mister steels owes five dollars fifty cents at ten thirty ,] [doesn't he ?]

Written for this package; numbers become words by the library inflect (extra [text]).
"""

from __future__ import annotations

import logging
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

logger = logging.getLogger(__name__)

ABBREVIATIONS = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "st": "saint", "jr": "junior",
    "sr": "senior", "vs": "versus", "etc": "et cetera", "capt": "captain", "col": "colonel", "gen": "general",
    "lt": "lieutenant", "sgt": "sergeant", "rev": "reverend", "hon": "honorable", "mt": "mount",
    "approx": "approximately", "dept": "department", "est": "established", "inc": "incorporated", "ltd": "limited",
}  # fmt: skip
NOT_BEFORE_NAMES = {"etc", "jr", "sr", "inc", "ltd"}  # after these a sentence may end
MONEY = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
SIGNS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "#": "number", "°": "degrees"}
_ASCII = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "–": "-", "—": " , ", "…": " , ", "\u00a0": " "})
_ENDS = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_ABBREVIATED = re.compile(rf"\b({'|'.join(ABBREVIATIONS)})\.(?=[\s,;:?!)]|$)(\s*[A-Z])?", re.IGNORECASE)
_TOKENS = re.compile(r"[A-Za-z]+(?:'[A-Za-z]+)*'?|[.,;:?!()]")


@dataclass(frozen=True)
class Said:
    """Words that are said in one go, as they are spelt, and the mark that follows them: one of . , ; : ? !"""

    words: tuple[str, ...]
    mark: str


def sentences(text: str) -> list[str]:
    """The sentences of a text, in order; abbreviations and initials end none."""
    parts: list[str] = []
    for part in _ENDS.split(" ".join(text.split())):
        if parts and _goes_on(parts[-1]):
            parts[-1] += f" {part}"
        elif part:
            parts.append(part)
    return parts


def read(text: str) -> list[Said]:
    """The phrases of a sentence. Raises ValueError where nothing in it can be said."""
    written = _written_out(plain(text))
    phrases: list[Said] = []
    words: list[str] = []
    for token in _TOKENS.findall(written):
        if token[0].isalpha():
            words.append(token.rstrip("'") if not token.lower().endswith("s'") else token[:-1])
        elif words:
            phrases.append(Said(tuple(words), "," if token in "()" else token))
            words = []
    if words:
        phrases.append(Said(tuple(words), "."))
    if not phrases:
        raise ValueError(f"the text {text[:60]!r} has no word to say; expected English text")
    return phrases


def _goes_on(part: str) -> bool:
    """Whether a full stop at the end of `part` is one of an abbreviation or an initial."""
    last = re.search(r"([A-Za-z]+)\.$", part)
    if not last:
        return False
    word = last.group(1).lower()
    return (word in ABBREVIATIONS and word not in NOT_BEFORE_NAMES) or (len(word) == 1 and word != "i")


def plain(text: str) -> str:
    """In ASCII but for signs that are read; letters lose their accents, the unreadable is left out and warned of."""
    text = text.translate(_ASCII)
    decomposed = (c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    kept = [c if c.isascii() or c in MONEY or c in SIGNS else "\0" for c in decomposed]
    if "\0" in kept:
        lost = sorted(
            {c for c in unicodedata.normalize("NFC", text) if not unicodedata.normalize("NFKD", c)[0].isascii()}
        )
        logger.warning("cannot be read, left out: %s", " ".join(c for c in lost if c not in MONEY and c not in SIGNS))
    return "".join(kept).replace("\0", " ")


def _written_out(text: str) -> str:
    """Numbers, money, times and signs as words."""
    text = re.sub(r"\b(e\.g|i\.e)\.", lambda m: {"e": "for example", "i": "that is"}[m[1][0].lower()], text, flags=re.I)
    text = _ABBREVIATED.sub(_abbreviation, text)
    text = re.sub(r"\b(?:[A-Za-z]\.){2,}", lambda m: " ".join(m[0].replace(".", " ")).upper() + " ", text)
    text = re.sub(r"\b([A-HJ-Z])\.(?=\s+[A-Z])", r"\1", text)  # initials
    text = re.sub(r"\b[Nn]o\.(?=\s*\d)", "number ", text)
    for pattern, say in _NUMBERS:
        text = re.sub(pattern, say, text)
    for sign, word in SIGNS.items():
        text = text.replace(sign, f" {word} ")
    return re.sub(r"(?<=\s)-+(?=\s)", ",", text).replace("-", " ").replace("/", " ")


def _abbreviation(match: re.Match[str]) -> str:
    word, following = match[1].lower(), match[2] or ""
    if word == "st" and not following.strip().isupper():
        return "street" + following
    return ABBREVIATIONS[word] + following


@lru_cache(maxsize=1)
def _engine() -> Any:
    try:
        import inflect
    except ImportError:
        raise ValueError(
            "reading numbers needs inflect, which is not installed: pip install samplernn-pase[text]"
        ) from None
    return inflect.engine()


def _cardinal(digits: str) -> str:
    digits = digits.replace(",", "")
    if len(digits) > 15 or (len(digits) > 1 and digits[0] == "0" and "." not in digits):
        return _words(digits, group=1)  # one by one
    return _words(digits, andword="")


def _year(match: re.Match[str]) -> str:
    number = int(match[1])
    decade = "s" if match[2] else ""
    if number % 1000 < 10:
        said = _words(str(number), andword="")
    elif number % 100 == 0:
        said = f"{_words(str(number // 100))} hundred"
    else:
        said = _words(str(number), group=2, zero="oh")
    if not decade:
        return f" {said} "
    return f" {said[:-1]}ies " if said.endswith("y") else f" {said}s "


def _words(digits: str, **options: Any) -> str:
    return re.sub(r"[,-]", " ", _engine().number_to_words(digits, **options))


def _money(match: re.Match[str]) -> str:
    unit, part = MONEY[match[1]]
    whole, _, rest = match[2].replace(",", "").partition(".")
    if match[3]:  # $5.5 million
        return f" {_cardinal(match[2])} {match[3]} {unit}s "
    said = f" {_cardinal(whole)} {unit}{'' if int(whole) == 1 else 's'} "
    count = int(rest.ljust(2, "0")[:2] or "0")
    parts = {"penny": "pence"}.get(part, f"{part}s")
    return said + (f"{_cardinal(str(count))} {part if count == 1 else parts} " if count else "")


def _time(match: re.Match[str]) -> str:
    minutes = match[2]
    if minutes == "00":
        return f" {_cardinal(match[1])} o'clock "
    said = f"oh {_cardinal(minutes[1])}" if minutes[0] == "0" else _cardinal(minutes)
    return f" {_cardinal(match[1])} {said} "


_NUMBERS: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"([$£€])\s?(\d[\d,]*(?:\.\d+)?)(?:\s+(thousand|million|billion|trillion)\b)?", _money),
    (r"\b([01]?\d|2[0-3]):([0-5]\d)\b", _time),
    (r"\b(1[1-9]\d\d|20\d\d)(s)?\b(?![.,]\d)", _year),
    (r"\b(\d[\d,]*)(st|nd|rd|th)\b", lambda m: f" {_words(m[1].replace(',', '') + m[2], andword='')} "),
    (r"(?<=\d)\s?-\s?(?=\d)", lambda m: " to "),
    (r"(?<![\w.])-(?=\d)", lambda m: " minus "),
    (r"(\d+)/(\d+)", lambda m: f" {m[1]} over {m[2]} "),
    (r"\d[\d,]*\.\d+|\d+(?:,\d{3})+|\d+", lambda m: f" {_cardinal(m[0])} "),
]
