"""The flow: its line, its coefficients by regression, its loss by definition, its steps by the exact solution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from specgrad import flow
from specgrad.flow import FlowConfig
from specgrad.shaping import ShapingConfig, envelope, shape, transfer, window_gain
from specgrad.transform import grid_of
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

Speech = Callable[..., Tensor]
DEFAULT = FlowConfig()
CONFIG = PRESETS["asr16"]
GRID = grid_of(CONFIG)
SHAPING = ShapingConfig(smoothing="interpolate", phase="zero")


def test_the_line_goes_from_noise_to_speech() -> None:
    noise, clean = torch.randn(3, 8), torch.randn(3, 8)
    found = flow.between(noise, clean, torch.tensor([0.0, 0.25, 1.0]))
    assert torch.equal(found[0], noise[0]) and torch.equal(found[2], clean[2])
    assert torch.allclose(found[1], 0.75 * noise[1] + 0.25 * clean[1])


@pytest.mark.parametrize("time", [0.0, 0.1, 0.5, 0.9])
def test_the_skip_is_the_best_linear_guess_and_in_and_out_have_unit_variance(time: float) -> None:
    """Least squares on samples of unit variance, in place of the formula."""
    generator = torch.Generator().manual_seed(0)
    noise, clean = (torch.randn(1, 200_000, dtype=torch.float64, generator=generator) for _ in range(2))
    at = torch.tensor([time], dtype=torch.float64)
    x = flow.between(noise, clean, at)
    into, past, out = flow.coefficients(at)
    regression = float((x * clean).mean() / x.square().mean())
    assert float(past) == pytest.approx(regression, abs=0.01)
    assert float((into * x).std()) == pytest.approx(1, abs=0.01)
    assert float(((clean - past * x) / out).std()) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_the_loss_is_its_definition_in_numpy(power: float, speech: Speech) -> None:
    signal = pytest.importorskip("scipy.signal")
    rng = np.random.default_rng(0)
    clean, wrong = rng.normal(size=(2, 2, 12 * 256))
    envelopes, density = np.exp(rng.normal(size=(2, 513, 12))), rng.uniform(0.5, 1.5, size=513)
    times, expected = (0.3, 0.97), []
    for row, time in enumerate(times):
        kinds = {"nperseg": 1024, "noverlap": 768, "window": "hann", "boundary": "zeros", "padded": False}
        error = signal.stft(clean[row] - wrong[row], **kinds)[2] * signal.get_window("hann", 1024).sum()
        wide = np.concatenate([envelopes[row], envelopes[row, :, -1:]], axis=1)
        level = np.sqrt((wide**2).mean())
        weighted = np.abs(error) ** 2 / (wide**power * level ** (1 - power)) ** 2 * density[:, None]
        left = max(1 - time, 0.1)
        expected.append(weighted.mean() * (time**2 + left**2) / left**2)
    found = flow.loss(
        *(torch.from_numpy(values) for values in (clean, wrong, envelopes)),
        torch.tensor(times, dtype=torch.float64),
        GRID,
        replace(DEFAULT, power=power),
        torch.from_numpy(density),
    )
    assert float(found) == pytest.approx(np.mean(expected), rel=1e-9)


def test_the_loss_is_zero_for_the_answer_grows_with_the_error_and_ignores_loudness(speech: Speech) -> None:
    """(d) for the flow: a row ten times as loud, error and envelope alike, counts as before."""
    wav = speech(CONFIG, frames=20)
    smooth, time = envelope(log_mel(wav, CONFIG), CONFIG, SHAPING), torch.tensor([0.5])
    answer = wav.clone().requires_grad_()
    exact = flow.loss(wav, answer, smooth, time, GRID, DEFAULT)
    exact.backward()
    assert exact == 0 and answer.grad is not None and answer.grad.isfinite().all()
    error = torch.randn_like(wav)
    once = flow.loss(wav, wav + error, smooth, time, GRID, DEFAULT)
    assert float(flow.loss(wav, wav + 10 * error, smooth, time, GRID, DEFAULT) / once) == pytest.approx(100)
    loud = flow.loss(10 * wav, 10 * (wav + error), 10 * smooth, time, GRID, DEFAULT)
    assert float(loud / once) == pytest.approx(1)


@pytest.mark.parametrize("time", [0.0, 0.3, 0.6, 0.85])
def test_a_network_that_says_nothing_costs_about_one_at_every_time(time: float, speech: Speech) -> None:
    """At whole whitening (power 1) the weights in time make all times cost alike: the noise is the speech's size."""
    wav = speech(CONFIG, frames=80)
    smooth = envelope(log_mel(wav, CONFIG), CONFIG, SHAPING)
    white = torch.randn(wav.shape, dtype=wav.dtype, generator=torch.Generator().manual_seed(0))
    noise = shape(white, transfer(smooth, "zero"), GRID) / window_gain(GRID)
    at = torch.tensor([time], dtype=torch.float64)
    x = flow.between(noise, wav, at)
    silent = flow.coefficients(at)[1] * x
    assert 0.5 < float(flow.loss(wav, silent, smooth, at, GRID, replace(DEFAULT, power=1.0))) < 2.0
    assert 0.02 < float(flow.loss(wav, silent, smooth, at, GRID, DEFAULT)) < 1.0


@pytest.mark.parametrize("steps", [1, 2, 4, 6])
def test_a_network_that_knows_the_answer_returns_it(steps: int, speech: Speech) -> None:
    """(a) for the flow."""
    wav = speech(CONFIG, frames=20).float()
    asked = []

    def estimate(x: Tensor, time: Tensor) -> Tensor:
        asked.append(float(time[0]))
        return wav

    error = flow.sample(estimate, torch.randn_like(wav), flow.times(steps)) - wav
    assert 10 * float((wav.square().sum() / error.square().sum()).log10()) > 120
    assert asked == pytest.approx(np.arange(1, steps + 1) / (steps + 1))


def test_euler_steps_follow_the_exact_solution_ever_closer() -> None:
    """For data N(0, s^2) and noise N(0, 1): x(t) = x(0) sqrt((1 - t)^2 + t^2 s^2), so noise ends as s times itself."""
    spread = 0.2
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)[None]

    def estimate(x: Tensor, time: Tensor) -> Tensor:
        t = time[:, None]
        return t * spread**2 / ((1 - t).square() + t.square() * spread**2) * x

    errors = [
        float((flow.sample(estimate, noise, flow.times(steps)) - spread * noise).abs().max())
        for steps in (50, 100, 200)
    ]
    assert errors[0] < 0.05
    assert errors[1] / errors[0] == pytest.approx(0.5, abs=0.1) and errors[2] / errors[1] == pytest.approx(
        0.5, abs=0.05
    )


def test_times_need_not_be_even() -> None:
    """Two steps at 0 and 0.9 by hand."""
    noise = torch.tensor([[1.0]])
    found = flow.sample(lambda x, time: 0.5 * x, noise, [0.0, 0.9])
    between = 1 + 0.9 * (0.5 - 1)
    assert float(found) == pytest.approx(0.5 * between)


def test_the_sampler_can_be_trained_through() -> None:
    gain = torch.tensor(0.3, requires_grad=True)
    flow.sample(lambda x, _: gain * x, torch.ones(1, 4), flow.times(3)).sum().backward()
    assert gain.grad is not None and gain.grad > 0


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"nearest": -1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"flow.{next(iter(wrong))} is"):
        FlowConfig(**wrong)
    with pytest.raises(ValueError, match="steps is 0; expected 1 or more"):
        flow.times(0)
