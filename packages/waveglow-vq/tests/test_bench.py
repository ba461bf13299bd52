"""waveglow-vq-bench prints Markdown tables whose figures follow from runs taken in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vocoder_core import config, timing
from vocoder_core.cli import config_path
from waveglow_vq import WaveGlowVQ, bench
from waveglow_vq.settings import Settings

CODES = ("model.condition.source=codes", "model.condition.channels=16", "model.speaker_size=4")


@pytest.fixture(autouse=True)
def _threads() -> object:
    """The command sets torch's threads; the next test finds them as they were."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_table_says_seconds_of_computing_per_second_of_audio() -> None:
    table = bench.synthesis_table({("bf16", 2): [50.0, 25.0, 20.0]})
    assert table.splitlines()[-1] == "| bf16 | 2 | 0.04 (0.02 - 0.05) | 25 |"


@pytest.mark.parametrize("overrides", [(), CODES])
def test_runs_return_the_audio_they_made(overrides: tuple[str, ...]) -> None:
    settings = tiny("train.batch_size=2", "crop.frames=8", *overrides)
    model = WaveGlowVQ(settings.model).eval()
    seconds = 10 * model.config.mel.hop_length / model.sample_rate
    assert bench.synthesis(model, 2, seconds)() == pytest.approx(2 * seconds)
    assert bench.training(model, settings)() == pytest.approx(2 * 0.8 * seconds)


def test_a_training_run_trains() -> None:
    """Timing a step that changes nothing would time nothing."""
    settings = tiny("train.batch_size=1", "crop.frames=8")
    model = WaveGlowVQ(settings.model)
    before = [parameter.clone() for parameter in model.parameters()]
    bench.training(model, settings)
    assert any((old != new).any() for old, new in zip(before, model.parameters()))


def test_command_measures_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--seconds", "0.1", "--rounds", "2", "--precision", "fp32", "bf16", "--threads", "1"]
    train = ["--train", "--set", "train.batch_size=2", "--set", "crop.frames=8"]
    assert bench.main(["--config", "tiny", "--device", "cpu", *short, *train]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "parameters, CPU, torch" in lines[0]
    rows = [line.split(" | ")[:2] for line in lines if line.startswith(("| fp32 |", "| bf16 |"))]
    assert rows == [["| fp32", "1"], ["| bf16", "1"]]
    assert any(line.startswith("Training step") and "2 x " in line for line in lines)
    assert any(line.startswith("| bf16, 1 |") for line in lines)


def test_command_measures_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = WaveGlowVQ(tiny().model)
    network.save_pretrained(tmp_path)
    short = ["--seconds", "0.1", "--rounds", "1", "--threads", "1"]
    assert bench.main(["--checkpoint", str(tmp_path), "--device", "cpu", *short]) == 0
    assert f"{tmp_path}: {timing.parameters(network):,} parameters" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["--rounds", "0"], ["--threads", "2", "0"], ["--seconds", "nan"]])
def test_wrong_numbers_are_named(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(wrong) == 2
    assert f"{wrong[0]} is" in capsys.readouterr().err


def tiny(*overrides: str) -> Settings:
    """The built-in config of that name, with overrides."""
    return config.load(Settings, config_path("tiny", "waveglow_vq"), overrides)
