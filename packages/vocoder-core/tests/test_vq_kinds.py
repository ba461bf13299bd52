"""Each kind of quantiser against its formulas: loops, closed forms, and what it is known to get wrong elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer
from vocoder_core.vq.sphere import on_sphere

SMALL = QuantizerConfig(size=7, dim=5, kmeans=False, restart=0.0)


def layer(kind: str, **fields: object) -> Quantizer:
    torch.manual_seed(0)
    return quantizer(replace(SMALL, kind=kind, **fields)).double()


def vectors(seed: int = 1, n: int = 20) -> torch.Tensor:
    """(2, 5, n) float64."""
    return torch.randn(2, 5, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(x: torch.Tensor) -> torch.Tensor:
    return x.transpose(1, 2).reshape(-1, x.shape[1])


@pytest.mark.parametrize("variance", [1.0, 5.0, 0.1])
def test_the_likelihoods_gradient_is_the_m_steps(variance: float) -> None:
    """T1, Fisher's identity: d/de of -logsumexp is d/de of sum_k q_k d_k with q held constant, to 1e-12."""
    model, x = layer("softem_seed", variance=variance, codebook=1.0), vectors()
    model(x).losses["codebook"].backward()
    table = model.codebook.detach().clone().requires_grad_()
    half = torch.cdist(rows(x), table).square() / (2 * variance)
    ((-half).softmax(-1).detach() * half).sum(-1).mean().backward()
    assert (model.codebook.grad - table.grad).abs().max() < 1e-12


def test_softem_seed_is_the_original() -> None:
    """Its three terms in a loop: beta |x - e|^2 and gamma sum_k q_k |x - e_k|^2 / 2, sums over D; Glorot's table."""
    model, x = layer("softem_seed"), vectors()
    seen = model(x)
    table, commitment, em = model.codebook.detach(), 0.0, 0.0
    for b, n in product(range(2), range(20)):
        square = (x[b, :, n] - table).square().sum(1)
        q = torch.exp(-square / 2) / torch.exp(-square / 2).sum()
        commitment += 0.01 * square.min() / 40
        em += (q * square / 2).sum() / 40
    torch.testing.assert_close(seen.losses["commitment"], commitment)
    torch.testing.assert_close(seen.stats["em"], em)
    drawn, limit = quantizer(QuantizerConfig(kind="softem_seed", size=512, dim=144)).codebook.detach(), (6 / 656) ** 0.5
    assert 0.99 * limit < drawn.abs().max() <= limit and drawn.std().item() == pytest.approx(limit / 3**0.5, rel=0.01)


def test_softem_is_the_likelihood_of_the_mixture() -> None:
    """Its codebook loss is torch's own mixture density, per dimension and but for the constant; its softness too."""
    model, x = layer("softem", variance=0.3, codebook=2.0), vectors()
    seen = model(x)
    v = torch.tensor(0.3, dtype=torch.float64)
    parts = torch.distributions.Independent(torch.distributions.Normal(model.codebook, v.sqrt()), 1)
    weights = torch.distributions.Categorical(torch.ones(7, dtype=torch.float64))
    density = torch.distributions.MixtureSameFamily(weights, parts).log_prob(rows(x))
    constant = torch.tensor(7.0).log() / 5 + torch.tensor(2 * torch.pi, dtype=torch.float64).log() / 2
    torch.testing.assert_close(seen.losses["codebook"], 2 * (-density.mean() / 5 - constant), rtol=1e-6, atol=1e-6)
    q = (parts.log_prob(rows(x)[:, None])).softmax(-1)
    torch.testing.assert_close(seen.stats["open_bits"], -(q * q.log2()).sum(-1).mean())
    error = (rows(x) - model.codebook[seen.codes.flatten()]).square().mean()
    torch.testing.assert_close(seen.losses["commitment"], 0.25 * error)


def test_softem_learns_its_variance() -> None:
    """With the table held, gradient descent ends at E q |x - e|^2 / D, the closed form."""
    model, x = layer("softem", variance=3.0), vectors()
    model.codebook.requires_grad_(False)
    optimizer = torch.optim.Adam([model.log_variance], 0.1)
    for _ in range(150):
        optimizer.zero_grad()
        model(x).losses["codebook"].backward()
        optimizer.step()
    square = torch.cdist(rows(x), model.codebook).square()
    q = (square / (-2 * model.variance())).softmax(-1)
    torch.testing.assert_close(model.variance(), (q * square).sum(-1).mean() / 5, rtol=1e-3, atol=0)


