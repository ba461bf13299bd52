"""What a training pass costs: how unlikely the true samples were, and the losses of the codes they were told by."""

from __future__ import annotations

from dataclasses import dataclass
from math import log

import torch
import torch.nn.functional as F
from torch import Tensor

from .condition import Conditioned


@dataclass(frozen=True)
class Pass:
    """A training pass: logits (B, n, Q) of each label, targets (B, n, labels), the condition's losses and figures."""

    logits: list[Tensor]
    targets: Tensor
    conditioned: Conditioned


def loss(made: Pass) -> dict[str, Tensor]:
    """{"loss": cross-entropy in nats and the condition's losses; "bits" a sample, of two bytes each's; figures}."""
    figures = {**made.conditioned.losses, **made.conditioned.stats}
    whole = sum(made.conditioned.losses.values(), torch.zeros((), device=made.targets.device))
    nats = [
        F.cross_entropy(said.float().flatten(0, 1), made.targets[..., k].flatten())
        for k, said in enumerate(made.logits)
    ]
    if nats:
        bits = [each.detach() / log(2) for each in nats]
        figures["bits"] = sum(bits[1:], bits[0])
        if len(bits) == 2:
            figures |= {"bits_coarse": bits[0], "bits_fine": bits[1]}
    return {"loss": sum(nats, whole), **figures}
