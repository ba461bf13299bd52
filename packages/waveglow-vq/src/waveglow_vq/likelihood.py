"""What training minimises: how unlikely waves are, in WaveGlow's nats or in bits, and what codes cost besides.

-log p(wav) = sum z^2 / 2 - log |dz / dwav| + T log(2 pi) / 2, by the change of variables; arXiv 1811.00002, equation 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, pi

import torch
from torch import Tensor

from .condition import Conditioned
from .flow import Flowed


@dataclass(frozen=True)
class Pass:
    """One training pass."""

    conditioned: Conditioned  # the condition with its losses and figures
    flowed: Flowed | None  # None where the flow is not trained
    whitened: Tensor  # (B,) log of the volume change before the flow
    samples: int  # T


def loss(made: Pass) -> dict[str, Tensor]:
    """{"loss": the sum, its parts, figures}. The flow's part, "nll", is a mean in nats per sample."""
    figures = {**made.conditioned.losses, **made.conditioned.stats}
    parts = list(made.conditioned.losses.values())
    if made.flowed is not None:
        parts.append(nll(made).mean())
        figures |= {"nll": parts[-1], "bits": bits(parts[-1].detach())}
    return {**figures, "loss": torch.stack(parts).sum()}


def nll(made: Pass) -> Tensor:
    """-log p of each row (B,) in nats per sample, without log(2 pi) / 2: what WaveGlow's loss is."""
    assert made.flowed is not None, "the flow has been run"
    z = made.flowed.z
    return (z.square().sum(dim=(1, 2)) / 2 - made.flowed.log_det() - made.whitened) / made.samples


def bits(nll: Tensor) -> Tensor:
    """Bits per 16-bit sample of a loss in nats per sample: 15 - LL / ln 2 with LL = -loss - ln(2 pi) / 2."""
    return 15 + (nll + log(2 * pi) / 2) / log(2)
