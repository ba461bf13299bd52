"""specgrad-bench prints Markdown tables whose figures follow from runs taken in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from specgrad import bench
from specgrad.model import SpecGrad
from specgrad.settings import Settings
from vocoder_core import config, timing


@pytest.fixture(autouse=True)
def _threads() -> object:
    """The command sets torch's threads; the next test finds them as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_table_says_seconds_of_computing_per_second_of_audio() -> None:
    table = bench.synthesis_table({(4, 2): [50.0, 25.0, 20.0]})
    assert table.splitlines()[-1] == "| 4 | 2 | 0.04 (0.02 - 0.05) | 25 |"


def test_runs_return_the_audio_they_made() -> None:
    model = SpecGrad(tiny().model).eval()
    seconds = 10 * model.config.mel.hop_length / model.sample_rate
    assert bench.synthesis(model, 1, 2, seconds, 1)() == pytest.approx(2 * seconds)
    settings = tiny("train.batch_size=2", "crop.frames=8")
    assert bench.training(model, settings, 1)() == pytest.approx(2 * 0.8 * seconds)


def test_a_training_run_trains() -> None:
    """Timing a step that changes nothing would time nothing."""
    model = SpecGrad(tiny().model)
    before = [parameter.clone() for parameter in model.parameters()]
    bench.training(model, tiny("train.batch_size=1", "crop.frames=8"), 1)
    assert any((old != new).any() for old, new in zip(before, model.parameters()))


def test_command_measures_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--seconds", "0.1", "--rounds", "2", "--steps", "1", "3", "--threads", "1", "2"]
    train = ["--train", "--set", "train.batch_size=2", "--set", "crop.frames=8"]
    assert bench.main(["--config", "tiny", "--device", "cpu", *short, *train]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "parameters, CPU, torch" in lines[0]
    rows = [line.split(" | ")[:2] for line in lines if line.startswith(("| 1 |", "| 3 |")) and line.count("|") == 5]
    assert rows == [["| 1", "1"], ["| 3", "1"], ["| 1", "2"], ["| 3", "2"]]
    assert any(line.startswith("Training step") and "2 x " in line for line in lines)


def test_command_measures_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = SpecGrad(tiny().model)
    network.save_pretrained(tmp_path)
    short = ["--seconds", "0.1", "--rounds", "1", "--steps", "1", "--threads", "1"]
    assert bench.main(["--checkpoint", str(tmp_path), "--device", "cpu", *short]) == 0
    assert f"{tmp_path}: {timing.parameters(network):,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--steps", "2", "0"], ["--seconds", "nan"]])
def test_wrong_numbers_are_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(wrong) == 2
    assert f"{wrong[0]} is" in capsys.readouterr().err


def tiny(*overrides: str) -> Settings:
    """The built-in config of that name, with overrides."""
    from vocoder_core.cli import config_path

    return config.load(Settings, config_path("tiny", "specgrad"), overrides)
