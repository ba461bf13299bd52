"""Schedules, levels, losses, sampler: against DDPM's closed forms, published tables, scipy, real speech."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from specgrad import SpecGradConfig, diffusion
from specgrad.diffusion import DiffusionConfig
from specgrad.schedules import SCHEDULES, aligned_steps, choose, even, levels, linear
from specgrad.shaping import ShapingConfig, envelope, shape, transfer
from specgrad.transform import grid_of
from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS

Speech = Callable[..., Tensor]
PAPER = DiffusionConfig()
PRIORGRAD = DiffusionConfig(levels="discrete", beta_start=1e-4, beta_end=0.05, steps=50)
CONFIG = PRESETS["asr16"]
GRID = grid_of(CONFIG)
ALL = {**SCHEDULES, **{f"even {n}": even(n, PAPER.training) for n in (1, 2, 4, 8)}}


def filters_of(wav: Tensor) -> Tensor:
    return transfer(envelope(log_mel(wav, CONFIG), CONFIG, ShapingConfig()), "minimum")


# ---- schedules


def test_published_schedules_have_their_published_levels() -> None:
    """The table of sqrt(abar) that the public code gives, and the SNR in dB that is left at the end."""
    table = {
        "pg6": [0.9999, 0.9994, 0.9944, 0.9693, 0.8669, 0.6130],
        "wg6": [1.0, 0.9999, 0.9989, 0.9848, 0.7940, 0.4349],
        "wg3": [0.9998, 0.9694, 0.3065],
    }
    for name, expected in table.items():
        assert np.abs(levels(SCHEDULES[name]) - expected).max() < 1e-4
    ends = {"wg50": -4.1, "wg6": -6.3, "wg3": -9.8, "pg6": -2.2, "pg12": -3.5}
    for name, snr in ends.items():
        last = levels(SCHEDULES[name])[-1] ** 2
        assert 10 * np.log10(last / (1 - last)) == pytest.approx(snr, abs=0.06)
    assert [len(SCHEDULES[name]) for name in ("wg50", "wg6", "wg3", "pg12", "pg6")] == [50, 6, 3, 12, 6]
    assert levels(SCHEDULES["wg50"])[-1] ** 2 == pytest.approx(0.2797, abs=1e-4)
    assert SCHEDULES["wg50"] == tuple(np.linspace(1e-4, 0.05, 50))


def test_aligned_steps_are_those_of_the_public_code() -> None:
    """PriorGrad's inference.py prints these for its six steps; a loop over its definition gives the others."""
    found = aligned_steps(SCHEDULES["pg6"], PRIORGRAD.training)
    assert np.abs(found - [0, 0.894, 4.087, 10.452, 22.992, 42.919]).max() < 1e-3
    assert np.abs(aligned_steps(SCHEDULES["wg50"], PRIORGRAD.training) - np.arange(50)).max() < 1e-9
    known = np.cumprod(1 - np.linspace(1e-4, 0.05, 50))
    wanted = np.cumprod(1 - np.array(SCHEDULES["pg12"]))
    expected = []
    for level in wanted:
        at = max(t for t in range(49) if known[t] >= level - 1e-12)
        expected.append(at + (known[at] ** 0.5 - level**0.5) / (known[at] ** 0.5 - known[at + 1] ** 0.5))
    assert np.abs(aligned_steps(SCHEDULES["pg12"], PRIORGRAD.training) - expected).max() < 1e-9


@pytest.mark.parametrize("name", ["wg6", "wg3"])
def test_a_level_outside_the_training_is_refused_not_left_out(name: str) -> None:
    """(g): the public code drops 2 of WG-6's steps and 1 of WG-3's, and then takes the wrong ones."""
    with pytest.raises(ValueError, match=r"signal level .* the network was trained on 0\.5288\d\d to 0\.9999"):
        diffusion.told(SCHEDULES[name], PRIORGRAD)
    assert len(diffusion.told(SCHEDULES[name], PAPER)) == len(SCHEDULES[name])


def test_a_level_noisier_than_any_in_training_is_refused_by_continuous_networks_too() -> None:
    short = replace(PAPER, beta_start=1e-4, beta_end=0.05, steps=50)
    with pytest.raises(ValueError, match="step 3 of the schedule"):
        diffusion.told(SCHEDULES["wg3"], short)


