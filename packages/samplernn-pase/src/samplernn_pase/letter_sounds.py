"""A word that no dictionary knows -> phones, by rules; or spelt, letter by letter.

Longest piece of spelling first, with a little of what surrounds it: what a careful reader of English would guess, right
for most regular words and wrong for many names. Written for this package.
"""

from __future__ import annotations

import re

LETTERS = {
    "a": "EY1", "b": "B IY1", "c": "S IY1", "d": "D IY1", "e": "IY1", "f": "EH1 F", "g": "JH IY1", "h": "EY1 CH",
    "i": "AY1", "j": "JH EY1", "k": "K EY1", "l": "EH1 L", "m": "EH1 M", "n": "EH1 N", "o": "OW1", "p": "P IY1",
    "q": "K Y UW1", "r": "AA1 R", "s": "EH1 S", "t": "T IY1", "u": "Y UW1", "v": "V IY1", "w": "D AH1 B AH0 L Y UW0",
    "x": "EH1 K S", "y": "W AY1", "z": "Z IY1",
}  # fmt: skip
# spelling -> sounds; ^ is the word's beginning, $ its end, _ in front or behind: with a vowel letter or without there
_RULES = """
^kn N|^gn N|^wr R|^ps S|^pn N|^x Z|^y Y|^wh W|^sch SH|^mc M AH K|^mac M AH K|ation$ EY SH AH N|ations$ EY SH AH N Z
tion$ SH AH N|tions$ SH AH N Z|sion$ ZH AH N|cian$ SH AH N|ture$ CH ER|tures$ CH ER Z|ous$ AH S|ious$ IY AH S
ion$ Y AH N|ing$ IH NG|ings$ IH NG Z|able$ AH B AH L|ible$ AH B AH L|ple$ P AH L|tle$ T AH L|dle$ D AH L|ble$ B AH L
gle$ G AH L|kle$ K AH L|fle$ F AH L|zle$ Z AH L|sm$ Z AH M|age$ IH JH|ate$ EY T|ness$ N AH S|ment$ M AH N T|al$ AH L
el$ AH L|er$ ER|ers$ ER Z|or$ ER|ar$ ER|ey$ IY|ie$ IY|ies$ IY Z|y$ IY|ight AY T|igh AY|eigh EY|augh AO|ough OW
ould UH D|tch CH|dge JH|sch S K|chr K R|ch CH|sh SH|th TH|ph F|gh G|ck K|qu K W|ng NG|nk NG K|wh W|mb$ M|mn$ M|gn$ N
sce S EH|sci S AY|sc S K|ce S|ci S IH|cy S IY|ge JH|gi JH IH|gy JH IY|cc K|ss S|ll L|tt T|pp P|bb B|dd D|ff F|gg G
mm M|nn N|rr R|zz Z|x K S|air EH R|are$ EH R|ear IH R|eer IH R|oor AO R|our AW R|oar AO R|ore AO R|ire$ AY ER
ure Y UH R|ai EY|ay EY|au AO|aw AO|ea IY|ee IY|ei IY|eu Y UW|ew UW|ie IY|oa OW|oe OW|oi OY|oy OY|oo UW|ou AW|ow OW
ue UW|ui UW|ar AA R|er ER|ir ER|or AO R|ur ER|a AE|b B|c K|d D|e EH|f F|g G|h HH|i IH|j JH|k K|l L|m M|n N|o AA|p P
q K|r R|s S|t T|u AH|v V|w W|y IH|z Z
"""
_SPELLINGS = sorted(
    (tuple(rule.split(" ", 1)) for rule in _RULES.strip().replace("\n", "|").split("|")),
    key=lambda rule: (-len(rule[0].strip("^$")), -len(rule[0])),
)
_LONG = {"a": "EY", "e": "IY", "i": "AY", "o": "OW", "u": "UW", "y": "AY"}
_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW".split()


def spelt(word: str) -> list[str]:
    """The names of its letters, one after another, as ARPAbet with stress."""
    return [phone for letter in word.lower() if letter in LETTERS for phone in LETTERS[letter].split()]


def guessed(word: str) -> list[str]:
    """Phones of a word by rules, ARPAbet with stress on the first vowel that can have it; spelt where it has none."""
    word = word.lower()
    if not re.search(r"[aeiouy]", word) or not word.isalpha():
        return spelt(word)
    phones: list[str] = []
    at = 0
    while at < len(word):
        spelling, sounds = _next(word, at)
        phones += sounds
        at += spelling
    return _stressed([phone for i, phone in enumerate(phones) if i == 0 or phone != phones[i - 1]])


def _next(word: str, at: int) -> tuple[int, list[str]]:
    """How many letters are said at `at`, and how."""
    rest = word[at:]
    silent = re.fullmatch(r"([aeiouy])([^aeiouywx])e(s?)", rest)  # made, tones
    if silent:
        said = [_LONG[silent[1]], *_next(silent[2] + "e", 0)[1][:1]]
        return len(rest), said + (["Z"] if silent[3] else [])
    if at > 0 and rest == "e" and re.search(r"[aeiouy]", word[:at]):
        return 1, []
    for spelling, sounds in _SPELLINGS:
        letters = spelling.strip("^$")
        first, last = spelling.startswith("^"), spelling.endswith("$")
        whole = rest == letters if last else rest.startswith(letters)
        if whole and (at == 0 if first else True) and not (last and at == 0 and len(letters) < 3):
            return len(letters), sounds.split()
    return 1, []  # no letter


def _stressed(phones: list[str]) -> list[str]:
    """Stress on the first vowel, none on the others; a word of schwas has it on its first, too."""
    vowels = [i for i, phone in enumerate(phones) if phone in _VOWELS]
    main = next((i for i in vowels if phones[i] != "AH"), vowels[0] if vowels else -1)
    return [f"{phone}{int(i == main)}" if i in vowels else phone for i, phone in enumerate(phones)]
