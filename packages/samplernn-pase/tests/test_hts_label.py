"""HTS labels: real ones of phones and of states are read alike, written as they were, and what is none is named."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from samplernn_pase import hts_label
from samplernn_pase.hts_label import FIELDS, Phone


@pytest.fixture
def lines(shared_audio: Path) -> list[str]:
    return (shared_audio / "slt" / "arctic_a0009.lab").read_text().splitlines()


def test_a_real_label_is_read_field_by_field_and_written_as_it_was(shared_audio: Path, tmp_path: Path) -> None:
    path = shared_audio / "slt" / "arctic_a0009.lab"
    phones = hts_label.read(path)
    assert len(phones) == 40
    assert len(FIELDS) == 53
    fields = dict(zip(FIELDS, phones[1].context, strict=True))
    expected = {"p1": "x", "p2": "sil", "p3": "hh", "p4": "iy", "p5": "t", "p6": "1", "p7": "2", "a3": "0", "b3": "2"}
    expected |= {"b11": "4", "b16": "iy", "c3": "4", "d1": "0", "e1": "content", "e6": "2", "f2": "1", "h5": "L-H%"}
    assert expected.items() <= fields.items()
    assert (phones[1].begin, phones[1].end) == (1_300_000, 2_050_000)
    assert hts_label.is_timed(phones)
    hts_label.write(tmp_path / "again.lab", phones)
    assert (tmp_path / "again.lab").read_bytes() == path.read_bytes()


def test_labels_of_states_are_those_of_their_phones(golden: Path, shared_audio: Path) -> None:
    states = np.load(golden / "samplernn_labels.npz")["states"].tolist()
    assert len(states) == 5 * 40
    phones = hts_label.parse(states)
    assert phones == hts_label.read(shared_audio / "slt" / "arctic_a0009.lab")


def test_two_phones_with_one_context_stay_two() -> None:
    context = hts_label.parse([label("x", "aa")])[0].context
    states = [f"{i * 100} {(i + 1) * 100} {Phone(context)}[{2 + i % 5}]" for i in range(10)]
    assert [(phone.begin, phone.end) for phone in hts_label.parse(states)] == [(0, 500), (500, 1000)]


def test_labels_without_times_are_read_too(lines: list[str]) -> None:
    phones = hts_label.parse([line.split()[2] for line in lines])
    assert not hts_label.is_timed(phones)
    assert [phone.context for phone in phones] == [phone.context for phone in hts_label.parse(lines)]


def label(p2: str = "x", p3: str = "aa", times: str = "") -> str:
    values = dict.fromkeys(FIELDS, "x") | {"p2": p2, "p3": p3}
    return times + str(Phone(tuple(values[name] for name in FIELDS)))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (["0 5 " + label(), "5 9 no label"], r":2: 'no label' is no HTS|:2: '5 9 no label' is no HTS"),
        (["0 5 " + label(), "6 9 " + label()], r":2: the times are 6 and 9; expected a begin of 5"),
        (["0 5 " + label(), "5 5 " + label()], r":2: the times are 5 and 5"),
        (["3 5 " + label()], r":1: the times are 3 and 5; expected a begin of 0"),
        (["0 5.5 " + label()], r":1: the time is '5.5'; expected a whole number"),
        (["0 5 " + label(), label()], r":2: some lines have times and some have none"),
        ([label(), "0 5 " + label()], r":2: some lines have times and some have none"),
        ([""], r": holds no label"),
    ],
)
def test_what_is_no_label_is_named_by_file_and_line(tmp_path: Path, bad: list[str], told: str) -> None:
    path = tmp_path / "bad.lab"
    path.write_text("\n".join(bad))
    with pytest.raises(ValueError, match=r"bad\.lab" + f"(?:{told})"):
        hts_label.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.lab: no such file"):
        hts_label.read(tmp_path / "none.lab")


def test_a_line_of_separators_costs_no_time() -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match="no HTS"):
        hts_label.parse(["0 5 " + "^-+=@_/A:" * 2000])
    assert time.perf_counter() - began < 1
