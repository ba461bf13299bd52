"""Statistics of content: numpy over all frames at once, hostile data, what training may not hear, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from samplernn_pase import statistics
from samplernn_pase.statistics import STILL, Statistics, Sums, collect, of_recording

ALL = range(4)


def speech(seed: int, frames: int = 500) -> np.ndarray:
    """Content (F, 4): of unit size, large, tiny, and far from 0."""
    return np.random.default_rng(seed).normal(size=(frames, 4)) * [1, 1000, 1e-3, 1] + [0, 10, 0, 1e4]


def test_it_is_numpys_over_all_frames() -> None:
    """In pieces of all lengths, by speaker and of all; the float64 sum of squares of field 3 would lose 8 digits."""
    pieces = [("anna", speech(0, 1)), ("bob", speech(1, 700)), ("anna", speech(2, 333)), ("bob", speech(3, 40))]
    seen = collect(pieces, ALL)
    for name, moments in (*seen.speakers.items(), (None, seen.everybody)):
        frames = np.concatenate([rows for speaker, rows in pieces if name in (speaker, None)])
        np.testing.assert_allclose(moments.mean, frames.mean(0), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(moments.std, frames.std(0), rtol=1e-9)
        assert moments.still == ()
    z = seen.of("anna").z(np.concatenate([pieces[0][1], pieces[2][1]]))
    np.testing.assert_allclose([z.mean(0), z.std(0)], [[0] * 4, [1] * 4], atol=1e-5)
    assert seen.of("nobody") is seen.everybody


def test_half_precision_content_is_added_up_in_double() -> None:
    """mel80 lies in float16, whose sums overflow at 65,504."""
    rows = np.repeat(-11.5 + np.arange(100_000)[:, None] % 2, 4, axis=1).astype(np.float16)
    seen = collect([("anna", rows)], ALL)
    np.testing.assert_allclose([seen.everybody.mean, seen.everybody.std], [[-11.0] * 4, [0.5] * 4], rtol=1e-6)


def test_undefined_numbers_count_for_nothing() -> None:
    rows = speech(0)
    rows[::3, 1] = np.nan
    seen = collect([("anna", rows), ("anna", np.full((70, 4), np.nan))], ALL)
    np.testing.assert_allclose(seen.of("anna").mean, np.nanmean(rows, axis=0))
    np.testing.assert_allclose(seen.of("anna").std, np.nanstd(rows, axis=0))


# ---- hostile data: the original's answer to each of these was 0/0, 1/0 or a collapsed pitch


def world(lf0: np.ndarray) -> np.ndarray:
    """Content whose field 1 is a pitch."""
    rows = speech(0, len(lf0))
    rows[:, 1] = lf0
    return rows


def test_a_recording_without_a_voice_moves_no_pitch() -> None:
    """With -1e10 in its place, the two recordings of this speaker became the constants -1 and 1."""
    voiced = world(5 + 0.2 * np.random.default_rng(0).normal(size=400))
    seen = collect([("anna", voiced), ("anna", world(np.full(400, np.nan)))], ALL).of("anna")
    assert abs(seen.mean[1] - 5) < 0.05 and abs(seen.std[1] - 0.2) < 0.02
    assert np.nanmax(np.abs(seen.z(voiced)[:, 1])) < 5 and np.ptp(seen.z(voiced)[:, 1]) > 3


def test_who_is_never_voiced_has_everybodys_pitch() -> None:
    seen = collect([("anna", world(np.linspace(4, 6, 300))), ("whisperer", world(np.full(300, np.nan)))], ALL)
    assert seen.of("whisperer").mean[1] == seen.everybody.mean[1] == pytest.approx(5)
    assert seen.of("whisperer").std[1] == seen.everybody.std[1] and seen.of("whisperer").still == ()
    nobody = collect([("whisperer", world(np.full(300, np.nan)))], ALL).everybody
    assert (nobody.mean[1], nobody.std[1], nobody.still) == (0, STILL, (1,))


@pytest.mark.parametrize("value", [0.0, 3.0, -1e4, 1e-8, 0.1])
def test_a_field_that_does_not_move_is_0_and_listed(value: float) -> None:
    """The original divided by its std, 0. Neither it nor a test recording where it does move gets out of hand."""
    rows = speech(0)
    rows[:, 2] = value
    seen = collect([("anna", rows)], ALL)
    for moments in (seen.everybody, seen.of("anna")):
        assert moments.still == (2,) and moments.std[2] == STILL
        assert np.abs(moments.z(rows)[:, 2]).max() < 1e-20 and np.isfinite(moments.z(rows)).all()
        assert np.abs(moments.z(rows + 5)[:, 2]).max() < 1e-6
    single = np.float32(rows), np.float32(seen.everybody.mean), np.float32(seen.everybody.std)
    assert np.abs((single[0] - single[1]) / single[2])[:, 2].max() < 1e-20, "in the model's float32, too"


def test_what_single_precision_makes_of_a_large_number_is_no_movement() -> None:
    """A duration of 0.1 s is 1,000,000 units of a label."""
    rows = speech(0)
    rows[:, 2] = 1e6 + np.random.default_rng(0).uniform(-0.05, 0.05, len(rows))
    assert collect([("anna", rows)], ALL).everybody.still == (2,)


def test_a_speaker_whose_field_hardly_moves_is_not_divided_by_next_to_nothing() -> None:
    """One utterance: the number of its words is the same in all its frames, other speakers' differ."""
    one, other = speech(0), speech(1)
    one[:, 0] = 7 + 1e-4 * np.random.default_rng(0).normal(size=len(one))
    seen = collect([("one", one), ("other", other)], ALL)
    assert seen.of("one").still == (0,) and not np.abs(seen.of("one").z(one)[:, 0]).max() > 1e-6
    assert seen.of("other").still == seen.everybody.still == ()


