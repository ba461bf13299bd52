"""The plan of a stateful epoch: every frame once, in order, exactly as long as it says, whenever it is asked."""

from __future__ import annotations

import numpy as np
import pytest

from samplernn_pase.sequence import BEGINS, EMPTY, GOES_ON, Epoch, Epochs

CHUNK = 13


@pytest.fixture(scope="module")
def lengths() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 400, 57)


@pytest.mark.parametrize("slots", [1, 4, 16, 100])
def test_every_frame_of_every_utterance_is_heard_once_and_in_order(lengths: np.ndarray, slots: int) -> None:
    epoch = Epoch(lengths, slots, CHUNK, seed=5, epoch=0)
    heard = [np.zeros(length, int) for length in lengths]
    expected: list[tuple[int, int] | None] = [None] * slots  # the utterance and frame that each slot has to go on with
    for step in range(len(epoch)):
        row = epoch.row(step)
        for slot in range(slots):
            which, frame, reset = int(row.utterance[slot]), int(row.frame[slot]), row.reset[slot]
            if reset == EMPTY:
                assert which == -1
                continue
            assert (reset == GOES_ON) == (expected[slot] is not None)
            assert reset in (BEGINS, GOES_ON)
            assert (which, frame) == (expected[slot] or (which, 0))
            heard[which][frame : frame + CHUNK] += 1
            expected[slot] = (which, frame + CHUNK) if frame + CHUNK < lengths[which] else None
    assert all((times == 1).all() for times in heard)
    assert expected == [None] * slots


def test_an_epoch_is_as_long_as_it_says_and_then_everybody_is_silent(lengths: np.ndarray) -> None:
    """D4, D5 of the public code: its loader never ended, and counted utterances where it gave chunks."""
    epoch = Epoch(lengths, 4, CHUNK, seed=5, epoch=0)
    chunks = int((-(-lengths // CHUNK)).sum())
    assert chunks / 4 <= len(epoch) <= 1.05 * chunks / 4
    assert (epoch.row(len(epoch) - 1).reset != EMPTY).any()
    assert (epoch.row(len(epoch)).reset == EMPTY).all()


def test_few_slots_are_empty_at_the_end() -> None:
    lengths = np.random.default_rng(1).integers(200, 2000, 400)
    epoch = Epoch(lengths, 16, CHUNK, seed=0, epoch=0)
    empty = sum(int((epoch.row(step).reset == EMPTY).sum()) for step in range(len(epoch)))
    assert empty < 0.01 * 16 * len(epoch)


def test_epochs_follow_each_other_without_a_gap_and_in_other_orders(lengths: np.ndarray) -> None:
    epochs = Epochs(lengths, 4, CHUNK, seed=3)
    first = len(Epoch(lengths, 4, CHUNK, 3, 0))
    assert epochs.place(1) == (0, 0)
    assert epochs.place(first) == (0, first - 1)
    assert epochs.place(first + 1) == (1, 0)
    assert (epochs.row(first + 1).reset == BEGINS).all()
    orders = [[Epoch(lengths, 1, CHUNK, 3, number).taken[0]] for number in range(3)]
    assert orders[0] != orders[1] != orders[2]


def test_any_step_can_be_asked_first(lengths: np.ndarray) -> None:
    """What makes resuming in the middle of an epoch exact."""
    asked = [1999, 5, 700, 3, 1200]
    in_order = Epochs(lengths, 4, CHUNK, seed=3)
    rows = {step: in_order.row(step) for step in range(1, 2000)}
    for step in asked:
        row = Epochs(lengths, 4, CHUNK, seed=3).row(step)
        for name in ("utterance", "frame", "reset"):
            assert (getattr(row, name) == getattr(rows[step], name)).all()


def test_seeds_differ(lengths: np.ndarray) -> None:
    assert Epoch(lengths, 1, CHUNK, 0, 0).taken != Epoch(lengths, 1, CHUNK, 1, 0).taken


@pytest.mark.parametrize(("frames", "slots", "chunk"), [([], 1, 1), ([3, 0], 1, 1), ([3], 0, 1), ([3], 1, 0)])
def test_what_no_epoch_can_be_made_of_is_refused(frames: list[int], slots: int, chunk: int) -> None:
    with pytest.raises(ValueError, match="expected 1 or more of each"):
        Epoch(frames, slots, chunk, 0, 0)
