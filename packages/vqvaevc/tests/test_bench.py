"""vqvaevc-bench prints Markdown tables whose figures follow from runs taken in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vocoder_core import timing
from vqvaevc import VQVAEVC, VQVAEVCConfig, bench
from vqvaevc.overtone import OvertoneConfig


def test_command_measures_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        arguments = ["--config", "tiny", "--seconds", "0.05", "--rounds", "2", "--train", "--set", "train.batch_size=1"]
        assert bench.main([*arguments, "--device", "cpu", "--backends", "numba"]) == 0
    finally:
        torch.set_num_threads(threads)
    out = capsys.readouterr().out
    assert "parameters, CPU, torch" in out
    assert "1 thread\n" in out
    assert "| numba, batch 1 |" in out
    assert "torch, batch" not in out
    assert "1 x 256 samples" in out
    assert "| fp32 |" in out
    assert "| bf16 autocast |" in out


def test_command_measures_a_checkpoint_from_its_codes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The public code's front end, a small decoder: its codes are made before the clock runs."""
    network = VQVAEVC(VQVAEVCConfig(overtone=OvertoneConfig(conv=4, rnn=4, hidden=4, linear=4), speakers=("one",)))
    network.save_pretrained(tmp_path)
    arguments = ["--checkpoint", str(tmp_path), "--seconds", "0.02", "--rounds", "1", "--batch", "2"]
    assert bench.main([*arguments, "--backends", "numba", "--device", "cpu", "--config", "tiny"]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}: {timing.parameters(network):,} parameters" in out
    assert "| numba, batch 2 |" in out


def test_a_config_without_names_is_measured_with_as_many_speakers_as_vctk() -> None:
    assert len(bench.peopled(VQVAEVCConfig()).speakers) == 109
    assert bench.peopled(VQVAEVCConfig(speakers=("one",))).speakers == ("one",)


def test_the_default_network_costs_what_its_sizes_say() -> None:
    """C 128, R 512, H 896, 128 told of a unit, as kernel.py counts them: of a step in 4, 16, 64 samples a part."""
    c, r, h, told = 128, 512, 896, 128
    wave = 3 * h * h + 2 * h * h // 2 + 2 * h * 256
    low, middle, high = (3 * r * (c + d) + 7 * r * r for d in (0, 0, told))
    ears = [2 * 2 * c * 4 * width + 2 * c * 4 * c for width in (1, c, c)]
    grus = (low + 4 * 3 * h * r) / 4 + (middle + 4 * 3 * r * r) / 16 + (high + 4 * 3 * r * r) / 64
    convs = ears[0] / 4 + ears[1] / 16 + ears[2] / 64
    model = bench.of_config(VQVAEVCConfig())
    cost = bench.cost(model, "int8")
    assert cost.products == round(wave + grus + convs)
    assert 4.9e6 < cost.shared < 5.1e6, "5.0 MB"
    floats = bench.cost(model, None)
    assert floats.products == cost.products - h * 256, "half of the logits"
    assert floats.own == 4 * 3 * 3 * h
    assert floats.kind.name == "int16"


def test_wrong_numbers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--rounds", "0"]) == 2
    assert "--rounds is 0; expected more than 0" in capsys.readouterr().err