@pytest.mark.parametrize("config", [PAPER, PRIORGRAD], ids=["paper", "priorgrad"])
@pytest.mark.parametrize("steps", [1, 2, 4, 10])
def test_even_steps_are_even_in_log_snr_and_end_where_training_did(config: DiffusionConfig, steps: int) -> None:
    own = levels(even(steps, config.training)) ** 2
    snr = 10 * np.log10(own / (1 - own))
    end = float(np.prod(1 - np.linspace(config.beta_start, config.beta_end, config.steps)))
    assert snr[-1] == pytest.approx(10 * np.log10(end / (1 - end)), abs=1e-6)
    if steps > 1:
        assert np.ptp(np.diff(snr)) < 1e-6
        assert snr[0] == pytest.approx(57.0 if config is PAPER else 40.0, abs=0.05)
    assert len(diffusion.told(even(steps, config.training), config)) == steps


def test_a_schedule_is_a_name_a_file_a_list_or_a_number_of_steps(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("betas: [1e-4, 0.01, 0.5]\n")
    assert choose("pg6", None, PAPER.training) == SCHEDULES["pg6"]
    assert choose(file, None, PAPER.training) == choose([1e-4, 0.01, 0.5], 3, PAPER.training) == (1e-4, 0.01, 0.5)
    assert choose("linear", 20, PAPER.training) == linear(20)
    assert choose("even", 6, PAPER.training) == even(6, PAPER.training)
    chosen = [choose(None, steps, PAPER.training) for steps in (3, 4, 6, 50)]
    assert chosen == [SCHEDULES["wg3"], even(4, PAPER.training), SCHEDULES["wg6"], SCHEDULES["wg50"]]
    # PriorGrad's training never saw the end of WG-3 and WG-6
    chosen = [choose(None, steps, PRIORGRAD.training) for steps in (3, 6, 12)]
    assert chosen == [even(3, PRIORGRAD.training), SCHEDULES["pg6"], SCHEDULES["pg12"]]


@pytest.mark.parametrize(
    ("choice", "steps", "reason"),
    [
        ("wg7", None, "expected one of wg50, wg6"),
        ("wg6", 5, "steps is 5, the schedule wg6 has 6 betas"),
        ("even", None, "expected a number of steps"),
        (None, None, "expected a number of steps"),
        (None, 0, "steps is 0; expected 1 or more"),
        ([], None, "expected one or more numbers"),
        ([0.1, 1.0], None, "between 0 and 1"),
        ([0.1, float("nan")], None, "between 0 and 1"),
        ("nowhere.yaml", None, "nowhere.yaml: cannot be read"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_in_a_sentence(choice: object, steps: int | None, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        choose(choice, steps, PAPER.training)  # type: ignore[arg-type]


# ---- the forward process


def test_discrete_levels_are_the_grids_and_told_by_their_step() -> None:
    level, told = diffusion.draw_levels(torch.tensor([0.0, 0.019999, 0.02, 0.5, 0.999999]), PRIORGRAD)
    assert told.tolist() == [0, 0, 1, 25, 49]
    expected = np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.05, 50)))[[0, 0, 1, 25, 49]]
    assert np.abs(level.numpy() - expected).max() < 1e-6


def test_continuous_levels_are_uniform_within_a_stretch_drawn_uniformly() -> None:
    """WaveGrad, section 2.2: s ~ U{1 ... S}, sqrt(abar) ~ U(l_s, l_{s-1}), l_0 = 1."""
    config = replace(PAPER, steps=4, beta_start=0.1, beta_end=0.4)
    edges = np.concatenate([[1.0], np.sqrt(np.cumprod(1 - np.linspace(0.1, 0.4, 4)))])
    level, told = diffusion.draw_levels(torch.arange(40_000, dtype=torch.float64) / 40_000, config)
    assert torch.equal(level, told)
    count, _ = np.histogram(level.numpy(), bins=np.sort(edges))
    assert np.abs(count - 10_000).max() <= 2
    for high, low in pairwise(edges):
        inside = level[(level > low) & (level <= high)]
        assert float(inside.mean()) == pytest.approx((high + low) / 2, abs=1e-4)
        assert float(inside.std()) == pytest.approx((high - low) / 12**0.5, rel=1e-3)


def test_the_forward_process_adds_up_beta_by_beta(speech: Speech) -> None:
    """x_n of the closed form has mean and covariance of n single steps sqrt(1 - beta) x + sqrt(beta) eps."""
    mean, variance = 1.0, 0.0
    for beta, level in zip(SCHEDULES["pg6"], levels(SCHEDULES["pg6"])):
        mean, variance = mean * (1 - beta) ** 0.5, variance * (1 - beta) + beta
        one, zero = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64)
        at = torch.tensor([level])
        assert float(diffusion.diffuse(one, zero, at)[0, 0]) == pytest.approx(mean, rel=1e-12)
        assert float(diffusion.diffuse(zero, one, at)[0, 0]) ** 2 == pytest.approx(variance, rel=1e-12)


# ---- the loss


LOSSES = [(domain, kind) for domain in ("time", "stft", "plain") for kind in ("l1", "l2")]


@pytest.mark.parametrize(("domain", "kind"), LOSSES)
def test_the_loss_is_zero_for_the_answer_and_grows_with_the_error(domain: str, kind: str, speech: Speech) -> None:
    """(d), defect 1: with the error's range normalised, any size of error costs the same, and the answer NaN."""
    config = replace(PAPER, loss_domain=domain, loss=kind)
    wav = speech(CONFIG, frames=16)
    filters = filters_of(wav)
    noise = shape(torch.randn_like(wav), filters, GRID)
    answer = noise.clone().requires_grad_()
    exact = diffusion.loss(noise, answer, filters, GRID, config)
    assert exact == 0
    exact.backward()
    assert answer.grad is not None and answer.grad.isfinite().all()
    error = torch.randn_like(wav)
    once = diffusion.loss(noise, noise + error, filters, GRID, config)
    for scale in (1e-3, 10.0):
        grown = diffusion.loss(noise, noise + scale * error, filters, GRID, config) / once
        assert float(grown) == pytest.approx(scale if kind == "l1" else scale**2, rel=1e-6)


@pytest.mark.parametrize("name", ["asr16", "specgrad24"])
@pytest.mark.parametrize(("domain", "most"), [("time", 1.7), ("stft", 2.0)])
def test_a_network_that_says_nothing_costs_about_one(domain: str, most: float, name: str, speech: Speech) -> None:
    """(d), defects 2, 9, 10: 0.03 or 2500 at the start are wrong units. Noise is white again after L^-1."""
    mel, grid = PRESETS[name], grid_of(PRESETS[name])
    wav = speech(mel, frames=60)
    filters = transfer(envelope(log_mel(wav, mel), mel, ShapingConfig()), "minimum")
    noise = shape(
        torch.randn(4, wav.shape[1], dtype=wav.dtype, generator=torch.Generator().manual_seed(0)), filters, grid
    )
    silent = diffusion.loss(noise, torch.zeros_like(noise), filters, grid, replace(PAPER, loss_domain=domain))
    assert 1.0 < float(silent) < most


def test_spikes_are_no_way_out(speech: Speech) -> None:
    """Defect 1: two giant spikes were the optimum of the normalised loss (0.0043 against 0.12 for silence)."""
    wav = speech(CONFIG, frames=16)
    filters = filters_of(wav)
    noise = shape(torch.randn_like(wav), filters, GRID)
    spikes = torch.zeros_like(wav)
    spikes[0, 100], spikes[0, 200] = 1e3, -1e3
    quiet, spiky = (diffusion.loss(noise, guess, filters, GRID, PAPER) for guess in (torch.zeros_like(wav), spikes))
    assert spiky > 10 * quiet


@pytest.mark.parametrize("kind", ["l1", "l2"])
def test_losses_are_their_definitions_in_numpy(kind: str, speech: Speech) -> None:
    signal = pytest.importorskip("scipy.signal")
    wav = speech(CONFIG, frames=12)
    filters = filters_of(wav)
    error = np.random.default_rng(0).normal(size=wav.shape[1])
    wide = np.concatenate([filters[0].numpy(), filters[0, :, -1:].numpy()], axis=1)
    kinds = {"nperseg": 1024, "noverlap": 768, "window": "hann", "boundary": "zeros"}
    spectrum = signal.stft(error, **kinds, padded=False)[2] / wide
    time = signal.istft(spectrum, nperseg=1024, noverlap=768, window="hann", boundary=True)[1]
    window = signal.get_window("hann", 1024)
    expected = {"time": time, "stft": spectrum * window.sum() / np.sqrt((window**2).sum()), "plain": error}
    for domain, value in expected.items():
        config = replace(PAPER, loss_domain=domain, loss=kind)
        found = diffusion.loss(torch.from_numpy(error)[None], torch.zeros_like(wav), filters, GRID, config)
        assert float(found) == pytest.approx((np.abs(value) ** (2 if kind == "l2" else 1)).mean(), rel=1e-9)


# ---- the sampler


def run(wav: Tensor, betas: tuple[float, ...], estimate: Callable[[Tensor, Tensor], Tensor], seed: int = 0) -> Tensor:
    """Sample with noise shaped like `wav`."""
    filters, generator = filters_of(wav), torch.Generator().manual_seed(seed)

    def draw() -> Tensor:
        return shape(torch.randn(wav.shape, dtype=wav.dtype, generator=generator), filters, GRID)

    return diffusion.sample(estimate, draw(), betas, diffusion.told(betas, PAPER), draw)


@pytest.mark.parametrize("name", ALL)
def test_a_network_that_knows_the_answer_returns_it(name: str, speech: Speech) -> None:
    """(a): more than 120 dB, by every schedule."""
    wav = speech(CONFIG, frames=20).float()
    exact = iter(levels(ALL[name])[::-1])  # told in fp32 they are good enough for a network, not for 120 dB

    def estimate(x: Tensor, level: Tensor) -> Tensor:
        kept = next(exact)
        assert float(level[0]) == pytest.approx(kept, rel=1e-6)
        return ((x.double() - kept * wav) / (1 - kept**2) ** 0.5).float()

    error = run(wav, ALL[name], estimate) - wav
    # a single step divides by the last level, 0.08, and with it fp32's rounding
    least = 100 if name == "even 1" else 120
    assert 10 * float((wav.square().sum() / error.square().sum()).log10()) > least


@pytest.mark.parametrize("name", ["pg6", "wg6", "wg3", "even 4"])
def test_every_step_is_ddpms_posterior(name: str) -> None:
    """Ho et al. 2020, eq. 6 and 7: x_{n-1} ~ N(a x0_hat + b x_n, beta~), from a net that is wrong in a known way."""
    betas = np.array(ALL[name])
    rng = np.random.default_rng(0)
    start, fresh = 0.01 * rng.normal(size=(1, 50)), 0.01 * rng.normal(size=(len(betas), 1, 50))
    abar = np.cumprod(1 - betas)
    x = start
    for n in reversed(range(len(betas))):
        before = abar[n - 1] if n else 1.0
        clean = (x - np.sqrt(1 - abar[n]) * np.tanh(3 * x + np.sqrt(abar[n]))) / np.sqrt(abar[n])
        mean = np.sqrt(before) * betas[n] / (1 - abar[n]) * clean
        mean += np.sqrt(1 - betas[n]) * (1 - before) / (1 - abar[n]) * x
        x = mean + np.sqrt((1 - before) / (1 - abar[n]) * betas[n]) * fresh[n]
    noises = iter([torch.from_numpy(noise) for noise in fresh[:0:-1]])
    found = diffusion.sample(
        lambda at, told: torch.tanh(3 * at + told[:, None]),
        torch.from_numpy(start),
        tuple(betas),
        diffusion.told(betas.tolist(), PAPER),
        lambda: next(noises),
    )
    assert np.abs(found.numpy() - x.clip(-1, 1)).max() < 1e-9
    assert next(noises, None) is None, "one draw less than steps: the last one adds no noise"


def test_gaussian_data_come_out_with_their_own_variance() -> None:
    """The best estimate for N(0, s^2) is linear; many steps with it turn noise into N(0, s^2)."""
    spread, betas = 0.1, even(300, PAPER.training)
    generator = torch.Generator().manual_seed(0)

    def draw() -> Tensor:
        return torch.randn(1, 20_000, generator=generator)

    def estimate(x: Tensor, level: Tensor) -> Tensor:
        kept = level.square()[:, None]
        return (1 - kept).sqrt() / (kept * spread**2 + 1 - kept) * x

    found = diffusion.sample(estimate, draw(), betas, diffusion.told(betas, PAPER), draw)
    assert float(found.std()) == pytest.approx(spread, rel=0.03)


def test_the_noise_of_a_diffusion_is_not_settled() -> None:
    """It would leave the paper's units, in which its levels are defined."""
    with pytest.raises(ValueError, match="shaping.iterations is 3; a diffusion's noise is not settled"):
        SpecGradConfig(process="diffusion", shaping=ShapingConfig(iterations=3))


def test_as_many_levels_are_told_as_there_are_betas(speech: Speech) -> None:
    """(g)"""
    noise = torch.zeros(1, 8)
    with pytest.raises(ValueError, match="6 betas and 4 levels"):
        diffusion.sample(lambda x, _: x, noise, SCHEDULES["wg6"], [1.0] * 4, lambda: noise)


def test_the_wave_is_clamped_at_the_end_and_not_on_the_way() -> None:
    """Shaped noise is louder than 1: clamped, it would no longer be of its level."""
    seen: list[float] = []

    def estimate(x: Tensor, _: Tensor) -> Tensor:
        seen.append(float(x.abs().max()))
        return -9 * x

    start = torch.linspace(-3, 3, 9)[None]
    found = diffusion.sample(estimate, start, (1e-4, 1e-3, 1e-2), [0.9, 0.9, 0.9], lambda: torch.zeros_like(start))
    assert min(seen) >= 3 and found.abs().max() == 1


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"beta_start": 0.0}, {"beta_end": 1.0}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"diffusion.{next(iter(wrong))} is"):
        replace(PAPER, **wrong)
