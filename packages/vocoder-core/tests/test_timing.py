"""Runs are timed in turn, and their figures are medians with their range."""

from __future__ import annotations

import pytest
import torch

from vocoder_core import timing
from vocoder_core.mel_presets import PRESETS


def test_runs_take_turns() -> None:
    order = []
    runs = {name: lambda name=name: order.append(name) or 5 for name in "ab"}
    rates = timing.in_turn(runs, 3)
    assert "".join(order) == "ababab"
    assert {name: len(values) for name, values in rates.items()} == {"a": 3, "b": 3}


@pytest.mark.parametrize("cpu_time", [False, True])
def test_rates_are_work_over_seconds_of_the_chosen_clock(monkeypatch: pytest.MonkeyPatch, cpu_time: bool) -> None:
    ticks = {"perf_counter": iter([0.0, 2.0, 2.0, 6.0]), "process_time": iter([0.0, 0.5, 0.5, 0.75])}
    for name, values in ticks.items():
        monkeypatch.setattr(timing.time, name, lambda values=values: next(values))
    rates = timing.in_turn({"a": lambda: 8, "b": lambda: 8.0}, 1, cpu_time)
    assert rates == ({"a": [16.0], "b": [32.0]} if cpu_time else {"a": [4.0], "b": [2.0]})


def test_a_ratio_is_taken_round_by_round() -> None:
    """A slow round of both is no slow ratio."""
    assert timing.ratio([10.0, 1.0, 30.0], [5.0, 0.5, 10.0]) == "2 (2 - 3)"
    assert timing.ratio([10.0, 12345.0], [5.0, 1.0]) == "6,174 (2 - 12,345)"


def test_spread_and_parameters() -> None:
    assert timing.spread([8000.0, 4000.4, 1000.0]) == "4,000 (1,000 - 8,000)"
    assert timing.parameters(torch.nn.Linear(3, 2)) == 8
    assert timing.machine(torch.device("cpu")).startswith("CPU, torch ")


def test_rates_are_told_as_seconds_of_computing_per_second_of_audio() -> None:
    assert timing.rtf([50.0, 25.0, 20.0]) == "0.04 (0.02 - 0.05)"


def test_the_training_table_says_steps_and_audio_a_second() -> None:
    assert timing.training_table({1: [6.0, 3.0, 9.0]}, 1.5).splitlines()[-1] == "| 1 | 4 | 6 (3 - 9) |"


def test_the_mel_that_is_timed_is_of_the_dialect_asked_for() -> None:
    mel = timing.mel_of_noise(PRESETS["asr16"], 2, 7)
    assert mel.shape == (2, 80, 7)
    assert mel.isfinite().all()