def test_a_rare_binary_field_keeps_its_own_size() -> None:
    """One frame in 1,400: z = 37 there, which content.py cuts off at 8; not infinite, and not taken for constant."""
    rows = speech(0, 1400)
    rows[:, 0] = np.arange(1400) == 700
    seen = collect([("anna", rows)], ALL).of("anna")
    assert seen.still == () and seen.z(rows)[700, 0] == pytest.approx(np.sqrt(1399), rel=1e-5)


def test_one_frame_is_everything_there_is() -> None:
    """A speaker with a single frame has nothing that moves; everybody else is as before."""
    seen = collect([("anna", speech(0)), ("bob", speech(1, 1))], ALL)
    assert seen.of("bob").still == (0, 1, 2, 3) and not seen.of("bob").z(speech(1, 1)).any()


def test_fields_that_are_not_scored_stay_as_they_are() -> None:
    rows = speech(0)
    rows[:, 3] = 1  # a category, or voicing of somebody always voiced
    seen = collect([("anna", rows)], (0, 1))
    for moments in (seen.everybody, seen.of("anna"), of_recording(rows, (0, 1), seen.everybody)):
        assert moments.mean[2:].tolist() == [0, 0] and moments.std[2:].tolist() == [1, 1] and moments.still == ()


def test_infinite_numbers_and_nothing_at_all_are_refused() -> None:
    rows = speech(0)
    rows[3, 1] = np.inf
    with pytest.raises(ValueError, match="content of speaker 'anna' holds an infinite number"):
        collect([("anna", rows)], ALL)
    with pytest.raises(ValueError, match="no content to make statistics of; expected one training utterance"):
        collect([], ALL)


def test_a_reference_recording_gives_those_of_an_unseen_speaker() -> None:
    """What it cannot tell, a pitch where nothing is voiced, is everybody's."""
    everybody = collect([("anna", world(np.linspace(4, 6, 300)))], ALL).everybody
    reference = world(np.linspace(4.5, 5, 200))
    seen = of_recording(reference, ALL, everybody)
    np.testing.assert_allclose(seen.mean, reference.mean(0))
    np.testing.assert_allclose(seen.std, reference.std(0))
    whispered = of_recording(world(np.full(200, np.nan)), ALL, everybody)
    assert (whispered.mean[1], whispered.std[1]) == (everybody.mean[1], everybody.std[1])
    assert of_recording(np.zeros((0, 4)), ALL, everybody).mean.tolist() == everybody.mean.tolist()


def test_sums_of_nothing_change_nothing() -> None:
    one = Sums.of(speech(0))
    for both in (one + Sums.of(np.zeros((0, 4))), Sums.of(np.zeros((0, 4))) + one):
        np.testing.assert_allclose([both.count, both.mean, both.squares], [one.count, one.mean, one.squares])


# ---- files


@pytest.fixture
def made() -> Statistics:
    rows = speech(0)
    rows[:, 2] = 3
    return collect([("anna", rows), ("böb \"'", speech(1))], ALL)


def test_a_file_holds_every_bit_and_is_plain_json(tmp_path: Path, made: Statistics) -> None:
    statistics.write(tmp_path / "s.json", made, split="train")
    read = statistics.read(tmp_path / "s.json", 4)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]
    assert read.speakers.keys() == made.speakers.keys()
    for one, other in ((read.everybody, made.everybody), *((read.of(name), made.of(name)) for name in made.speakers)):
        assert np.array_equal(one.mean, other.mean) and np.array_equal(one.std, other.std) and one.still == other.still

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    plain = json.loads((tmp_path / "s.json").read_text(), parse_constant=refuse)
    assert plain["split"] == "train" and plain["global"]["std"][2] > 0 and set(plain["speakers"]) == set(made.speakers)


@pytest.mark.parametrize(
    ("key", "value"),
    [("std", [1, 1, 0, 1]), ("std", [1, 1]), ("mean", [0, 0, float("nan"), 0]), ("mean", "abc"), ("still", None)],
)
def test_a_damaged_file_is_refused(tmp_path: Path, made: Statistics, key: str, value: object) -> None:
    """(0, 0), which the original fell back to, among others."""
    path = tmp_path / "s.json"
    statistics.write(path, made)
    plain = json.loads(path.read_text())
    plain["speakers"]["anna"][key] = value
    path.write_text(json.dumps(plain))
    with pytest.raises(ValueError, match=r"s.json: not statistics of 4 finite means and positive deviations"):
        statistics.read(path, 4)


def test_other_things_are_refused(tmp_path: Path, made: Statistics) -> None:
    path = tmp_path / "s.json"
    statistics.write(path, made)
    with pytest.raises(ValueError, match=r"not statistics of 5 finite means"):
        statistics.read(path, 5)
    for text in ("", "{", "[]", "{}", '{"global": 3, "speakers": {}}'):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"s.json: not statistics of 4"):
            statistics.read(path, 4)
    with pytest.raises(FileNotFoundError):
        statistics.read(tmp_path / "none.json", 4)
