"""Diffusion from speech to shaped noise and back: forward process, loss, ancestral sampler. Knows no network.

Koizumi et al. 2022, SpecGrad (arXiv 2203.16749); continuous levels are WaveGrad's (arXiv 2009.00713):

    x_n = l_n x_0 + sqrt(1 - l_n^2) eps,   eps = L n,   n white          l_n = sqrt(prod_{m <= n} (1 - beta_m))
    loss = |L^-1 (eps - eps_hat(x_n, mel, l_n))|^2

            x_n - beta_n / sqrt(1 - l_n^2) eps_hat             1 - l_{n-1}^2
    x_n-1 = --------------------------------------  +  sqrt( ----------------- beta_n ) L z         (z only for n > 1)
                    sqrt(1 - beta_n)                           1 - l_n^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from . import schedules
from .shaping import fitted, unshape, window_gain
from .transform import Grid, stft


@dataclass(frozen=True)
class DiffusionConfig:
    """Noise levels trained on, and the loss. Defaults are the paper's; PriorGrad and DiffWave: see `levels`."""

    levels: Literal["continuous", "discrete"] = "continuous"  # discrete: the net is told a step, 0 to steps - 1
    beta_start: float = 1e-6  # PriorGrad, DiffWave: discrete, 1e-4 to 0.05 in 50 steps
    beta_end: float = 0.01
    steps: int = 1000
    loss: Literal["l1", "l2"] = "l2"  # WaveGrad, DiffWave: l1
    loss_domain: Literal["time", "stft", "plain"] = "time"  # stft: as good, without an iSTFT; plain: without L^-1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"diffusion.steps is {self.steps}; expected 1 or more")
        for name in ("beta_start", "beta_end"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"diffusion.{name} is {getattr(self, name)}; expected a number between 0 and 1")

    @property
    def training(self) -> tuple[float, ...]:
        """Betas (S,) of the training grid."""
        return schedules.linear(self.steps, self.beta_start, self.beta_end)


def told(betas: Sequence[float], config: DiffusionConfig) -> np.ndarray:
    """What the network is told at each step of a schedule (N,): its level, or the training step that had it.

    Raises ValueError for a level the network was not trained on.
    """
    known = schedules.aligned_steps if config.levels == "discrete" else schedules.reachable
    return known(betas, config.training)


def draw_levels(uniform: Tensor, config: DiffusionConfig) -> tuple[Tensor, Tensor]:
    """Levels (B,) to train at, and what the network is told (B,), for random numbers (B,) in [0, 1).

    Continuous: one of S stretches between neighbouring levels (the first from 1), uniformly; a level in it, uniformly.
    """
    grid = torch.from_numpy(schedules.levels(config.training)).to(uniform)
    place = uniform * config.steps
    step = place.long().clamp(max=config.steps - 1)
    if config.levels == "discrete":
        return grid[step], step.to(uniform.dtype)
    level = torch.lerp(torch.cat([grid.new_ones(1), grid[:-1]])[step], grid[step], place - step)
    return level, level


def diffuse(clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """x_n (B, T) of clean wave and shaped noise (B, T) at levels sqrt(abar) (B,)."""
    kept = level[:, None]
    return kept * clean + (1 - kept.square()).sqrt() * noise


def loss(noise: Tensor, estimate: Tensor, filters: Tensor, grid: Grid, config: DiffusionConfig) -> Tensor:
    """Mean error of estimates of the shaped noise (B, T), whitened by M (B, K, F): a scalar.

    0 only for the right answer; for a network that says nothing about 1 (1.2 to 1.7, as L^-1 is approximate).
    """
    error = noise - estimate
    if config.loss_domain == "time":
        error = unshape(error, filters, grid)
    elif config.loss_domain == "stft":
        error = stft(error, grid) / (fitted(filters, grid, noise.shape[-1]) * window_gain(grid))
    if config.loss == "l1":
        return error.abs().mean()
    parts = torch.view_as_real(error) if error.is_complex() else error[..., None]
    return parts.square().sum(-1).mean()


def sample(
    estimate: Callable[[Tensor, Tensor], Tensor],
    noise: Tensor,
    betas: Sequence[float],
    told: Sequence[float] | np.ndarray,
    draw: Callable[[], Tensor],
) -> Tensor:
    """From shaped noise (B, T) to a wave (B, T) in [-1, 1], one step a beta, the last beta first.

    estimate(x_n (B, T), told (B,)) -> eps_hat (B, T). draw() -> fresh shaped noise (B, T), asked for N - 1 times.
    The wave is clamped once, at the end: on the way the noise is louder than 1. Raises ValueError where the numbers
    of betas and of what to tell differ.
    """
    if len(told) != len(betas):
        raise ValueError(f"a schedule of {len(betas)} betas and {len(told)} levels to tell; expected as many of both")
    alpha_bar = [1.0, *(schedules.levels(betas) ** 2).tolist()]
    x = noise
    for n in range(len(betas), 0, -1):
        beta, left, before = betas[n - 1], 1 - alpha_bar[n], 1 - alpha_bar[n - 1]
        x = (x - beta / left**0.5 * estimate(x, x.new_full((len(x),), float(told[n - 1])))) / (1 - beta) ** 0.5
        if n > 1:
            x = x + (before / left * beta) ** 0.5 * draw()
    return x.clamp(-1, 1)
