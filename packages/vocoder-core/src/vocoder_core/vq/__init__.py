"""Vector quantisers behind one interface: features -> the nearest of K vectors, and what training needs with them.

    layer = quantizer(QuantizerConfig(kind="softem", size=512, dim=64))
    seen = layer(x)                              # x (B, D, N)
    loss = ... + sum(seen.losses.values())       # seen.quantized (B, D, N) went on to the decoder
    layer.after_step()                           # after each update of the weights
    layer.decode(layer.encode(x))                # later: codes (B, N) int64, and back

Every kind gives the same `Quantized` and logs perplexity, used fraction, duplicates and bits per code.
"""

from __future__ import annotations

from .config import QuantizerConfig
from .ema import MovingAverages
from .fsq import FiniteScalar
from .mixture import Mixture, SeedMixture
from .quantizer import Quantized, Quantizer
from .sphere import Sphere


def quantizer(config: QuantizerConfig) -> Quantizer:
    """The layer that a config describes."""
    kinds: dict[str, type[Quantizer]] = {
        "softem": Mixture, "softem_seed": SeedMixture, "ema": MovingAverages, "sphere": Sphere, "fsq": FiniteScalar,
    }  # fmt: skip
    return kinds[config.kind](config.resolved())


__all__ = ["QuantizerConfig", "Quantized", "Quantizer", "quantizer"]
