"""Splits and crops: who is held out, and that training looks everywhere equally often."""

from __future__ import annotations

import collections
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocoder_core.corpus import CorpusConfig, crops
from vocoder_core.corpus.config import split_of
from vocoder_core.layouts import Utterance


def many(count: int, split: str | None = None) -> list[Utterance]:
    return [Utterance(f"u{i}", f"p{i % 7}", Path(f"u{i}.wav"), None, split) for i in range(count)]


def test_shares_come_out_as_asked():
    """20,000 recordings, 5 % valid and 10 % test: within four standard deviations."""
    splits = split_of(many(20_000), CorpusConfig(valid_fraction=0.05, test_fraction=0.1))
    counts = collections.Counter(splits.values())
    assert abs(counts["valid"] - 1000) < 4 * (20_000 * 0.05 * 0.95) ** 0.5
    assert abs(counts["test"] - 2000) < 4 * (20_000 * 0.1 * 0.9) ** 0.5
    assert sum(counts.values()) == 20_000


def test_recordings_that_come_or_go_move_no_other():
    """The split of an id depends on the id and the seed, not on its neighbours or their order."""
    config = CorpusConfig(valid_fraction=0.1, test_fraction=0.1)
    all_of_them, fewer = split_of(many(3000), config), split_of(many(2000)[::-1], config)
    assert all(all_of_them[name] == split for name, split in fewer.items())
    other = split_of(many(3000), dataclasses.replace(config, seed=1))
    assert other != all_of_them
    more_valid = split_of(many(3000), dataclasses.replace(config, valid_fraction=0.2))
    assert all(more_valid[name] == "test" for name, split in all_of_them.items() if split == "test")
    assert all(more_valid[name] == "valid" for name, split in all_of_them.items() if split == "valid")


def test_a_corpus_keeps_its_own_split():
    """What the layout says stands, whatever the fractions; only recordings without a split are drawn."""
    utterances = many(50, "train") + [dataclasses.replace(u, id=u.id + "x") for u in many(50, "test")]
    utterances += [dataclasses.replace(u, id=u.id + "y") for u in many(400)]
    splits = split_of(utterances, CorpusConfig(valid_fraction=0.5, test_fraction=0.2))
    assert all(splits[u.id] == u.split for u in utterances if u.split)
    assert {splits[u.id] for u in utterances if not u.split} == {"train", "valid", "test"}


def test_held_out_speakers_are_wholly_in_test():
    splits = split_of(many(700, "train"), CorpusConfig(held_out_speakers=("p3", "p5")))
    assert {int(name[1:]) % 7 for name, split in splits.items() if split == "test"} == {3, 5}
    assert sum(split == "test" for split in splits.values()) == 200
    with pytest.raises(ValueError, match=r"held_out_speakers names 'p33' \(did you mean p3\?\), who is none of the 7"):
        split_of(many(700), CorpusConfig(held_out_speakers=("p33",)))


def speakers(count: int, split: str | None = None) -> list[Utterance]:
    return [Utterance(f"p{i}/{j}", f"p{i}", Path("a.wav"), None, split) for i in range(count) for j in range(4)]


def held_out(utterances: list[Utterance], **config: Any) -> set[str]:
    """Speakers wholly in test, by a hash of their names."""
    splits = split_of(utterances, CorpusConfig(valid_fraction=0, test_fraction=0, **config))
    tests = {u.speaker for u in utterances if splits[u.id] == "test"}
    assert all(splits[u.id] == "test" for u in utterances if u.speaker in tests), "no speaker is torn in two"
    return tests


def test_a_share_of_the_speakers_is_held_out_by_their_names():
    """A tenth of 2,000 speakers within four deviations; who comes or goes moves nobody else; a larger share adds."""
    many = held_out(speakers(2000), held_out_fraction=0.1)
    assert abs(len(many) - 200) < 4 * (2000 * 0.1 * 0.9) ** 0.5
    assert held_out(speakers(1000)[::-1], held_out_fraction=0.1) == {name for name in many if int(name[1:]) < 1000}
    assert many < held_out(speakers(2000), held_out_fraction=0.2)
    assert many != held_out(speakers(2000), held_out_fraction=0.1, seed=1)
    assert held_out(speakers(2000)) == set()


@pytest.mark.parametrize(("count", "share", "expected"), [(1, 0.9, 0), (2, 0.001, 0), (3, 0.001, 1), (3, 0.999, 2)])
def test_few_speakers_can_be_tested_and_trained_on(count: int, share: float, expected: int):
    assert len(held_out(speakers(count), held_out_fraction=share)) == expected


def test_a_corpus_that_splits_its_speakers_itself_keeps_them():
    """The share is of those for whom nothing is said; who is named is held out besides."""
    own = [dataclasses.replace(u, id="x" + u.id, speaker="x" + u.speaker) for u in speakers(40, "train")]
    tests = held_out(speakers(40) + own, held_out_fraction=0.5, held_out_speakers=("xp3",))
    assert {name for name in tests if name.startswith("x")} == {"xp3"} and 10 < len(tests) < 31


