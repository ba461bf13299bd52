"""Speakers: name, number and vector mean one voice, whatever they are the voice of; errors say what was expected."""

from __future__ import annotations

import pytest
import torch

from vocoder_core.speakers import Speakers, numbers, vectors

NAMES = ("anna", "boris", "clara")


def known() -> Speakers:
    torch.manual_seed(0)
    return Speakers(NAMES, 4)


@pytest.mark.parametrize("rows", [torch.zeros(2, 80, 5), torch.zeros(2, 7, dtype=torch.int64)], ids=["mels", "codes"])
def test_name_number_and_vector_mean_one_voice(rows: torch.Tensor) -> None:
    table = known()
    own = table.table.weight.detach()[[2, 0]]
    for who in (["clara", "anna"], torch.tensor([2, 0]), own):
        told = vectors(who, 4, table, rows)
        assert told is not None and told.dtype == torch.float32 and torch.equal(told, own)
    told = vectors("boris", 4, table, rows)
    assert told is not None and torch.equal(told, table.table.weight[[1, 1]])


def test_vectors_take_the_type_of_floating_point_rows() -> None:
    told = vectors(torch.zeros(2, 4), 4, None, torch.zeros(2, 80, 5, dtype=torch.float64))
    assert told is not None and told.dtype == torch.float64


def test_a_stranger_gets_the_mean_of_all() -> None:
    table = known()
    assert torch.equal(table.vector("boris"), table.table.weight[1])
    assert torch.equal(table.vector("dora"), table.table.weight.mean(0))


def test_numbers_are_places_in_the_list() -> None:
    assert numbers(["clara", "anna", "clara"], NAMES).tolist() == [2, 0, 2]


@pytest.mark.parametrize(
    ("who", "size", "message"),
    [
        (None, 4, "got no speaker; expected a vector of 4 for each row, or one of anna, boris, clara"),
        ("claro", 4, r"'claro' is none of the model's 3 speakers \(did you mean clara\?\)"),
        ("xyz", 4, "known: anna, boris, clara"),
        (["anna"], 4, r"of shape \(1,\) for 2 rows"),
        (torch.tensor([0, 3]), 4, "expected a vector of 4"),
        (torch.zeros(2, 5), 4, r"of shape \(2, 5\) for 2 rows"),
        ("anna", 0, "got a speaker; expected none"),
    ],
)
def test_who_does_not_fit_is_refused_in_a_sentence(who: object, size: int, message: str) -> None:
    table = known() if size else None
    with pytest.raises(ValueError, match=message):
        vectors(who, size, table, torch.zeros(2, 80, 5))  # type: ignore[arg-type]


def test_a_model_without_speakers_needs_none() -> None:
    assert vectors(None, 0, None, torch.zeros(2, 80, 5)) is None
