"""The flow from shaped noise to speech: x_t = (1 - t) eps + t x1, a network that estimates x1, and its Euler steps.

Lipman et al. 2023 (arXiv 2210.02747) with a data-dependent prior; estimating the clean signal and weighting errors by
the speech's own spectrum are Flow2GAN's (ICLR 2026), the shaped prior is SpecGrad's (arXiv 2203.16749).

    t = 0 ----------------------------------------------------- t = 1
    eps = gamma L n             x_t + dt (x1_hat - x_t) / (1 - t)           speech

In coordinates divided by the envelope both ends have about unit variance, so that the best linear estimate of x1 is
t x_t / (t^2 + (1 - t)^2) and the network only adds what is missing (Karras et al. 2022, arXiv 2206.00364, table 1).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from .shaping import fitted
from .transform import Grid, stft


@dataclass(frozen=True)
class FlowConfig:
    """Settings of the flow."""

    gamma: float = 1.0  # amplitude of the noise relative to the speech's own
    power: float = 0.5  # errors are divided by E^power: 0.5 as Flow2GAN, 1 is SpecGrad's Sigma^-1
    frequency: Literal["hertz", "mel"] = "mel"  # errors count by the mel as ears do, or alike from 0 to 8 kHz
    spectrum: float = 1.0  # weight of the learned envelope's own loss
    nearest: float = 0.1  # 1 - t is not taken smaller when errors are weighted by 1 / (1 - t)^2

    def __post_init__(self) -> None:
        for name in ("gamma", "nearest"):
            if getattr(self, name) <= 0:
                raise ValueError(f"flow.{name} is {getattr(self, name)}; expected more than 0")


def between(noise: Tensor, clean: Tensor, time: Tensor) -> Tensor:
    """x_t (B, T) on the straight line from noise to clean wave (B, T) at times (B,)."""
    t = time[:, None]
    return (1 - t) * noise + t * clean


def coefficients(time: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(into, past, out of) the network, each (B, 1): x1_hat = past * x_t + out * network(into * x_t)."""
    t = time[:, None]
    variance = t.square() + (1 - t).square()
    return variance.rsqrt(), t / variance, (1 - t) * variance.rsqrt()


def loss(
    clean: Tensor,
    estimate: Tensor,
    envelope: Tensor,
    time: Tensor,
    grid: Grid,
    config: FlowConfig,
    density: Tensor | None = None,
) -> Tensor:
    """Squared error of the estimates (B, T) over the time-frequency plane, weighted by spectrum and time. A scalar.

    envelope: E (B, K, F) of the mel; density (K,): what an error counts in each bin, 1 on the mean. The error of a row
    is measured in units of the row's own level, so loud and quiet recordings count alike; 0 only for the right answer,
    for a network that knows nothing about 1 at power 1, and 0.3 to 0.4 at power 0.5.
    """
    smooth = fitted(envelope, grid, clean.shape[-1])
    level = smooth.square().mean(dim=(1, 2), keepdim=True).sqrt()
    error = torch.view_as_real(stft(clean - estimate, grid)).square().sum(-1)
    weighted = error / (smooth ** (2 * config.power) * level ** (2 - 2 * config.power))
    if density is not None:
        weighted = weighted * density[:, None]
    remaining = (1 - time).clamp(min=config.nearest)
    return (weighted.mean(dim=(1, 2)) * (time.square() + remaining.square()) / remaining.square()).mean()


def times(steps: int) -> list[float]:
    """The times at which a sampler of N steps estimates: 1/(N + 1), ... N/(N + 1). The one at 0 costs nothing."""
    if steps < 1:
        raise ValueError(f"steps is {steps}; expected 1 or more")
    return [step / (steps + 1) for step in range(1, steps + 1)]


def sample(estimate: Callable[[Tensor, Tensor], Tensor], noise: Tensor, at: list[float]) -> Tensor:
    """Follow the flow from noise (B, T) to a wave (B, T) by Euler steps at the times `at`, rising, in [0, 1).

    At time 0 the noise says nothing of the wave's phases, so that the best estimate of the wave is 0 and the step from
    there to at[0] needs no network: one evaluation at 1/2 gives what two gave at 0 and 1/2, PESQ 3.41.
    estimate(x_t (B, T), times (B,)) -> x1_hat (B, T). Differentiable: `specgrad-distill` trains through it.
    """
    x = (1 - at[0]) * noise
    for time, after in zip(at, [*at[1:], 1.0]):
        clean = estimate(x, x.new_full((len(x),), time))
        x = x + (after - time) / (1 - time) * (clean - x)
    return x
