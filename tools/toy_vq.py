#!/usr/bin/env python3
"""How each quantiser of vocoder_core.vq leaves a bad start: 16 codes in one clump, beside a ring of 8 blobs.

    python tools/toy_vq.py [--seeds 3] [--steps 3000]

The toy of waveglow-vqvae's em_toy.ipynb: 8 blobs of unit variance on a circle of radius 8, 2^13 points, 16 codes drawn
about (10, 10). Layers see batches of 256. Prints a Markdown table, means over seeds: codes nearest to something,
perplexity, mean squared distance (one perfect code a blob would give 2), codes more than 0.1 apart, blobs with a code
within 2, variance.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from vocoder_core.vq import QuantizerConfig, quantizer
from vocoder_core.vq.codebook import Codebook
from vocoder_core.vq.kmeans import kmeans, squared_distances

SIZE, BATCH = 16, 256
BASE = QuantizerConfig(kind="softem", size=SIZE, dim=2, kmeans=False, restart=0.0, codebook=1.0, commitment=0.0)


def main() -> None:
    """Every row of the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=3000, help="of the layers (default 3000)")
    arguments = parser.parse_args()
    print("| method | used | perplexity | MSE | distinct | blobs (worst) | variance |\n|:--|--:|--:|--:|--:|--:|--:|")
    for name, method in methods(arguments.steps).items():
        rows = []
        for seed in range(arguments.seeds):
            points, clump = toy(seed)
            table, variance = method(points, clump)
            rows.append([*figures(points, table, ring()), variance])
        used, perplexity, mse, distinct, blobs, variance = torch.tensor(rows, dtype=torch.float64).mean(0).tolist()
        worst = min(int(row[4]) for row in rows)
        cells = f"{used:.1f} | {perplexity:.1f} | {mse:.2f} | {distinct:.1f} | {blobs:.1f} ({worst}) | {variance:.2f}"
        print(f"| {name} | {cells} |", flush=True)


def methods(steps: int) -> dict[str, Callable[[Tensor, Tensor], tuple[Tensor, float]]]:
    """name -> a function of points (R, 2) and first codes (K, 2) that gives the codes it ends with, and a variance."""

    def trained(config: QuantizerConfig, full: bool = False) -> Callable[[Tensor, Tensor], tuple[Tensor, float]]:
        return lambda points, clump: train(config, points, clump, steps, full)

    ema, seed = replace(BASE, kind="ema"), replace(BASE, kind="softem_seed")
    return {
        "k-means from the clump": lambda points, clump: (kmeans(points, SIZE, 100, clump), 0.0),
        "k-means++, then k-means": lambda points, clump: (kmeans(points, SIZE, 100), 0.0),
        "ema": trained(ema),
        "ema, restart": trained(replace(ema, restart=0.05)),
        "soft EM, closed form, variance 5": lambda points, clump: soft_em(points, clump, 5.0, False),
        "soft EM, closed form, variance 1": lambda points, clump: soft_em(points, clump, 1.0, False),
        "soft EM, closed form, variance learned": lambda points, clump: soft_em(points, clump, 25.0, True),
        "softem_seed, variance 5, all points": trained(replace(seed, variance=5.0), full=True),
        "softem_seed (variance 1)": trained(seed),
        "softem, from the clump": trained(BASE),
        "softem, from the clump, restart": trained(replace(BASE, restart=0.05)),
        "softem, as it comes (k-means, restart)": trained(replace(BASE, kmeans=True, restart=0.05)),
    }


def ring() -> Tensor:
    """The blobs' centres (8, 2)."""
    angle = torch.arange(8) * torch.pi / 4
    return 8 * torch.stack([angle.cos(), angle.sin()], 1)


def toy(seed: int) -> tuple[Tensor, Tensor]:
    """Points (8192, 2) and the clump of first codes (16, 2)."""
    torch.manual_seed(seed)
    return ring().repeat(1024, 1) + torch.randn(8192, 2), torch.randn(SIZE, 2) + 10


def train(
    config: QuantizerConfig, points: Tensor, clump: Tensor, steps: int, full: bool = False
) -> tuple[Tensor, float]:
    """The table and the variance that a quantiser has after `steps` of Adam."""
    layer = quantizer(config)
    assert isinstance(layer, Codebook), "every kind but fsq has a table"
    with torch.no_grad():
        layer.codebook.copy_(clump)
    weights = list(layer.parameters())
    optimizer = torch.optim.Adam(weights, 1e-2 if full else 5e-2) if weights else None  # full: the notebook's
    for _ in range(steps):
        batch = points if full else points[torch.randint(len(points), (BATCH,))]
        seen = layer(batch.T[None])
        if optimizer:
            optimizer.zero_grad()
            sum(seen.losses.values()).backward()
            optimizer.step()
        layer.after_step()
    return layer.codebook.detach(), float(seen.stats.get("variance", torch.tensor(config.variance)))


def soft_em(points: Tensor, table: Tensor, variance: float, learned: bool) -> tuple[Tensor, float]:
    """1000 steps of expectation and maximisation."""
    for _ in range(1000):
        square = squared_distances(points, table)
        q = (square / (-2 * variance)).softmax(-1)
        weight = q.sum(0)
        table = torch.where(weight[:, None] > 1e-30, (q.T @ points) / weight[:, None].clamp_min(1e-30), table)
        if learned:
            variance = float((q * square).sum() / (2 * len(points)))
    return table, variance


def figures(points: Tensor, table: Tensor, centres: Tensor) -> tuple[float, ...]:
    """(used, perplexity, mean squared distance, distinct codes, blobs that have one)."""
    square, codes = squared_distances(points, table).min(-1)
    part = torch.bincount(codes, minlength=SIZE) / len(points)
    distinct = 0
    for k in range(SIZE):
        distinct += not (torch.cdist(table[k : k + 1], table[:k]) < 0.1).any()
    blobs = (torch.cdist(centres, table[part > 0]).amin(1) < 2).sum()
    return (
        int((part > 0).sum()),
        float(torch.special.entr(part).sum().exp()),
        float(square.mean()),
        distinct,
        int(blobs),
    )


if __name__ == "__main__":
    main()
