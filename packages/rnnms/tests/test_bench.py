"""rnnms-bench prints a Markdown table whose figures follow from runs taken in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rnnms import bench
from rnnms.model import RNNMS, RNNMSConfig
from vocoder_core import timing


def test_table_shows_median_range_and_both_ways_to_state_speed() -> None:
    table = timing.samples_table({"numba": [8000.0, 4000.0, 1000.0]}, 16000)
    assert table.splitlines()[-1] == "| numba | 4,000 (1,000 - 8,000) | 0.25 | 4 |"


def test_command_measures_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        arguments = ["--config", "tiny", "--seconds", "0.05", "--rounds", "2", "--train", "--set", "train.batch_size=2"]
        assert bench.main([*arguments, "--device", "cpu"]) == 0
    finally:
        torch.set_num_threads(threads)
    out = capsys.readouterr().out
    assert "parameters, CPU, torch" in out
    assert "1 thread\n" in out
    assert "| numba, batch 1 |" in out
    assert "| torch, batch 1 |" in out
    assert "2 x 400 samples" in out
    assert "| fp32 |" in out


def test_command_measures_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = RNNMS(RNNMSConfig(bits=6, encoder_size=4, embedding_size=4, hidden_size=8, linear_size=8))
    network.save_pretrained(tmp_path)
    arguments = ["--checkpoint", str(tmp_path), "--seconds", "0.02", "--rounds", "1", "--backends", "torch"]
    assert bench.main([*arguments, "--device", "cpu"]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}: {timing.parameters(network):,} parameters" in out
    assert "numba" not in out


def test_wrong_numbers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--rounds", "0"]) == 2
    assert "--rounds is 0; expected more than 0" in capsys.readouterr().err
