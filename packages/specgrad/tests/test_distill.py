"""specgrad-distill as its users run it, and the promises of its parts: where gradients go, what a resumed run knows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from specgrad import SpecGrad, SpecGradConfig
from specgrad.adversarial import AdversarialLoss, DistillConfig, DistillSettings, Unrolled, average_gradients, halves
from specgrad.batches import Batch
from specgrad.discriminators import DiscriminatorConfig, Discriminators
from specgrad.distill import main
from specgrad.settle import matched
from specgrad.shaping import ShapingConfig
from specgrad.stft import StftConfig
from vocoder_core.mel import log_mel

SMALL = SpecGradConfig(
    shaping=ShapingConfig(smoothing="learned", phase="zero", iterations=1),
    stft=StftConfig(channels=16, layers=1, encoder_layers=1),
)
JUDGES = DiscriminatorConfig((256,), 4, (256,), 16)


def settings(**distill: Any) -> DistillSettings:
    return DistillSettings(distill=DistillConfig(**{"alone": 0, **distill}), discriminator=JUDGES)


def batch(frames: int = 8, rows: int = 2) -> Batch:
    draw = torch.Generator().manual_seed(0)
    wav = 0.1 * torch.randn(rows, frames * 256, generator=draw)
    white = torch.randn(rows, frames * 256, generator=draw)
    return Batch(log_mel(wav, SMALL.mel), wav, white, torch.rand(rows, generator=draw))


def vocoder() -> SpecGrad:
    torch.manual_seed(0)
    model = SpecGrad(SMALL)
    for parameter in model.parameters():  # its last layers start from zero, which would hide who hears whom
        parameter.data += 0.05 * torch.randn_like(parameter)
    return model


@pytest.mark.parametrize("steps", [1, 3])
def test_the_unrolled_waves_are_those_of_synthesize(steps: int) -> None:
    model, one = vocoder(), batch()
    with torch.no_grad():
        wave, _ = Unrolled(model, DistillConfig())(one, steps)
        made = []
        for mel, white in zip(one.mel[:, None], one.white[:, None]):
            condition = model.condition(mel)
            x = model.prior(white, condition) * steps / (steps + 1)  # the step from time 0, where the estimate is 0
            for step in range(1, steps + 1):
                time = torch.full((1,), step / (steps + 1))
                x = x + (model.estimate(x, condition, time) - x) / (steps + 1 - step)
            made.append(matched(x, model.noise_grid, mel, model.config.mel))
    assert torch.allclose(wave, torch.cat(made), atol=1e-5)


def test_gradients_pass_all_steps_or_only_the_last() -> None:
    """The level's layer hears a time only through the steps it may learn from."""
    gradients = {}
    for through in (0, 1, 2, 3):
        model = vocoder()
        wave, _ = Unrolled(model, DistillConfig(through=through, flow=0.0))(batch(), 3)
        wave.square().mean().backward()
        gradients[through] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        assert all(p.grad is not None for p in model.net.blocks.parameters())
    assert torch.equal(gradients[0], gradients[3])
    for fewer, more in ((1, 2), (2, 3)):
        assert not torch.allclose(gradients[fewer], gradients[more], rtol=1e-3, atol=0)


def test_the_last_step_learns_also_where_autocast_keeps_copies_of_the_weights() -> None:
    model = vocoder()
    with torch.autocast("cpu", torch.bfloat16):
        wave, _ = Unrolled(model, DistillConfig(through=1, flow=0.0))(batch(), 3)
    wave.square().mean().backward()
    for name, parameter in model.net.blocks.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_the_loss_is_the_weighted_sum_of_its_parts_and_a_weight_of_nought_drops_one() -> None:
    weights = {"adversarial": 0.5, "features": 2.0, "mel": 3.0, "stft": 4.0, "flow": 0.25}
    figures = AdversarialLoss(settings(**weights), 16_000)(Unrolled(vocoder(), DistillConfig()), batch())
    assert figures["loss"].item() == pytest.approx(
        sum(w * figures[name].item() for name, w in weights.items()), rel=1e-5
    )
    off = settings(**{**weights, "adversarial": 0.0, "features": 0.0})
    assert "judges" not in AdversarialLoss(off, 16_000)(Unrolled(vocoder(), off.distill), batch())


def test_discriminators_learn_from_the_call_and_the_generators_loss_leaves_them_alone() -> None:
    loss, model = AdversarialLoss(settings(), 16_000), Unrolled(vocoder(), DistillConfig())
    before = {name: value.clone() for name, value in loss.judges.state_dict().items()}
    figures = loss(model, batch())
    moved = [not torch.equal(before[name], value) for name, value in loss.judges.state_dict().items()]
    assert all(moved), [n for (n, _), m in zip(before.items(), moved) if not m]
    loss.optimizer.zero_grad()
    figures["loss"].backward()
    assert all(parameter.grad is None and parameter.requires_grad for parameter in loss.judges.parameters())


def test_a_wave_that_is_not_finite_teaches_the_discriminators_nothing() -> None:
    loss = AdversarialLoss(settings(), 16_000)
    before = {name: value.clone() for name, value in loss.judges.state_dict().items()}
    loss.learn(batch().wav, torch.full((2, 2048), float("nan")))
    assert all(torch.equal(before[name], value) for name, value in loss.judges.state_dict().items())


