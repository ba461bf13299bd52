"""What changes from step to step: learning rate, random seeds, averaged weights. None depends on where a run stopped.

halve    lr 1/2 every N steps (torch's StepLR)          cosine   down to min_lr_ratio lr (torch's CosineAnnealingLR)
average  w' <- d w' + (1 - d) w; d grows to its value, or the random start would weigh for 1 / (1 - d) steps
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

if TYPE_CHECKING:
    from .train import TrainConfig


def learning_rate(step: int, config: TrainConfig) -> float:
    """The learning rate of update `step`, counted from 1."""
    warm = min(1.0, step / config.warmup) if config.warmup else 1.0
    if config.schedule == "halve":
        shape = 0.5 ** ((step - 1) // config.halve_every)
    elif config.schedule == "cosine":
        # warm-up |/| lr at step `warmup` and the one after it |\| min_lr_ratio one step past the last
        along = max(0, step - 1 - config.warmup) / max(1, config.steps - config.warmup)
        shape = config.min_lr_ratio + (1 - config.min_lr_ratio) * (1 + cos(pi * min(1.0, along))) / 2
    else:
        shape = 1.0
    return config.lr * warm * shape


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch, numpy and random for one step: its dropout and noise are the same in every run, resumed or not."""
    words = np.random.SeedSequence([seed, step, rank]).generate_state(3, np.uint64)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)  # noqa: NPY002  (a loss may use numpy's global generator)
    random.seed(int(words[2]))


class Average:
    """Exponential moving average of a model's trainable parameters. Buffers are not averaged: they follow the model."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """decay 0: keep no average; `swapped_in` then leaves the model as it is."""
        self.decay = decay
        self.parameters = [p for p in model.parameters() if p.requires_grad] if decay else []
        self.values = [p.detach().clone() for p in self.parameters]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after update `step`, counted from 1."""
        decay = min(self.decay, step / (step + 9))  # 0.1, 0.18, ... 0.99 at step 891, 0.999 at 8,991
        for value, parameter in zip(self.values, self.parameters):
            value.lerp_(parameter, 1 - decay)

    @torch.no_grad()
    def copy_into_model(self) -> None:
        """Give the model the averaged weights."""
        for value, parameter in zip(self.values, self.parameters):
            parameter.copy_(value)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within the block the model has the averaged weights, after it its own again."""
        own = [p.detach().clone() for p in self.parameters]
        self.copy_into_model()
        try:
            yield
        finally:
            with torch.no_grad():
                for value, parameter in zip(own, self.parameters):
                    parameter.copy_(value)
