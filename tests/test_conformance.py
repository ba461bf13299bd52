"""What every vocoder promises, asked of each one in the table of models.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models import CASES, Case
from torch import Tensor

FRAMES = 4


@pytest.fixture(params=CASES, ids=lambda case: case.name, scope="module")
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def model(case: Case) -> Any:
    torch.manual_seed(0)
    model = case.vocoder(case.config)
    case.start(model)
    return model


def batch(case: Case, size: int = 2, frames: int = FRAMES, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Random conditioning (B, M, F) and a wave (B, F * hop) of a few sines: learnable, unlike noise."""
    generator = torch.Generator().manual_seed(seed)
    mel = torch.rand(size, case.config.mel.n_mels, frames, generator=generator) - 1
    time = torch.arange(frames * case.config.mel.hop_length)
    pitch = 0.05 + 0.2 * torch.rand(size, 1, generator=generator)
    return mel, 0.5 * torch.sin(pitch * time)


def test_the_tiny_model_is_tiny(model: Any) -> None:
    assert sum(p.numel() for p in model.parameters()) < 100_000


def test_the_config_says_the_sample_rate(case: Case, model: Any) -> None:
    assert model.sample_rate == case.config.mel.sample_rate
    assert model.config == case.config


def test_the_loss_is_finite_and_its_gradient_reaches_every_parameter(case: Case, model: Any) -> None:
    mel, wav = batch(case)
    loss = case.loss(model, case.inputs(model, mel, wav), wav)
    assert loss.ndim == 0
    assert loss.isfinite()
    loss.backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not silent, f"no gradient reaches {silent}"


def test_one_batch_can_be_learnt_by_heart(case: Case, model: Any) -> None:
    mel, wav = batch(case)
    inputs = case.inputs(model, mel, wav)
    steps, rate, factor = case.overfit
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)
    losses = []
    for _ in range(steps):
        loss = case.loss(model, inputs, wav)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] * factor < losses[0], f"the loss fell only from {losses[0]:.3f} to {losses[-1]:.3f}"


@torch.no_grad()
def test_forward_on_a_batch_equals_forward_on_its_members(case: Case, model: Any) -> None:
    inputs = case.inputs(model, *batch(case))
    together = case.output(model, inputs)
    for row in range(2):
        alone = case.output(model, {name: tensor[row : row + 1] for name, tensor in inputs.items()})
        torch.testing.assert_close(alone[0], together[row], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_forward_reads_its_conditioning(case: Case, model: Any) -> None:
    mel, wav = batch(case)
    assert not torch.equal(
        case.output(model, case.inputs(model, mel, wav)), case.output(model, case.inputs(model, mel + 0.5, wav))
    )


@pytest.mark.parametrize("frames", [1, FRAMES])
def test_synthesize_gives_a_hop_of_samples_per_frame(case: Case, model: Any, frames: int) -> None:
    """F frames in, F * hop_length samples out: float32, finite, in [-1, 1], without a graph."""
    mel, _ = batch(case, frames=frames)
    wav = case.synthesize(model, mel, seed=0, **case.told)
    assert wav.shape == (2, frames * case.config.mel.hop_length)
    assert wav.dtype == torch.float32
    assert wav.isfinite().all()
    assert wav.abs().max() <= 1
    assert not wav.requires_grad


def test_one_seed_gives_one_wave_alone_or_in_a_batch(case: Case, model: Any) -> None:
    mel, _ = batch(case)
    seeds = [3, 7]
    together = case.synthesize(model, mel, seed=seeds, **case.told)
    for row, seed in enumerate(seeds):
        alone = case.synthesize(model, mel[row : row + 1], seed=seed, **case.told)[0]
        torch.testing.assert_close(alone, together[row], rtol=0, atol=case.rounding)
    assert (case.synthesize(model, mel, seed=[4, 8], **case.told) - together).abs().max() > 100 * case.rounding
    assert torch.equal(case.synthesize(model, mel, seed=seeds, **case.told), together)


def test_synthesize_does_not_disturb_training(case: Case, model: Any) -> None:
    """Neither the mode, nor the weights, nor the random state of the caller changes."""
    model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = torch.get_rng_state()
    case.synthesize(model, batch(case)[0], seed=0, **case.told)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_a_saved_model_comes_back_with_its_config_and_its_voice(case: Case, model: Any, tmp_path: Path) -> None:
    mel, _ = batch(case)
    model.save_pretrained(tmp_path / "run")
    again = case.vocoder.from_pretrained(tmp_path / "run")
    assert again.config == case.config
    assert not again.training
    made, expected = (case.synthesize(one, mel, seed=5, **case.told) for one in (again, model.eval()))
    assert torch.equal(made, expected)
    assert {"config.yaml", "model.safetensors"} == {path.name for path in (tmp_path / "run").iterdir()}


@pytest.mark.parametrize("wrong", ["bands", "axes", "nan"])
def test_a_mel_that_does_not_fit_is_refused_with_a_sentence(case: Case, model: Any, wrong: str) -> None:
    mel, _ = batch(case)
    bad = {"bands": mel[:, 1:], "axes": mel[0, 0], "nan": mel.index_fill(2, torch.tensor([1]), float("nan"))}[wrong]
    with pytest.raises(ValueError, match="expected"):
        case.synthesize(model, bad, seed=0, **case.told)