@pytest.mark.parametrize("n", [4000, 30, 3])
def test_softem_starts_at_a_variance_that_holds_for_other_batches(n: int) -> None:
    """After k-means on many points or few that of the noise about 7 centres; with too few points that of all."""
    torch.manual_seed(0)
    centres = 6 * torch.randn(7, 5, dtype=torch.float64)
    x = (centres[torch.arange(n) % 7] + torch.randn(n, 5, dtype=torch.float64)).T[None]
    model = layer("softem", kmeans=True)
    model(x)
    if n > 7:
        assert model.variance().item() == pytest.approx(1, rel=0.35)
    else:
        spread = (rows(x) - rows(x).mean(0)).square().sum(-1).mean()
        torch.testing.assert_close(model.variance(), spread / 5)


def test_ema_is_the_moving_average() -> None:
    """Counts and sums in a loop over three batches; where codes are in use eps is beneath notice."""
    model = layer("ema", decay=0.9)
    table = model.codebook.clone()
    counts = sums = None
    for seed in range(3):
        x = vectors(seed, 200)
        codes = torch.cdist(rows(x), table).argmin(-1)
        one = torch.stack([(codes == k).sum() for k in range(7)]).double()
        total = torch.stack([rows(x)[codes == k].sum(0) for k in range(7)])
        if counts is None:
            counts, sums = one, table * one[:, None]  # the first batch says how much the first table weighs
        counts, sums = 0.9 * counts + 0.1 * one, 0.9 * sums + 0.1 * total
        assert torch.equal(model(x).codes.flatten(), codes)
        table = sums / counts[:, None]
        torch.testing.assert_close(model.codebook, table, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.counts, counts)


def test_an_unused_code_of_ema_stays_where_it_is() -> None:
    """With eps in the count alone its vector drifts to the origin once its count has decayed to eps."""
    model = layer("ema", decay=0.5)
    model.codebook[3] = 50.0
    before = model.codebook[3].clone()
    for seed in range(60):
        model(vectors(seed))
    torch.testing.assert_close(model.codebook[3], before)


def test_a_restart_begins_with_an_encoding_and_its_own_statistics() -> None:
    """After enough passes without use: a row of that batch; and it stays where encodings are, not on the way back."""
    model = layer("ema", decay=0.9, restart=0.05)
    model.codebook[3] = 50.0
    model.sums.copy_(model.codebook)  # with a count of 1 each, of which little is left by then, and of 50 enough
    model.initialised.fill_(1)
    for seed in range(28):
        model(vectors(seed))
    assert (model.codebook[3] > 49.9).all() and model.share[3] > 0.05
    for seed in range(28, 33):
        model(vectors(seed))
    assert model.codebook[3].norm() < 5 and model.share[3] > 0.5


@pytest.mark.parametrize("kind", ["softem", "ema", "sphere", "softem_seed"])
def test_a_batch_that_is_not_finite_starts_and_restarts_nothing(kind: str) -> None:
    """The trainer undoes the buffers of such a step; parameters must not have taken anything of it."""
    model = layer(kind, kmeans=True, restart=0.9, decay=0.5)
    bad = vectors()
    bad[:, :, 1:] = torch.nan
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    model(bad)
    model.load_state_dict({**saved, "codebook": saved["codebook"] if kind == "ema" else model.codebook.detach()})
    assert int(model.initialised) == 0 and model.codebook.isfinite().all()
    model(vectors())
    assert int(model.initialised) == 1
    for _ in range(3):
        kept = [buffer.clone() for buffer in model.buffers()]
        model(bad)
        for buffer, value in zip(model.buffers(), kept):
            buffer.copy_(value)
        assert model.codebook.isfinite().all()


