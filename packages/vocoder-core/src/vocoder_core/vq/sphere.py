"""`sphere`: encodings and vectors on one sphere of norm radius * sqrt(D), as in mkotha/WaveRNN (2019), for vqvaevc.

    x = r x0 / |x0|,  e likewise    loss = |sg x - e|^2 + w ( |x - sg e|^2 + |x - x0|^2 )    sums over D

w rises over `ramp`: a full commitment at once collapses all to one code. The last term keeps the encoder's own norm
near r. A zero vector, NaN in the original, is left where it is. `after_step` puts the table back on the sphere.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .codebook import Choice, Codebook
from .config import QuantizerConfig


class Sphere(Codebook):
    """The table is learned by its own loss; no gradient of the decoder reaches it."""

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.norm = config.radius * config.dim**0.5
        self.codebook = nn.Parameter(on_sphere(torch.randn(config.size, config.dim), self.norm))

    def table(self) -> Tensor:
        """The vectors (K, D), on the sphere also where an update has just left it."""
        return on_sphere(self.codebook, self.norm)

    def placed(self, rows: Tensor) -> Tensor:
        """Encodings (R, D) on the sphere."""
        return on_sphere(rows, self.norm)

    @torch.no_grad()
    def after_step(self) -> None:
        """Project the table back on the sphere."""
        self.codebook.copy_(self.table())

    def losses(self, seen: Choice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Codebook, commitment, and the penalty of the norm under the commitment's weight."""
        weight = self.commitment()
        losses = {
            "codebook": (self.config.codebook or 0.0) * _square(seen.placed.detach() - seen.chosen),
            "commitment": weight * _square(seen.placed - seen.chosen.detach()),
            "norm": weight * _square(seen.placed - seen.raw),
        }
        return losses, {"encoding_norm": seen.raw.detach().norm(dim=-1).mean()}


def on_sphere(rows: Tensor, norm: float) -> Tensor:
    """Rows (R, D) scaled to a norm; those too short to have a direction stay as they are."""
    length = rows.norm(dim=-1, keepdim=True)
    return rows * (norm / torch.where(length > 1e-6 * norm, length, norm))


def _square(difference: Tensor) -> Tensor:
    return difference.square().sum(-1).mean()