def test_discriminators_have_no_say_while_they_learn_alone() -> None:
    loss = AdversarialLoss(settings(alone=1, mel=0.0, stft=0.0, flow=0.0), 16_000)
    totals = [loss(Unrolled(vocoder(), DistillConfig()), batch())["loss"].item() for _ in range(2)]
    assert totals[0] == 0 and totals[1] != 0


def test_steps_are_drawn_by_their_odds_and_again_after_a_resumption() -> None:
    loss, drawn = AdversarialLoss(settings(steps=(1, 2, 4), odds=(1.0, 0.0, 3.0)), 16_000), []
    for loss.calls in range(400):
        drawn.append(loss.draw())
        assert loss.draw() == drawn[-1]
    assert set(drawn) == {1, 4} and 260 < drawn.count(4) < 340


def test_halves_and_gradients_alone_are_left_as_they_are() -> None:
    judges, wav = Discriminators(JUDGES), torch.randn(4, 2048)
    first, second = halves(judges(wav))
    for part, rows in ((first, wav[:2]), (second, wav[2:])):
        for one, other in zip(part, judges(rows), strict=True):
            assert torch.allclose(one.score, other.score, atol=1e-5)
            assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one.features, other.features, strict=True))
    average_gradients(judges)  # one process: nothing to do


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"steps": ()}, "steps is"),
        ({"steps": (0,)}, "steps is"),
        ({"steps": (1, 4), "odds": (1.0,)}, "odds is"),
        ({"odds": (0.0,)}, "odds is"),
        ({"mel": -1.0}, "mel is -1"),
        ({"lr": 0.0}, "lr is 0"),
    ],
)
def test_impossible_settings_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        DistillConfig(**values)


@pytest.fixture(scope="module")
def data(shared_audio: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from specgrad.preprocess import main as preprocess

    folder = tmp_path_factory.mktemp("prepared") / "data"
    assert preprocess([str(shared_audio), str(folder), "--jobs", "1", "--config", "tiny"]) == 0
    return folder


@pytest.fixture(scope="module")
def init(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("init") / "flow"
    vocoder().save_pretrained(folder)
    return folder


def arguments(data: Path, run: Path, init: Path, *pairs: str) -> list[str]:
    own = ["crop.frames=8", "train.batch_size=2", "train.save_every=2", "train.log_every=2", "train.valid_every=1000"]
    own += ["discriminator.images=[256]", "discriminator.image_channels=4", "discriminator.frames=[256]"]
    own += ["discriminator.frame_channels=16", "distill.alone=1", "train.schedule=constant", "train.warmup=0"]
    own += ["check.clips=1", "check.seconds=0.2", "check.synthesize=0"]
    sets = [part for pair in [*own, *pairs] for part in ("--set", pair)]
    return [str(data), str(run), "--init", str(init), "--device", "cpu", *sets]


def test_a_run_ends_as_a_checkpoint_and_a_resumed_one_with_the_same_bits(
    data: Path, init: Path, tmp_path: Path
) -> None:
    assert main(arguments(data, tmp_path / "whole", init, "train.steps=5")) == 0
    assert main(arguments(data, tmp_path / "parts", init, "train.steps=3")) == 0
    assert main(arguments(data, tmp_path / "parts", init, "train.steps=5")) == 0
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    start = load_file(init / "model.safetensors")
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert one.keys() == start.keys() and any(not torch.equal(one[name], start[name]) for name in one)
    states = [
        torch.load(tmp_path / name / "resume.pt", weights_only=True)["loss_states"][0] for name in ("whole", "parts")
    ]
    assert states[0]["calls"] == states[1]["calls"] == 5
    assert all(torch.equal(states[0]["judges"][name], states[1]["judges"][name]) for name in states[0]["judges"])
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert {"stft", "mel", "flow", "judges", "adversarial", "features"} <= rows[0].keys()
    assert SpecGrad.from_pretrained(tmp_path / "whole").synthesize(batch().mel, steps=1, seed=0).isfinite().all()


def test_what_cannot_be_distilled_is_refused_in_a_sentence(
    data: Path, init: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(arguments(data, run, init, "train.steps=1")) == 0
    assert main(arguments(data, run, init, "train.steps=2", "distill.mel=7")) == 2
    assert "distill.mel=15.0, now it is 7.0" in capsys.readouterr().err
    assert main(arguments(data, run, init, "train.amp=fp16")) == 2
    assert "train.amp is fp16" in capsys.readouterr().err
    assert main([str(data), str(tmp_path / "other")]) == 2
    assert "--init is missing" in capsys.readouterr().err


def test_a_diffusion_is_refused() -> None:
    plain = ShapingConfig(smoothing="interpolate")
    model = SpecGrad(SpecGradConfig(process="diffusion", stft=SMALL.stft, shaping=plain))
    with pytest.raises(ValueError, match="process is diffusion"):
        Unrolled(model, DistillConfig())


@pytest.mark.slow
def test_two_processes_keep_the_same_discriminators(data: Path, init: Path, tmp_path: Path) -> None:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*launcher, "-m", "specgrad.distill", *arguments(data, tmp_path / "run", init, "train.steps=4")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    one, other = torch.load(tmp_path / "run" / "resume.pt", weights_only=True)["loss_states"]
    assert all(torch.equal(one["judges"][name], other["judges"][name]) for name in one["judges"])
