"""rnnms-bench prints a Markdown table whose figures follow from runs taken in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rnnms import bench
from rnnms.model import RNNMS, RNNMSConfig
from rnnms.packed import Packed
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


def test_the_default_network_costs_what_the_paper_s_sizes_say() -> None:
    """H = 896, L = Q = 1024: three gates, a hidden layer, classes; a byte a weight, or four."""
    gates, linear, classes = 3 * 896 * 896, 1024 * 896, 1024 * 1024
    decoder = RNNMS(RNNMSConfig()).decoder
    cost = Packed(decoder, 8, "int8").cost()
    assert cost[:3] == (4_374_528, 4 * 3 * 896, gates + linear + classes) == (4_374_528, 10_752, 4_374_528)
    assert Packed(decoder, 1, "int16").cost().shared == 2 * cost.shared
    assert Packed(decoder, 1).cost()[:3] == (15_400_960, 10_752, gates + linear + classes // 2)


def test_speeds_of_kernels_have_their_costs_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    model = RNNMS(RNNMSConfig(bits=6, encoder_size=4, embedding_size=4, hidden_size=8, linear_size=8))
    monkeypatch.setattr("vocoder_core.recurrent.arithmetic.reading", lambda *_: 1e9)
    table = bench.speed_table(model, {"a": ("int8", 2), "b": ("torch", 1)}, {"a": [8.0], "b": [4.0], "c": [2.0]})
    head, _, *rows = (line.split(" | ") for line in table.splitlines())
    assert "products a sample" in head
    assert [row[-1] for row in rows[1:]] == ["- |", "- |"]
    assert rows[0][-3] == f"{Packed(model.decoder, 2, 'int8').cost().products:,}"
    assert "products" not in bench.speed_table(model, {"b": ("torch", 1)}, {"b": [4.0]})
