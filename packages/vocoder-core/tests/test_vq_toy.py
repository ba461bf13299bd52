"""The toy of waveglow-vqvae's em_toy.ipynb: 8 blobs on a ring, 16 codes in a clump beside it. Who finds them all?"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vocoder_core.vq import QuantizerConfig, quantizer
from vocoder_core.vq.kmeans import kmeans, squared_distances

TOY = QuantizerConfig(size=16, dim=2, kmeans=False, restart=0.0, commitment=0.0, codebook=1.0)
ANGLE = torch.arange(8) * torch.pi / 4
RING = 8 * torch.stack([ANGLE.cos(), ANGLE.sin()], 1)


def toy(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (8192, 2) and first codes (16, 2)."""
    torch.manual_seed(seed)
    return RING.repeat(1024, 1) + torch.randn(8192, 2), torch.randn(16, 2) + 10


def figures(points: torch.Tensor, table: torch.Tensor) -> tuple[int, int, int, float]:
    """Codes used, distinct codes (0.1 apart), blobs with a code of theirs, mean squared distance."""
    square, codes = squared_distances(points, table).min(-1)
    used = torch.unique(codes)
    distinct = sum(not (torch.cdist(table[k : k + 1], table[:k]) < 0.1).any() for k in range(16))
    blobs = (torch.cdist(RING, table[used]).amin(1) < 2).sum()
    return len(used), distinct, int(blobs), float(square.mean())


def train(config: QuantizerConfig, points: torch.Tensor, clump: torch.Tensor, steps: int, lr: float, batch: int):
    model = quantizer(config)
    with torch.no_grad():
        model.codebook.copy_(clump)
    optimizer = torch.optim.Adam(model.parameters(), lr) if list(model.parameters()) else None
    for _ in range(steps):
        seen = model(points[torch.randint(len(points), (batch,))].T[None] if batch else points.T[None])
        if optimizer:
            optimizer.zero_grad()
            sum(seen.losses.values()).backward()
            optimizer.step()
    return model


def fixed_point(points: torch.Tensor, table: torch.Tensor, variance: float) -> torch.Tensor:
    """Where the likelihood's gradient is zero: expectation and maximisation in closed form."""
    for _ in range(300):
        q = (squared_distances(points, table) / (-2 * variance)).softmax(-1)
        table = (q.T @ points) / q.sum(0)[:, None].clamp_min(1e-30)
    return table


def assert_eight_of_sixteen(points: torch.Tensor, table: torch.Tensor) -> None:
    _, distinct, blobs, mse = figures(points, table)
    assert (distinct, blobs) == (8, 8) and 2.0 < mse < 2.25


@pytest.mark.parametrize("seed", range(2))
def test_soft_codes_wider_than_the_blobs_coincide_in_pairs(seed: int) -> None:
    """T2: variance 5 finds all blobs from the clump and wastes half of the codes; there the gradient is zero."""
    points, clump = toy(seed)
    table = fixed_point(points, clump, 5.0)
    assert_eight_of_sixteen(points, table)
    model = quantizer(replace(TOY, kind="softem_seed", variance=5.0))
    with torch.no_grad():
        model.codebook.copy_(table)
    seen = model(points.T[None])
    seen.losses["codebook"].backward()
    assert model.codebook.grad.abs().max() < 1e-4 and seen.stats["duplicates"] >= 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_notebooks_recipe_ends_where_the_notebook_does(seed: int) -> None:
    """T2 as it was run there: Adam at 1e-2, all points, 9000 steps."""
    points, clump = toy(seed)
    model = train(replace(TOY, kind="softem_seed", variance=5.0), points, clump, 9000, 1e-2, 0)
    assert_eight_of_sixteen(points, model.codebook.detach())


@pytest.mark.parametrize("seed", range(6))
def test_hard_assignment_stays_in_the_clump(seed: int) -> None:
    """T3: k-means, where every code moves for its own points alone."""
    points, clump = toy(seed)
    used, _, blobs, mse = figures(points, kmeans(points, 16, 50, clump))
    assert used < 12 and blobs < 8 and mse > 3.8


@pytest.mark.parametrize("seed", range(2))
def test_moving_averages_with_restarts_leave_the_clump(seed: int) -> None:
    """T4: every code in use, every blob found, less distortion than one code a blob could have (2)."""
    points, clump = toy(seed)
    model = train(replace(TOY, kind="ema", restart=0.05), points, clump, 800, 0.0, 256)
    used, _, blobs, mse = figures(points, model.codebook)
    assert (used, blobs) == (16, 8) and mse < 1.55
    stuck = train(replace(TOY, kind="ema"), points, clump, 50, 0.0, 256)
    assert figures(points, stuck.codebook)[2] < 8


def assert_mixture_found(points: torch.Tensor, model) -> None:
    _, distinct, blobs, mse = figures(points, model.codebook.detach())
    assert blobs == 8 and distinct >= 15 and mse < 1.8
    assert 0.90 < model.variance().item() < 1.02


@pytest.mark.parametrize("seed", range(2))
def test_a_learned_variance_finds_the_mixture(seed: int) -> None:
    """T5, softem as it comes: started by k-means. Its variance is the blobs' own, 1."""
    points, clump = toy(seed)
    assert_mixture_found(points, train(replace(TOY, kmeans=True, restart=None), points, clump, 300, 1e-2, 256))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_a_learned_variance_finds_the_mixture_from_the_clump(seed: int) -> None:
    """T5 without k-means and restarts: the variance first swells until all codes meet, then lets them part."""
    points, clump = toy(seed)
    assert_mixture_found(points, train(TOY, points, clump, 6000, 5e-2, 256))