def test_sphere_is_the_original() -> None:
    """Norms, the three penalties summed over D, and the gradient through the projection, against the formulas."""
    model, x0 = layer("sphere", ramp=(0, 0)), 3 * vectors()
    norm = 0.06 * 5**0.5
    torch.testing.assert_close(model.codebook.norm(dim=1), torch.full((7,), norm, dtype=torch.float64))
    entered = x0.clone().requires_grad_()
    seen = model(entered)
    placed = rows(x0) / rows(x0).norm(dim=1, keepdim=True) * norm
    e = model.codebook[torch.cdist(placed, model.codebook).argmin(-1)].detach()
    torch.testing.assert_close(rows(seen.quantized), e)
    torch.testing.assert_close(seen.losses["codebook"], (placed - e).square().sum(1).mean())
    torch.testing.assert_close(seen.losses["commitment"], 0.01 * (placed - e).square().sum(1).mean())
    torch.testing.assert_close(seen.losses["norm"], 0.01 * (placed - rows(x0)).square().sum(1).mean())
    wanted = vectors(7)
    (seen.quantized * wanted).sum().backward()
    other = x0.clone().requires_grad_()
    (norm * other / other.norm(dim=1, keepdim=True) * wanted).sum().backward()
    torch.testing.assert_close(entered.grad, other.grad)


def test_sphere_raises_the_commitment_over_its_ramp() -> None:
    """w = 0.01 min(1, max(0.1, step / 1000 - 1)): 0.001 up to step 1100, 0.01 from step 2000; kept in checkpoints."""
    model = layer("sphere")
    assert model.config.ramp == (1000, 2000)
    for step in (0, 1, 900, 1100, 1500, 1999, 2000, 10_000):
        model.steps.fill_(step)
        assert float(model.commitment()) == pytest.approx(0.01 * min(1, max(0.1, step / 1000 - 1)), rel=1e-6)
    model.steps.fill_(41)
    model(vectors())
    assert int(model.state_dict()["steps"]) == 42
    model.eval()(vectors())
    assert int(model.steps) == 42


def test_sphere_returns_to_the_sphere_after_each_step() -> None:
    """An update leaves it; forward looks at the projection all the same, and after_step stores it."""
    model = layer("sphere")
    with torch.no_grad():
        model.codebook *= torch.rand(7, 1, dtype=torch.float64) + 0.5
    away, before = model.codebook.detach().clone(), model.eval().encode(vectors())
    model.after_step()
    assert not torch.allclose(model.codebook, away)
    torch.testing.assert_close(model.codebook.norm(dim=1), torch.full((7,), model.norm, dtype=torch.float64))
    assert torch.equal(model.encode(vectors()), before)
    assert torch.equal(on_sphere(torch.zeros(1, 5), 1.0), torch.zeros(1, 5))


@pytest.mark.parametrize("levels", [(8, 5, 5, 5), (4, 3), (7,)])
def test_fsq_rounds_as_its_paper_says(levels: tuple[int, ...]) -> None:
    """Each channel in a loop of scalars; codes are a mixed-radix number; every code is reached and means one vector."""
    model = quantizer(QuantizerConfig(kind="fsq", dim=len(levels), levels=levels)).double()
    x = 2 * torch.randn(1, len(levels), 300, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    seen = model(x)
    for n in range(300):
        code, place = 0, 1
        for channel, count in enumerate(levels):
            h, o = (count - 1) * 1.001 / 2, 0.5 if count % 2 == 0 else 0.0
            z = x[0, channel, n]
            level = round(float(torch.tanh(z + torch.atanh(torch.tensor(o / h, dtype=torch.float64))) * h - o))
            assert float(seen.quantized[0, channel, n]) == pytest.approx(level / (count // 2))
            code, place = code + (level + count // 2) * place, place * count
        assert seen.codes[0, n] == code
    every = model.decode(torch.arange(model.size)[None])
    assert len(torch.unique(every[0].T, dim=0)) == model.size and every.abs().max() <= 1
    assert not seen.losses


def test_fsq_leads_to_its_channels_and_back() -> None:
    """Where D is not their number; the gradient passes the rounding."""
    model = quantizer(QuantizerConfig(kind="fsq", dim=5, levels=(8, 5, 5)))
    x = torch.randn(2, 5, 9, requires_grad=True)
    seen = model(x)
    assert seen.quantized.shape == (2, 5, 9) and model.size == 200
    seen.quantized.square().sum().backward()
    assert x.grad.abs().min() > 0 and model.enter.weight.grad.abs().max() > 0
