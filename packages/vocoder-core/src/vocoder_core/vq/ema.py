"""`ema`: each vector is the moving average of the encodings it was nearest to (1711.00937, appendix A.1).

    n_k <- d n_k + (1 - d) count_k,    m_k <- d m_k + (1 - d) sum_k,    e_k = (m_k + eps e_k) / (n_k + eps)

Public code adds eps to n alone (Laplace smoothing), and the vector of an unused code then drifts to the origin; here it
stays. The statistics are those of all processes. No gradient reaches the table.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .agreement import summed
from .codebook import Choice, Codebook
from .config import QuantizerConfig
from .kmeans import totals

EPS = 1e-5


class MovingAverages(Codebook):
    """The table, its counts and its sums are buffers."""

    counts: Tensor
    sums: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.register_buffer("codebook", torch.randn(config.size, config.dim))
        self.register_buffer("counts", torch.ones(config.size))
        self.register_buffer("sums", self.codebook.clone())

    def begin(self, counts: Tensor, error: Tensor, spread: Tensor) -> None:
        """As if the averages had always been these; a code without encodings goes to its first ones at once."""
        self.counts.copy_(counts)
        self.sums.copy_(self.codebook * self.counts[:, None])

    def replace(self, fresh: Tensor, dead: Tensor) -> None:
        """With the vector its count and sum begin anew, together: alone, the old ones would pull it back."""
        super().replace(fresh, dead)
        few = (self.config.restart or 0.0) * self.counts.mean()
        self.counts.copy_(torch.where(dead[:, 0], few, self.counts))
        self.sums.copy_(torch.where(dead, few * fresh, self.sums))

    def learn(self, rows: Tensor, codes: Tensor) -> Tensor:
        """One step of the averages; the counts are those of all processes."""
        counts, sums = totals(rows, codes, self.size)
        both = summed(torch.cat([sums, counts[:, None]], 1)).to(self.sums)
        self.sums.lerp_(both[:, :-1], 1 - self.config.decay)
        self.counts.lerp_(both[:, -1], 1 - self.config.decay)
        self.codebook.copy_((self.sums + EPS * self.codebook) / (self.counts + EPS)[:, None])
        return both[:, -1]

    def losses(self, seen: Choice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Commitment alone, mean over D."""
        return {"commitment": self.commitment() * (seen.placed - seen.chosen).square().mean()}, {}
