"""Bootstrap intervals against scipy and normal theory; what `score` refuses; the tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from vocoder_core.metrics import bootstrap, markdown, score, select, summarise, write_csv, write_json

RATE = 16_000


@pytest.fixture
def hiss() -> np.ndarray:
    return 0.1 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)


def test_interval_agrees_with_scipys_bootstrap() -> None:
    from scipy.stats import bootstrap as theirs

    values = np.random.default_rng(3).gamma(2.0, size=40)
    expected = theirs((values,), np.mean, n_resamples=20_000, method="percentile", rng=1).confidence_interval
    low, high = bootstrap.interval(values)
    assert (low, high) == pytest.approx(tuple(expected), abs=0.1 * (expected.high - expected.low))


def test_interval_of_many_clips_is_that_of_normal_theory() -> None:
    values = np.random.default_rng(4).normal(size=400)
    low, high = bootstrap.interval(values)
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    """Of 200 samples of 30 clips with mean 0, 90 to 98 % of the 95 % intervals contain 0."""
    rng = np.random.default_rng(5)
    intervals = [bootstrap.interval(rng.normal(size=30), seed=i) for i in range(200)]
    assert 0.90 <= np.mean([low <= 0 <= high for low, high in intervals]) <= 0.98


def test_drawing_in_blocks_changes_the_interval_by_chance_only(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(6).normal(size=50)
    whole = bootstrap.interval(values)
    monkeypatch.setattr(bootstrap, "BLOCK", 50 * 300)
    assert bootstrap.interval(values) == whole


def test_summary_leaves_nan_out_counts_and_repeats() -> None:
    rows = [{"a": 1.0, "b": 2.0}, {"a": 3.0, "b": float("nan")}, {"a": 5.0}]
    got = summarise(rows)
    assert got["a"][0] == 3
    assert got["a"][1] < 3 < got["a"][2]
    assert got["a"][3] == 3
    assert got["b"][0] == 2
    assert np.isnan(got["b"][1])
    assert got["b"][3] == 1
    assert repr(got) == repr(summarise(rows))


def test_waves_that_are_no_pair_are_refused_with_a_sentence(hiss: np.ndarray) -> None:
    with pytest.raises(ValueError, match="more than 10 % apart"):
        score(hiss, hiss[: int(0.89 * RATE)], RATE, ["lsd"])
    with pytest.raises(ValueError, match=r"need at least 0\.2 s"):
        score(hiss[:1000], hiss[:1000], RATE, ["lsd"])
    with pytest.raises(ValueError, match=r"shape \(1, 16000\)"):
        score(hiss, hiss[None], RATE, ["lsd"])
    with pytest.raises(ValueError, match="NaN"):
        score(hiss, np.where(np.arange(RATE) == 9, np.nan, hiss), RATE, ["lsd"])


def test_a_tail_within_ten_percent_is_cropped(hiss: np.ndarray) -> None:
    assert score(hiss, hiss[:-1500], RATE, ["lsd"])["lsd"] == 0


def test_unknown_names_meet_a_suggestion(hiss: np.ndarray) -> None:
    with pytest.raises(ValueError, match="did you mean mr_stft"):
        score(hiss, hiss, RATE, ["mr-stft"])


def test_a_score_without_its_package_says_how_to_install_it(hiss: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pesq" else real(name, *a))
    assert "pesq" in select(None)[1]
    assert "pesq" not in [item.name for item in select(None)[0]]
    with pytest.raises(ValueError, match=r"vocoder-core\[eval\]"):
        score(hiss, hiss, RATE, ["pesq"])


def test_groups_name_their_scores() -> None:
    chosen, missing = select(["core"])
    assert [item.name for item in chosen] == ["mr_stft", "log_mel_mae", "lsd", "mcd"]
    assert not missing


def test_markdown_shows_mean_interval_and_direction() -> None:
    table = markdown({"voice": {"mcd": (4.0, 3.5, 4.5, 7)}, "other": {"pesq": (2.0, float("nan"), float("nan"), 1)}})
    assert "| MCD (dB) ↓ | 7 | 4.00 [3.50, 4.50] | – |" in table
    assert "| PESQ-WB (MOS) ↑ | 1 | – | 2.00 |" in table


def test_csv_and_json_keep_every_digit_and_mark_what_is_missing(tmp_path: Path) -> None:
    rows = [{"clip": "a,b", "mcd": 1 / 3}, {"clip": "c", "mcd": float("nan"), "pesq": 2.0}]
    write_csv(tmp_path / "t.csv", rows)
    write_json(tmp_path / "t.json", {"clips": rows})
    read = list(csv.DictReader((tmp_path / "t.csv").open(encoding="utf-8")))
    assert read[0]["clip"] == "a,b"
    assert float(read[0]["mcd"]) == 1 / 3
    assert (read[1]["mcd"], read[0]["pesq"]) == ("", "")
    assert json.loads((tmp_path / "t.json").read_text())["clips"][1]["mcd"] is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.json"]
