"""samplernn-pase-bench prints Markdown tables whose figures follow from runs taken in turn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from samplernn_pase import SampleRNNPASE, SampleRNNPASEConfig, bench
from samplernn_pase.content import ContentConfig
from samplernn_pase.speaker import SpeakerConfig
from vocoder_core import timing

SMALL = SampleRNNPASEConfig(speaker=SpeakerConfig(provider="none", size=0), hidden_size=8, embedding_size=4)
NAMED = replace(SMALL, speaker=SpeakerConfig(provider="lookup", size=3))


@pytest.fixture(autouse=True)
def one_thread() -> object:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_command_measures_a_named_network(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--config", "tiny", "--seconds", "0.05", "--rounds", "2", "--train", "--set", "train.batch_size=1"]
    assert bench.main([*arguments, "--device", "cpu", "--backends", "numba"]) == 0
    out = capsys.readouterr().out
    assert "parameters, CPU, torch" in out and "1 thread\n" in out and "folded in" in out
    assert "| numba, batch 1 |" in out and "torch, batch" not in out
    assert "1 x 400 samples" in out
    assert "| fp32 |" in out and "| bf16 autocast |" in out


@pytest.mark.parametrize("kind", ["mel80", "world43", "linguistic"])
def test_command_measures_a_checkpoint_of_any_content(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = bench.of_config(replace(NAMED, content=ContentConfig(kind)))  # type: ignore[arg-type]
    network.save_pretrained(tmp_path)
    arguments = ["--checkpoint", str(tmp_path), "--seconds", "0.02", "--rounds", "1", "--batch", "2"]
    assert bench.main([*arguments, "--device", "cpu", "--config", "tiny"]) == 0
    out = capsys.readouterr().out
    assert f"{tmp_path}: {timing.parameters(network):,} parameters" in out
    assert "| numba, batch 2 |" in out and "| torch, batch 2 |" in out


def test_the_default_network_costs_what_its_sizes_say() -> None:
    """H 1024, Q 256, as kernel.py counts them: what steps once in 20 and in 80 samples is a part of one."""
    h, q = 1024, 256
    middle, top = (3 * h * (frame + h) + ratio * gates * h for frame, ratio, gates in ((20, 20, h), (80, 4, 3 * h)))
    model = bench.of_config(SampleRNNPASEConfig())
    cost = bench.cost(model, "int8")
    assert cost[:3] == (cost.shared, 20 * 4 * h, round(h * h + h * q + middle / 20 + top / 80))
    assert 2.7e6 < cost.shared < 2.8e6, "2.8 MB with the tables"
    floats = bench.cost(model, None)
    assert floats.products == cost.products - (h * h + h * q) // 2, "what a ReLU is before: half"


def test_a_run_returns_its_samples_and_takes_about_as_long_as_it_was_told() -> None:
    model = bench.of_config(SMALL).eval()
    run = bench.generation(model, "numba", 2, 0.2)
    made = run()
    assert made % (2 * 80) == 0
    longer = bench.generation(model, "numba", 2, 0.8)()
    assert longer > made, "four times as long, on a machine that does other things, too"


def test_a_training_step_learns() -> None:
    """It is a step as the command's, so that the weights are others after it."""
    from samplernn_pase.settings import Settings

    model = bench.of_config(SMALL)
    settings = Settings()
    settings = replace(settings, train=replace(settings.train, batch_size=2), crop=replace(settings.crop, frames=2))
    step = bench.training(model, settings, amp=False)
    before = model.sample.logits.bias.detach().clone()
    assert step() == 2 * 160 and not torch.equal(model.sample.logits.bias, before)


def test_a_config_without_names_is_measured_with_as_many_speakers_as_the_papers() -> None:
    assert len(bench.peopled(NAMED).speakers) == 126
    assert bench.peopled(replace(NAMED, speakers=("one",))).speakers == ("one",)
    assert bench.peopled(SMALL).speakers == ()
    given = bench.of_config(replace(SMALL, speaker=SpeakerConfig(provider="ge2e", size=256)))
    assert isinstance(given, SampleRNNPASE) and given.voices.vectors.isfinite().all()


def test_wrong_numbers_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--rounds", "0"]) == 2
    assert "--rounds is 0; expected more than 0" in capsys.readouterr().err
