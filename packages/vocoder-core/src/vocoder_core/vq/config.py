"""QuantizerConfig: one frozen dataclass for every kind of quantiser.

kind          the K vectors are learned as                                                       from
softem        means of a Gaussian mixture, by gradient, with a learned variance                   this project
softem_seed   the same with unit variance and small weights                                       waveglow-vqvae (2019)
ema           moving averages of the encodings they were nearest to                               1711.00937, appendix A
sphere        points of a sphere, by gradient, projected back on it after each step               mkotha/WaveRNN (2019)
fsq           nothing is learned: each of a few channels is rounded to one of a few levels        2309.15505
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from typing import Any, Literal

# of fields that are None: each kind as it was published, and softem as it was measured to work best
OWN: dict[str, dict[str, Any]] = {
    "softem": {"commitment": 0.25, "codebook": 1.0, "restart": 0.05, "kmeans": True, "ramp": (0, 0)},
    "softem_seed": {"commitment": 0.01, "codebook": 0.01, "restart": 0.0, "kmeans": False, "ramp": (0, 0)},
    "ema": {"commitment": 0.25, "codebook": 0.0, "restart": 0.05, "kmeans": True, "ramp": (0, 0)},
    "sphere": {"commitment": 0.01, "codebook": 1.0, "restart": 0.0, "kmeans": False, "ramp": (1000, 2000)},
    "fsq": {"commitment": 0.0, "codebook": 0.0, "restart": 0.0, "kmeans": False, "ramp": (0, 0)},
}


@dataclass(frozen=True)
class QuantizerConfig:
    """What is quantised (dim D), into how many codes (size K), and how it learns. None: the kind's own, in OWN."""

    kind: Literal["softem", "softem_seed", "ema", "sphere", "fsq"] = "softem"
    size: int = 512  # K; fsq: the product of its levels instead
    dim: int = 64  # D
    estimator: Literal["straight_through", "rotation"] = "straight_through"
    commitment: float | None = None  # pulls encodings to their code: mean over D; softem_seed, sphere: sum over D
    codebook: float | None = None  # pulls codes to their encodings: per dimension; softem_seed, sphere: sum over D
    variance: float = 1.0  # of softem the first (k-means finds its own), of softem_seed the only one
    decay: float = 0.99  # of moving averages: ema's vectors, and how often each code is used
    restart: float | None = None  # a code used less than this part of its share 1 / K begins anew; 0: none does
    kmeans: bool | None = None  # begin at the clusters of the first batch
    levels: tuple[int, ...] = (8, 8, 8)  # fsq
    radius: float = 0.06  # sphere: the root mean square of a vector, whose norm is radius * sqrt(D)
    ramp: tuple[int, int] | None = (
        None  # steps between which the commitment rises to its weight, linearly; (0, 0): none
    )
    ramp_floor: float = 0.1  # the part of it that holds from the first step

    def __post_init__(self) -> None:
        """Raise ValueError for a value that no quantiser can use."""
        for name, least in (("size", 2), ("dim", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"quantizer.{name} is {getattr(self, name)}; expected {least} or more")
        for name in ("variance", "radius"):
            if not getattr(self, name) > 0:
                raise ValueError(f"quantizer.{name} is {getattr(self, name)}; expected more than 0")
        for name in ("commitment", "codebook", "restart"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"quantizer.{name} is {getattr(self, name)}; expected 0 or more")
        if not 0 <= self.decay < 1:
            raise ValueError(f"quantizer.decay is {self.decay}; expected 0 up to, not including, 1")
        if self.restart and self.restart >= 1:
            raise ValueError(f"quantizer.restart is {self.restart}; expected a part of a code's share, below 1")
        if self.ramp and not 0 <= self.ramp[0] <= self.ramp[1]:
            raise ValueError(f"quantizer.ramp is {list(self.ramp)}; expected two steps, the first not after the second")
        if self.kind == "fsq" and (not self.levels or min(self.levels) < 3):  # of two, one would take almost all
            raise ValueError(f"quantizer.levels is {list(self.levels)}; expected numbers of levels, each 3 or more")
        if self.kind == "fsq" and self.estimator != "straight_through":
            raise ValueError(
                "quantizer.estimator is rotation for fsq; expected straight_through: rounding has no vector"
            )

    def resolved(self) -> QuantizerConfig:
        """This config with every None replaced by what its kind does, and of fsq with the size its levels make."""
        own = {name: value for name, value in OWN[self.kind].items() if getattr(self, name) is None}
        size = prod(self.levels) if self.kind == "fsq" else self.size
        return replace(self, **own, size=size)
