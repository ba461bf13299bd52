"""When each phone of a recording is said: recording and sentence -> timed HTS labels, by pocketsphinx, extra [align].

    text --lexicon--> words, each with all its pronunciations --pass 1--> which of them, and pauses --pass 2--> phones

pocketsphinx brings an acoustic model of US English. On CMU ARCTIC slt a0009 its times are 12 ms off those of HTK on
average (tests/test_align.py). It thinks in steps of 10 ms and gives a phone 30 ms at least; the stress of the chosen
pronunciation, which pocketsphinx does not know, is the dictionary's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from . import lexicon
from .full_context import BEFORE_ALL, Phrase, labels
from .hts_label import TICKS_PER_SECOND, Phone
from .linguistic import FRAME_TICKS
from .reading import Said, read

SAMPLE_RATE = 16_000
STEP = TICKS_PER_SECOND // 100  # pocketsphinx's
PEAK = 16_000  # of 32768: what a recording is scaled to


@dataclass(frozen=True)
class _Word:
    """A word of the recording: which pronunciation, and in steps, where each of its phones begins."""

    variant: int
    begins: tuple[int, ...]


def align(wav: np.ndarray, sample_rate: int, text: str) -> list[Phone]:
    """Labels of a mono recording (T,) of one sentence, timed to 5 ms; the last ends with the recording's last frame.

    Raises ValueError where the text and the recording do not fit each other, or the extra is missing.
    """
    said = read(text)
    words = [word for phrase in said for word in phrase.words]
    pcm, frames = _pcm(wav, sample_rate)
    found, pauses = _times(pcm, words)
    phones = labels(_phrases(said, found), pauses)
    begins = _begins(found, pauses)
    if len(begins) != len(phones) or begins != sorted(set(begins)) or begins[-1] * STEP >= frames * FRAME_TICKS:
        raise ValueError(f"the alignment of {text[:60]!r} is damaged: {len(phones)} phones, {len(begins)} times")
    ticks = [0, *(begin * STEP for begin in begins[1:]), frames * FRAME_TICKS]
    return [replace(phone, begin=a, end=b) for phone, a, b in zip(phones, ticks, ticks[1:], strict=False)]


def _pcm(wav: np.ndarray, sample_rate: int) -> tuple[bytes, int]:
    """16-bit samples at 16 kHz, and how many frames of 5 ms they are."""
    from vocoder_core.audio import resample

    wav = np.asarray(wav, np.float32)
    if wav.ndim != 1 or not len(wav) or not np.abs(wav).max() > 0:
        raise ValueError(f"a recording of shape {wav.shape} cannot be aligned; expected mono (T,), not silent")
    wav = resample(wav, sample_rate, SAMPLE_RATE) if sample_rate != SAMPLE_RATE else wav
    scaled = wav / np.abs(wav).max() * PEAK
    return scaled.astype("<i2").tobytes(), len(wav) * 200 // SAMPLE_RATE


def _times(pcm: bytes, words: Sequence[str]) -> tuple[list[_Word], dict[int, int]]:
    """Each word as it is said, and the pauses: number of the word before (or BEFORE_ALL) -> its first step."""
    decoder = _decoder()  # a fresh one: it adapts to what it hears
    variants: dict[str, list[int]] = {}
    for word in words:
        variants.setdefault(_token(word), _teach(decoder, word))
    decoder.set_align_text(" ".join(_token(word) for word in words))
    for phones in (False, True):
        if phones:
            if decoder.hyp() is None:  # the second pass would crash
                raise ValueError(f"no way through the recording says {' '.join(words)[:60]!r}; expected its own text")
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(pcm, full_utt=True)
        decoder.end_utt()
    alignment = decoder.get_alignment()  # has to outlive the walk
    found: list[_Word] = []
    pauses: dict[int, int] = {}
    for item in alignment:
        name, number = _split(item.name)
        if name in variants:
            found.append(_Word(variants[name][number], tuple(phone.start for phone in item)))
        else:
            pauses.setdefault(len(found) - 1 if found else BEFORE_ALL, item.start)
    if len(found) != len(words):
        raise ValueError(f"the recording ends before {' '.join(words)[-60:]!r} is said; expected its own text")
    return found, pauses


def _decoder() -> Any:
    try:
        from pocketsphinx import Decoder
    except ImportError:
        raise ValueError(
            "aligning needs pocketsphinx, which is not installed: pip install samplernn-pase[align]"
        ) from None
    return Decoder(samprate=SAMPLE_RATE, lm=None, dict=None, bestpath=False, loglevel="FATAL")


def _token(word: str) -> str:
    return f"_{word.lower()}"  # a name that pocketsphinx's own dictionary does not have


def _split(name: str) -> tuple[str, int]:
    """`word(2)` is the second variant of `word`."""
    word, bracket, number = name.partition("(")
    return word, int(number.rstrip(")")) - 1 if bracket else 0


def _teach(decoder: Any, word: str) -> list[int]:
    """Tell the decoder how a word is said; which pronunciation of the lexicon each of its variants is."""
    told: list[str] = []
    which: list[int] = []
    for i, phones in enumerate(lexicon.pronunciations(word)):
        plain = " ".join(phone.rstrip("012") for phone in phones)
        if plain not in told:
            told.append(plain)
            which.append(i)
    if decoder.lookup_word(_token(word)) is None:
        for i, plain in enumerate(told, 1):
            decoder.add_word(_token(word) if i == 1 else f"{_token(word)}({i})", plain, True)
    return which


def _phrases(said: Sequence[Said], found: Sequence[_Word]) -> list[Phrase]:
    """The sentence with each word in the pronunciation that was heard."""
    variants = iter(found)
    return [
        Phrase(
            tuple(lexicon.word(word, lexicon.pronunciations(word)[next(variants).variant]) for word in phrase.words),
            lexicon.tone(phrase),
        )
        for phrase in said
    ]


def _begins(found: Sequence[_Word], pauses: dict[int, int]) -> list[int]:
    """First steps of all phones and pauses, in the order of the labels."""
    begins = [pauses[BEFORE_ALL]] if BEFORE_ALL in pauses else []
    for number, word in enumerate(found):
        begins += [*word.begins, *([pauses[number]] if number in pauses else [])]
    return begins
