"""Labels -> linguistic content: 55 numbers for every 5 ms, as the SampleRNN of Álvarez et al. 2019 reads them.

    0 duration of the phone | 1 where in the phone, 0 to 1 | 2-6 the phone and its neighbours | 7-54 p6 ... j3

in the order of an HTS label (`hts_label.FIELDS`); the variant linguistic_lf0 adds 55 log-F0 and 56 voicing of a
recording. Origin: `SampleRNNPASEDataset._get_conds_linguistic` of davidalvarezdlt/samplernn_pase. Its vocabularies were
sets, whose order changes from process to process; here they are constants. An undefined value was 0 there, like a real
zero; here it is NaN, for whoever normalises to see.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import numpy as np

from .hts_label import FIELDS, TICKS_PER_SECOND, UNDEFINED, Phone, is_timed

logger = logging.getLogger(__name__)

UNKNOWN = "<unk>"  # index 0 of each vocabulary
# The phones of Festival's US English ("radio") and of HTK's alignment of it, and x, beyond the ends of the sentence.
PHONEMES = (
    UNKNOWN, "x", "aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "b", "brth", "ch", "d", "dh", "dx", "eh", "el", "em",
    "en", "er", "ey", "f", "g", "h#", "hh", "hv", "ih", "iy", "jh", "k", "l", "m", "n", "ng", "nx", "ow", "oy", "p",
    "pau", "r", "s", "sh", "sil", "sp", "ssil", "t", "th", "uh", "uw", "v", "w", "y", "z", "zh",
)  # fmt: skip
VOWELS = (
    UNKNOWN, "x", "0", "aa", "ae", "ah", "ao", "aw", "ax", "axr", "ay", "eh", "el", "em", "en", "er", "ey", "ih", "iy",
    "novowel", "ow", "oy", "uh", "uw",
)  # fmt: skip
# Festival's guess at the part of speech: eight closed classes, punctuation, and all other words.
GPOS = (UNKNOWN, "x", "0", "aux", "cc", "content", "det", "in", "md", "pps", "punc", "to", "wp")
TOBI = (UNKNOWN, "x", "0", "NONE", "H-", "H-H%", "H-L%", "L-", "L-H%", "L-L%")  # how a phrase's melody ends
VOCABULARIES: Mapping[str, tuple[str, ...]] = {"phonemes": PHONEMES, "vowels": VOWELS, "gpos": GPOS, "tobi": TOBI}

DURATION, POSITION, FIRST_FIELD = 0, 1, 2
LINGUISTIC_SIZE = FIRST_FIELD + len(FIELDS)  # 55
LF0, VOICED = LINGUISTIC_SIZE, LINGUISTIC_SIZE + 1  # of the variant linguistic_lf0
# Which fields hold an index into which vocabulary: p1-p5, b16, d1, e1, f1, h5.
CATEGORIES: dict[int, str] = {
    **dict.fromkeys(range(2, 7), "phonemes"), 27: "vowels", 31: "gpos", 33: "gpos", 41: "gpos", 49: "tobi",
}  # fmt: skip
RAW = (POSITION, 9, 10, 12, 13, 28, 29, VOICED)  # in 0..1 as they are: position, stress and accent a1 a2 b1 b2 c1 c2
# What is z-scored of the 55; LF0 is, too, where there is one.
SCORED = tuple(index for index in range(LINGUISTIC_SIZE) if index not in RAW and index not in CATEGORIES)

FRAME_TICKS = TICKS_PER_SECOND // 200  # 5 ms


def frames(phones: Sequence[Phone], vocabularies: Mapping[str, tuple[str, ...]] = VOCABULARIES) -> np.ndarray:
    """Raw linguistic content (F, 55) float32 of timed phones, 200 frames a second: not normalised, undefined is NaN.

    Times are rounded to 5 ms each, so that no error adds up; a phone without a whole frame has none. The duration is in
    100 ns as in the label. What a vocabulary lacks is its index 0. Raises ValueError for a field that is no number.
    """
    if not is_timed(phones):
        raise ValueError(
            "the labels have no times; expected begin and end of each phone: align them, or predict durations"
        )
    counts = frame_counts(phones)
    content = np.repeat(vectors(phones, vocabularies), counts, axis=0)
    content[:, POSITION] = np.concatenate([np.linspace(0, 1, count) for count in counts])
    return content


def frame_counts(phones: Sequence[Phone]) -> np.ndarray:
    """How many frames of 5 ms each phone has (P,)."""
    ends = np.array([0, *(phone.end for phone in phones)])
    return np.diff((ends + FRAME_TICKS // 2) // FRAME_TICKS)


def with_pitch(content: np.ndarray, acoustic: np.ndarray) -> np.ndarray:
    """Linguistic content (F, 55) and a recording's acoustic features (F, >= 2), whose last two are lf0 and voicing.

    Gives (F, 57), as long as the shorter of both.
    """
    length = min(len(content), len(acoustic))
    return np.concatenate([content[:length], acoustic[:length, -2:]], axis=1).astype(np.float32)


def vectors(phones: Sequence[Phone], vocabularies: Mapping[str, tuple[str, ...]] = VOCABULARIES) -> np.ndarray:
    """One row for each phone (P, 55), as in `frames`; the position is 0, and so is a duration that is not known."""
    indices = {name: {word: i for i, word in enumerate(words)} for name, words in vocabularies.items()}
    made = np.zeros((len(phones), LINGUISTIC_SIZE), np.float32)
    unknown: set[str] = set()
    for row, phone in zip(made, phones, strict=True):
        row[DURATION] = phone.end - phone.begin
        for index, value in enumerate(phone.context, FIRST_FIELD):
            if (name := CATEGORIES.get(index)) is None:
                row[index] = np.nan if value == UNDEFINED else _number(value, index)
            else:
                row[index] = indices[name].get(value, 0)
                unknown |= {f"{name} {value}"} if value not in indices[name] else set()
    if unknown:
        logger.warning("not in the vocabulary, taken as %s: %s", UNKNOWN, ", ".join(sorted(unknown)))
    return made


def _number(value: str, index: int) -> float:
    try:
        return float(int(value))
    except ValueError:
        field = FIELDS[index - FIRST_FIELD]
        raise ValueError(f"the label's field {field} is {value!r}; expected a whole number or {UNDEFINED}") from None
