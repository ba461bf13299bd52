"""Soft expectation-maximisation by gradient: the table is the means of a Gaussian mixture of equal weights.

    log p(x) = logsumexp_k( -|x - e_k|^2 / (2 v) ) - D/2 log v + const

Its gradient in e is the M-step with q_k = softmax_k(-|x - e_k|^2 / (2 v)) held constant (Fisher's identity): what
waveglow-vqvae (Jaehyeon Kim, 2019) writes as mean_n sum_k sg[q_nk] |x_n - e_k|^2 / 2, with v = 1. Every mean moves in
proportion to its responsibility, so codes that are nearest to nothing learn too, and a process of a DDP run needs
nothing but the average of gradients. Encodings are held constant; the decoder's gradient reaches the chosen mean.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor, nn

from .agreement import processes
from .codebook import Choice, Codebook
from .config import QuantizerConfig

LEAST_VARIANCE = 1e-6


class Mixture(Codebook):
    """`softem`: the variance is learned, so that softness follows the encodings' scale; losses are per dimension.

    With it fixed, codes either all fall to the mean of everything (v too large) or are hard (v too small).
    """

    learns_from_output = True

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.codebook = nn.Parameter(torch.randn(config.size, config.dim))
        self.log_variance = nn.Parameter(torch.tensor(log(config.variance)))

    def begin(self, counts: Tensor, error: Tensor, spread: Tensor) -> None:
        """The variance of k-means' clusters, corrected for its K free centres; that of all, where those explain all."""
        if self.config.kmeans:
            free = 1 - self.size * processes() / counts.sum()  # k-means saw the batch of one process
            error = torch.where(free > 0, torch.minimum(error / free.clamp_min(1e-3), spread), spread)
            variance = torch.maximum(error, spread / 100) / self.config.dim
            self.log_variance.data.copy_(variance.clamp_min(LEAST_VARIANCE).log())

    def variance(self) -> Tensor:
        """v, per dimension."""
        return self.log_variance.exp().clamp_min(LEAST_VARIANCE)

    def losses(self, seen: Choice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Commitment, mean over D; negative log-likelihood in nats per dimension, but for its constant."""
        variance, dim = self.variance(), self.config.dim
        logits = seen.square / (-2 * variance)
        codebook = variance.log() / 2 - logits.logsumexp(-1).mean() / dim
        commitment = (seen.placed - seen.chosen.detach()).square().mean()
        losses = {
            "commitment": self.commitment() * commitment,
            "codebook": (self.config.codebook or 0.0) * codebook,
        }
        return losses, {"variance": variance.detach(), **_softness(logits, seen)}


class SeedMixture(Codebook):
    """`softem_seed`: fixed variance, sums over D, table drawn as by Glorot: the formulas of waveglow-vqvae."""

    learns_from_output = True

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self.codebook = nn.Parameter(nn.init.xavier_uniform_(torch.empty(config.size, config.dim)))

    def losses(self, seen: Choice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Commitment and negative log-likelihood in nats per vector; stats["em"] is the original's value of it."""
        logits = seen.square / (-2 * self.config.variance)
        commitment = (seen.placed - seen.chosen.detach()).square().sum(-1).mean()
        losses = {
            "commitment": self.commitment() * commitment,
            "codebook": -(self.config.codebook or 0.0) * logits.logsumexp(-1).mean(),
        }
        return losses, _softness(logits, seen)


@torch.no_grad()
def _softness(logits: Tensor, seen: Choice) -> dict[str, Tensor]:
    """Bits that q leaves open (0: a hard choice), and the M-step's loss whose gradient is the likelihood's."""
    q = logits.softmax(-1)
    return {
        "open_bits": torch.special.entr(q).sum(-1).mean() / log(2),
        "em": -(q * logits).sum(-1).mean(),
    }
