"""Which chunk of which utterance each slot of a batch hears at each step: whole utterances, one after another.

B slots; each holds one utterance, hears it chunk by chunk from its first frame to its last, then takes the next. The
tiers' states travel with the slot.

    slot 0   |utterance 3 ......|utterance 0 ....|utterance 5 .|      |  every frame of every utterance once an epoch;
    slot 1   |utterance 1 ..|utterance 4 .............|utterance 2 ....|  a slot for which nothing is left is empty
    reset    1  0  0  0  0  1 0                   1 0 0  2               1 begins, 0 goes on, 2 empty

A plan is a pure function of (lengths, slots, chunk, seed, epoch), and so is the row of any step: its length is exact, a
resumed run finds itself in the middle of an epoch, and no two epochs have one order. The longest of the last utterances
begin first, so that few slots are empty at the end. The public loader never ended: when it had nothing left it gave
empty batches, whose loss is the mean of nothing, NaN; and its length counted utterances where it gave chunks.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

GOES_ON, BEGINS, EMPTY = 0, 1, 2
LAST = 4  # utterances a slot that are sorted at an epoch's end


@dataclass(frozen=True)
class Row:
    """A step: of each slot, which utterance (B,), the chunk's first frame (B,), and whether it begins (B,)."""

    utterance: np.ndarray
    frame: np.ndarray
    reset: np.ndarray


class Epoch:
    """The plan of one epoch; `len()` steps. `row(i)` is step i."""

    def __init__(self, frames: Sequence[int] | np.ndarray, slots: int, chunk: int, seed: int, epoch: int) -> None:
        """frames (U,): lengths of utterances. Raises ValueError without any, or for one without a frame."""
        lengths = np.asarray(frames)
        if slots < 1 or chunk < 1 or not len(lengths) or lengths.min() < 1:
            raise ValueError(
                f"an epoch of {len(lengths)} utterances, {slots} slots, chunks of {chunk} frames; expected 1 or more "
                "of each, and utterances of at least a frame"
            )
        order = np.random.default_rng((seed, epoch)).permutation(len(lengths))
        last = order[max(0, len(order) - LAST * slots) :]
        order[len(order) - len(last) :] = last[np.argsort(-lengths[last], kind="stable")]
        chunks = -(-lengths // chunk)
        self.chunk, self.slots = chunk, slots
        self.begins: list[list[int]] = [[] for _ in range(slots)]  # steps at which a slot takes an utterance,
        self.taken: list[list[int]] = [[] for _ in range(slots)]  # and which
        free = [(0, slot) for slot in range(slots)]
        for utterance in order.tolist():
            step, slot = heapq.heappop(free)
            self.begins[slot].append(step)
            self.taken[slot].append(utterance)
            heapq.heappush(free, (step + int(chunks[utterance]), slot))
        self.ends = [0] * slots
        for step, slot in free:
            self.ends[slot] = step

    def __len__(self) -> int:
        """Steps until every slot is empty."""
        return max(self.ends)

    def row(self, step: int) -> Row:
        """What each slot hears at a step, 0 ... len - 1."""
        utterance, frame = np.full(self.slots, -1), np.zeros(self.slots, np.int64)
        reset = np.full(self.slots, EMPTY)
        for slot in range(self.slots):
            if step < self.ends[slot]:
                place = int(np.searchsorted(self.begins[slot], step, side="right")) - 1
                since = step - self.begins[slot][place]
                utterance[slot], frame[slot] = self.taken[slot][place], since * self.chunk
                reset[slot] = GOES_ON if since else BEGINS
        return Row(utterance, frame, reset)


class Epochs:
    """Epoch after epoch. `row(step)`: the row of training step 1, 2, ..."""

    def __init__(self, frames: Sequence[int] | np.ndarray, slots: int, chunk: int, seed: int) -> None:
        self.frames, self.slots, self.chunk, self.seed = np.asarray(frames), slots, chunk, seed
        self.firsts = [0]  # steps before each epoch whose length is known
        self.number, self.epoch = 0, self._plan(0)
        self.firsts.append(len(self.epoch))

    def row(self, step: int) -> Row:
        """See the class."""
        number, at = self.place(step)
        if number != self.number:
            self.number, self.epoch = number, self._plan(number)
        return self.epoch.row(at)

    def place(self, step: int) -> tuple[int, int]:
        """(epoch, step within it) of training step 1, 2, ..."""
        while self.firsts[-1] < step:
            self.number = len(self.firsts) - 1
            self.epoch = self._plan(self.number)
            self.firsts.append(self.firsts[-1] + len(self.epoch))
        number = int(np.searchsorted(self.firsts, step, side="left")) - 1
        return number, step - 1 - self.firsts[number]

    def _plan(self, number: int) -> Epoch:
        return Epoch(self.frames, self.slots, self.chunk, self.seed, number)
