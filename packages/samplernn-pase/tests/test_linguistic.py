"""The linguistic content is the public code's, number by number; where that was wrong, it is not."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from samplernn_pase import hts_label, linguistic
from samplernn_pase.hts_label import FIELDS, Phone
from samplernn_pase.linguistic import CATEGORIES, SCORED, VOCABULARIES


@pytest.fixture
def phones(shared_audio: Path) -> list[Phone]:
    return hts_label.read(shared_audio / "slt" / "arctic_a0009.lab")


def test_content_of_a_real_label_is_that_of_the_public_code(golden: Path, phones: list[Phone]) -> None:
    theirs = np.load(golden / "samplernn_labels.npz")
    ours, content = linguistic.frames(phones), theirs["content"]
    assert ours.shape == content.shape == (615, 55)
    assert ours.dtype == np.float32
    for field in range(55):
        if name := CATEGORIES.get(field):
            words = theirs[f"words_{name}"][content[:, field].astype(int)]
            assert [VOCABULARIES[name][int(i)] for i in ours[:, field]] == words.tolist()
        else:
            defined = ~np.isnan(ours[:, field])
            np.testing.assert_allclose(ours[defined, field], content[defined, field], rtol=1e-6, atol=1e-7)
            assert not content[~defined, field].any(), "what is undefined was 0 there"


def test_undefined_is_no_number_and_zero_is_one(phones: list[Phone]) -> None:
    first, second = phones[0], phones[1]
    content = linguistic.frames([first, second])
    silence, speech = content[0], content[-1]
    assert np.isnan(silence[[7, 8, 12, 16, 40]]).all(), "p6 p7 b1 b5 e8 of a pause are x"
    assert speech[[11, 45, 9]].tolist() == [0, 4, 0], "a3 is 0 before the first syllable, h1 is 4, a1 is 0"
    assert not np.isnan(np.delete(speech, 2)).any()


def test_the_tables_part_the_fields_as_the_public_code_does() -> None:
    theirs = [0, 7, 8, 11, *range(14, 27), 30, 32, *range(34, 41), *range(42, 49), *range(50, 55)]
    assert list(SCORED) == theirs
    assert len(SCORED) == 38
    assert set(CATEGORIES) | set(SCORED) | {i for i in linguistic.RAW if i < 55} == set(range(55))
    assert {FIELDS[i - 2] for i in CATEGORIES} == {"p1", "p2", "p3", "p4", "p5", "b16", "d1", "e1", "f1", "h5"}
    for words in VOCABULARIES.values():
        assert words[0] == "<unk>"
        assert len(set(words)) == len(words)


CODES = """
import sys
from samplernn_pase import hts_label, linguistic
phones = hts_label.read(sys.argv[1])
if sys.argv[2] == "a set":
    made = {name: ("<unk>", *set(words[1:])) for name, words in linguistic.VOCABULARIES.items()}
else:
    made = linguistic.VOCABULARIES