@pytest.mark.parametrize("count", [3, 5, 20])
def test_small_corpora_can_be_validated(count: int):
    """A share above zero gets at least one recording of three or more; a share of zero gets none."""
    splits = split_of(many(count), CorpusConfig(valid_fraction=0.001, test_fraction=0.001))
    assert collections.Counter(splits.values()) == {"train": count - 2, "valid": 1, "test": 1}
    assert set(split_of(many(count), CorpusConfig(valid_fraction=0, test_fraction=0)).values()) == {"train"}
    assert set(split_of(many(2), CorpusConfig()).values()) == {"train"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sample_rate": 100}, "sample_rate is 100, expected 4000 to 384000 Hz"),
        ({"hop_length": 0}, "hop_length is 0, expected 1 or more samples"),
        ({"level": "rms"}, "level is 'rms', expected loudness, peak or none"),
        ({"level": "peak"}, r"level_db is -24.0, expected -12 to 0 dB for level peak"),
        ({"level_db": 3.0}, r"level_db is 3.0, expected -60 to 0 dB for level loudness"),
        ({"min_seconds": 0.1}, r"min_seconds is 0.1, expected 0.4 or more \(or another level than loudness\)"),
        (
            {"valid_fraction": 0.6, "test_fraction": 0.4},
            r"test_fraction is 0.4, expected 0 to below 1 - valid_fraction",
        ),
        ({"held_out_fraction": 1.0}, "held_out_fraction is 1.0, expected 0 to below 1"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        CorpusConfig(**values)


# --- crops


def test_crops_are_a_pure_function_of_their_arguments():
    """The same step gives the same crops in any order of calls; another step or seed gives others."""
    lengths = np.arange(30, 90)
    first = [crops(lengths, 7, step, 16, 24) for step in range(20)]
    for step in reversed(range(20)):
        index, start = crops(lengths.tolist(), 7, step, 16, 24)
        assert np.array_equal(index, first[step][0])
        assert np.array_equal(start, first[step][1])
    assert index.dtype == start.dtype == np.int64
    drawn = {tuple(index) for index, _ in first} | {tuple(crops(lengths, 8, step, 16, 24)[0]) for step in range(20)}
    assert len(drawn) == 40


def test_crops_are_the_same_on_every_machine():
    """Positions written down: a resumed run elsewhere has to see these."""
    index, first = crops([100, 50, 25, 10], 1, 2, 8, 20)
    assert (index.tolist(), first.tolist()) == GOLDEN


GOLDEN = ([0, 0, 0, 3, 0, 0, 0, 1], [51, 42, 35, 0, 52, 8, 59, 19])


def chi_square_is_plausible(counts: np.ndarray, expected: np.ndarray) -> bool:
    """Pearson's statistic within five standard deviations of its mean: a true null fails once in a million."""
    statistic = float(((counts - expected) ** 2 / expected).sum())
    freedom = len(counts) - 1
    return abs(statistic - freedom) < 5 * (2 * freedom) ** 0.5


def test_utterances_are_drawn_by_length_and_positions_evenly():
    """Chi-square over 200,000 crops: utterances in proportion to their frames, in each every first frame that fits."""
    lengths, frames = np.array([24, 30, 100, 61, 25]), 24
    drawn = [crops(lengths, 3, step, 2000, frames) for step in range(100)]
    index, first = (np.concatenate(parts) for parts in zip(*drawn))
    total = len(index)
    assert chi_square_is_plausible(np.bincount(index, minlength=5), total * lengths / lengths.sum())
    for utterance, length in enumerate(lengths):
        starts = np.bincount(first[index == utterance], minlength=length - frames + 1)
        assert len(starts) == length - frames + 1  # never beyond the last frame that fits, and that one is reached
        if len(starts) > 1:
            assert chi_square_is_plausible(starts, np.full(len(starts), starts.sum() / len(starts)))


def test_short_utterances_are_drawn_as_often_as_their_length_says():
    """Shorter than a crop: from frame 0, in proportion to the length, so short prompts are not lost; empty: never."""
    lengths = np.array([10, 0, 200, 30])
    index, first = crops(lengths, 0, 0, 100_000, 50)
    counts = np.bincount(index, minlength=4)
    assert counts[1] == 0
    assert chi_square_is_plausible(counts[[0, 2, 3]], 100_000 * lengths[[0, 2, 3]] / 240)
    assert not first[index != 2].any()
    assert first[index == 2].max() == 150


def test_crops_name_what_is_wrong():
    for lengths in ([], [0, 0], [[1, 2]]):
        with pytest.raises(ValueError, match="crops need utterances with frames"):
            crops(lengths, 0, 0, 1, 1)
    for wrong in ((-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, 0)):
        with pytest.raises(ValueError, match="crops got seed"):
            crops([10], *wrong)
