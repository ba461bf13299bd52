"""Codebook: quantisers that keep a table of K vectors, and choose the nearest.

    x ---placed---> nearest of table() --estimator--> quantised
                 `--> losses          start: k-means on the first batch    restart: unused codes begin anew

k-means and restarts copy encodings of rank 0 into the table of every process, so that tables never part.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .agreement import of_the_first, summed
from .config import QuantizerConfig
from .estimators import rotation, straight_through
from .kmeans import kmeans, squared_distances
from .quantizer import Quantizer


class Choice(NamedTuple):
    """Encodings as they came (raw) and placed (R, D), the table (K, D), distances (R, K), codes (R,), chosen (R, D)."""

    raw: Tensor
    placed: Tensor
    table: Tensor
    square: Tensor
    codes: Tensor
    chosen: Tensor


class Codebook(Quantizer):
    """The table is `codebook` (K, D): a parameter, or of `ema` a buffer. Subclasses say how it learns."""

    codebook: Tensor
    initialised: Tensor
    share: Tensor
    steps: Tensor
    learns_from_output = False  # whether the decoder's gradient reaches the table

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__(config)
        self._started = False
        self.register_buffer("initialised", torch.zeros((), dtype=torch.int64))
        if config.restart:
            self.register_buffer("share", torch.ones(config.size))  # of each code, in parts of 1 / K: moving average
        if config.ramp and config.ramp[1]:
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def table(self) -> Tensor:
        """The vectors (K, D) that are chosen from."""
        return self.codebook

    def placed(self, rows: Tensor) -> Tensor:
        """Encodings (R, D) where the table's vectors can be."""
        return rows

    @abstractmethod
    def losses(self, seen: Choice) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Weighted losses, and stats of this kind."""

    def begin(self, counts: Tensor, error: Tensor, spread: Tensor) -> None:
        """The first batch: encodings of each vector (K,), mean squared distances from it, and from the mean of all."""

    def replace(self, fresh: Tensor, dead: Tensor) -> None:
        """Set the vectors where dead (K, 1) to those of fresh (K, D)."""
        # .data: a second pass in one step must not invalidate what the first one keeps for its gradient
        self.codebook.data.copy_(torch.where(dead, fresh, self.codebook.data))

    def learn(self, rows: Tensor, codes: Tensor) -> Tensor:
        """Learn from rows (R, D) what is not learned by gradient; how often each code was used (K,)."""
        return self._counts(codes, rows)

    def commitment(self) -> Tensor | float:
        """The weight of the commitment at this step."""
        weight, (first, last) = self.config.commitment or 0.0, self.config.ramp or (0, 0)
        if not last:
            return weight
        return weight * ((self.steps - first) / max(1, last - first)).clamp(self.config.ramp_floor, 1)

    def _quantize(self, rows: Tensor) -> tuple[Tensor, Tensor, dict[str, Tensor], dict[str, Tensor]]:
        placed = self.placed(rows)
        if self.training:
            self._prepare(placed.detach())
        table = self.table()
        square = squared_distances(placed.detach(), table if self.learns_from_output else table.detach())
        codes = square.argmin(-1)
        seen = Choice(rows, placed, table, square, codes, table[codes])
        losses, stats = self.losses(seen)
        target = seen.chosen if self.learns_from_output else seen.chosen.detach()
        quantized = (rotation if self.config.estimator == "rotation" else straight_through)(placed, target)
        stats |= self._figures(seen)
        if self.training:
            self._learn(placed.detach(), codes)
        return quantized, codes, losses, stats

    def _codes(self, rows: Tensor) -> Tensor:
        return squared_distances(self.placed(rows), self.table()).argmin(-1)

    def _vectors(self, codes: Tensor) -> Tensor:
        return self.table()[codes]

    @torch.no_grad()
    def _prepare(self, rows: Tensor) -> None:
        """Before the codes of a training pass: the start, the ramp's step, the restarts."""
        if not self._started:  # asked again in the second pass: an undone first one leaves the buffer at 0
            self._started = bool(self.initialised)
            if not self._started:
                self._start(rows)
        if hasattr(self, "steps"):
            self.steps += 1
        if hasattr(self, "share"):
            self._restart(rows)

    def _start(self, rows: Tensor) -> None:
        if not of_the_first(rows.isfinite().all().float()):
            return  # the trainer leaves this step out
        if self.config.kmeans:
            self.codebook.data.copy_(of_the_first(kmeans(rows, self.size)))
        square, codes = squared_distances(rows, self.table()).min(-1)
        error, spread = of_the_first(torch.stack([square.mean(), _spread(rows)]))
        self.begin(summed(self._counts(codes, rows)), error, spread)
        self.initialised.fill_(1)

    def _restart(self, rows: Tensor) -> None:
        """Unused codes become encodings of this batch, rather badly served ones; each gets a full share to lose."""
        square = squared_distances(rows, self.table()).amin(-1).clamp_min(0).nan_to_num(0, 0, 0) + 1e-20
        # drawn in proportion to the squared distance, without replacement, and without waiting for a GPU
        drawn = (square / torch.empty_like(square).exponential_()).topk(min(self.size, len(rows))).indices
        dead = self.share < (self.config.restart or 0.0)
        fresh = rows[drawn[(dead.cumsum(0) - 1).clamp_min(0) % len(drawn)]]
        dead &= fresh.isfinite().all(1)
        told = of_the_first(torch.cat([fresh, dead[:, None].to(rows)], 1))
        fresh, dead = told[:, :-1], told[:, -1:] > 0
        self.replace(fresh, dead)
        self.share.masked_fill_(dead[:, 0], 1.0)

    @torch.no_grad()
    def _learn(self, rows: Tensor, codes: Tensor) -> None:
        counts = self.learn(rows, codes)
        if hasattr(self, "share"):
            self.share.lerp_((counts * self.size / counts.sum()).to(self.share), 1 - self.config.decay)

    def _counts(self, codes: Tensor, like: Tensor) -> Tensor:
        return torch.bincount(codes, minlength=self.size).to(like)

    @torch.no_grad()
    def _figures(self, seen: Choice) -> dict[str, Tensor]:
        """Distortion in parts of the encodings' variance, the vectors' norm, pairs of them that coincide."""
        placed, table = seen.placed.detach(), seen.table.detach()
        error = (placed - seen.chosen).square().sum(-1).mean()
        near = squared_distances(table, table).fill_diagonal_(torch.inf) < 0.01 * error / self.config.dim
        return {
            "distortion": error / _spread(placed).clamp_min(torch.finfo(placed.dtype).tiny),
            "code_norm": table.norm(dim=-1).mean(),
            "duplicates": near.sum().to(table) / 2,
        }

    def _load_from_state_dict(self, *arguments: Any) -> None:
        super()._load_from_state_dict(*arguments)
        self._started = False


def _spread(rows: Tensor) -> Tensor:
    """Mean squared distance of rows (R, D) from their mean."""
    return (rows - rows.mean(0)).square().sum(-1).mean()