print(linguistic.frames(phones, made)[:, list(linguistic.CATEGORIES)].astype(int).tolist())
"""


@pytest.mark.parametrize(("order", "alike"), [("ours", True), ("a set", False)])
def test_codes_are_alike_in_every_process(shared_audio: Path, order: str, alike: bool) -> None:
    """D7: in the public code the order of a vocabulary was that of a set of strings, another one in each process."""
    told = []
    for seed in ("1", "2"):
        command = [sys.executable, "-c", CODES, str(shared_audio / "slt" / "arctic_a0009.lab"), order]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        told.append(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert (told[0] == told[1]) == alike


def test_what_a_vocabulary_lacks_is_its_first_word_and_is_warned_of(
    phones: list[Phone], caplog: pytest.LogCaptureFixture
) -> None:
    strange = [replace(phone, context=(*phone.context[:2], "øy", *phone.context[3:])) for phone in phones[:2]]
    assert (linguistic.frames(strange)[:, 4] == 0).all()
    assert "phonemes øy" in caplog.text


def test_frames_follow_the_clock_and_no_error_adds_up(phones: list[Phone]) -> None:
    ticks = np.arange(0, 101) * 130_000  # 13 ms each: 2.6 frames, which the public code made 2 of
    timed = [replace(phones[1], begin=int(a), end=int(b)) for a, b in pairwise(ticks)]
    counts = linguistic.frame_counts(timed)
    assert counts.sum() == 260 == len(linguistic.frames(timed))
    np.testing.assert_array_equal(counts.cumsum(), [round(int(t) / 50_000) for t in ticks[1:]])
    position = linguistic.frames(timed)[:, 1]
    assert position[:3].tolist() == [0, 0.5, 1]


def test_labels_without_times_or_with_a_field_that_is_no_number_are_refused(phones: list[Phone]) -> None:
    with pytest.raises(ValueError, match="no times; expected begin and end"):
        linguistic.frames([Phone(phones[0].context)])
    context = list(phones[1].context)
    context[FIELDS.index("b3")] = "two"
    with pytest.raises(ValueError, match="field b3 is 'two'; expected a whole number or x"):
        linguistic.frames([replace(phones[1], context=tuple(context))])


def test_pitch_of_a_recording_makes_57_as_long_as_the_shorter(phones: list[Phone]) -> None:
    acoustic = np.random.default_rng(0).normal(size=(600, 43)).astype(np.float32)
    content = linguistic.with_pitch(linguistic.frames(phones), acoustic)
    assert content.shape == (600, 57)
    np.testing.assert_array_equal(content[:, 55:], acoustic[:, 41:])
    assert (linguistic.LF0, linguistic.VOICED) == (55, 56)


# ---- defects of the public code, put back one by one


def what_is_undefined_is_told_from_zero(phones: list[Phone]) -> None:
    pause, speech = linguistic.vectors(phones)[:2]
    assert np.isnan(pause[7]) and speech[9] == 0 and not np.isnan(speech[9])


def labels_of_states_become_phones(phones: list[Phone]) -> None:
    states = [f"{i * 50_000} {(i + 1) * 50_000} {Phone(phones[0].context)}[{i + 2}]" for i in range(5)]
    assert len(linguistic.frames(hts_label.parse(states))) == 5
    assert len(hts_label.parse(states)) == 1


def no_frame_is_lost(phones: list[Phone]) -> None:
    ticks = [130_000 * i for i in range(41)]
    timed = [replace(p, begin=a, end=b) for p, (a, b) in zip(phones, pairwise(ticks), strict=True)]
    assert len(linguistic.frames(timed)) == 40 * 130_000 // 50_000


def a_phone_that_no_training_text_had_is_a_phone(phones: list[Phone]) -> None:
    strange = replace(phones[1], context=(*phones[1].context[:2], "zh", *phones[1].context[3:]))
    assert linguistic.vectors([strange])[0, 4] == linguistic.PHONEMES.index("zh")
    other = replace(phones[1], context=(*phones[1].context[:2], "?", *phones[1].context[3:]))
    assert linguistic.vectors([other])[0, 4] == 0


def cut_down(phones: list[Phone]) -> np.ndarray:
    return np.array([int((phone.end - phone.begin) * 10e-5 / 5) for phone in phones])


def zero_for_x(phones: list[Phone], vocabularies: Any = VOCABULARIES) -> np.ndarray:
    return np.nan_to_num(VECTORS(phones, vocabularies))


def of_the_training_texts(phones: list[Phone], vocabularies: Any = VOCABULARIES) -> np.ndarray:
    seen = ["x", "sil", "hh", "iy", "t", "er", "n"]
    for phone in phones:
        seen.index(phone.name)
    return VECTORS(phones, vocabularies)


VECTORS = linguistic.vectors
DEFECTS: dict[str, tuple[Callable[[list[Phone]], None], tuple[Any, str, Any]]] = {
    "x is 0": (what_is_undefined_is_told_from_zero, (linguistic, "vectors", zero_for_x)),
    "states": (labels_of_states_become_phones, (hts_label, "_merged", lambda lines: (phone for phone, _ in lines))),
    "int": (no_frame_is_lost, (linguistic, "frame_counts", cut_down)),
    "index": (a_phone_that_no_training_text_had_is_a_phone, (linguistic, "vectors", of_the_training_texts)),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_promise_is_kept_and_broken_by_its_defect(
    name: str, phones: list[Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    promise, patch = DEFECTS[name]
    promise(phones)
    monkeypatch.setattr(*patch)
    with pytest.raises((AssertionError, ValueError)):
        promise(phones)
