"""vocoder_core.vq: what every quantiser promises, whatever it learns and however it hands gradients on."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
import torch

from vocoder_core import config as configs
from vocoder_core.vq import Quantizer, QuantizerConfig, quantizer
from vocoder_core.vq.estimators import rotation, straight_through
from vocoder_core.vq.kmeans import kmeans, squared_distances

KINDS = ["softem", "softem_seed", "ema", "sphere", "fsq"]
TABLES = KINDS[:-1]
SETTINGS = [*product(TABLES, ["straight_through", "rotation"]), ("fsq", "straight_through")]
SMALL = QuantizerConfig(size=12, dim=5, levels=(4, 3))


def layer(kind: str, estimator: str = "straight_through", **fields: object) -> Quantizer:
    torch.manual_seed(0)
    return quantizer(replace(SMALL, kind=kind, estimator=estimator, **fields))


def vectors(seed: int = 1, n: int = 40, scale: float = 1.0) -> torch.Tensor:
    """(3, 5, n)."""
    return scale * torch.randn(3, 5, n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_what_is_decoded(kind: str) -> None:
    """forward, encode and decode agree, to the bit, once nothing is learned; shapes and types are the promised ones."""
    model, x = layer(kind), vectors()
    model(x)
    model.eval()
    seen = model(x)
    assert seen.quantized.shape == x.shape and seen.quantized.dtype == torch.float32
    assert seen.codes.shape == (3, 40) and seen.codes.dtype == torch.int64
    assert 0 <= seen.codes.min() and seen.codes.max() < model.size == 12
    assert torch.equal(model.encode(x), seen.codes)
    assert torch.equal(model.decode(seen.codes), seen.quantized)
    assert {"perplexity", "used_fraction", "duplicates", "bits_per_code"} <= seen.stats.keys()
    for figure in [*seen.losses.values(), *seen.stats.values()]:
        assert figure.shape == () and figure.isfinite()
    assert not any(figure.requires_grad for figure in seen.stats.values())


@pytest.mark.parametrize("kind", TABLES)
def test_the_nearest_vector_is_taken(kind: str) -> None:
    """Against a loop in float64, with everything far from the origin, where |x|^2 + |e|^2 - 2 x e loses digits."""
    model = layer(kind, kmeans=False).eval()
    with torch.no_grad():
        if kind != "sphere":
            model.codebook += 300
    x = vectors() if kind == "sphere" else vectors() + 300
    table = model.table().double().detach()
    codes = model.encode(x)
    for b, n in product(range(3), range(40)):
        point = model.placed(x[b, :, n][None])[0].double()
        distance = (table - point).square().sum(1)
        assert distance[codes[b, n]] <= distance.min() * (1 + 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_does_not_reach_it(kind: str) -> None:
    """Under bf16 autocast the result is that of fp32; a bf16 input is taken as it is."""
    model, x = layer(kind).eval(), vectors()
    plain = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        cast, rough = model(x), model(x.bfloat16())
        decoded = model.decode(plain.codes)
    assert torch.equal(plain.quantized, cast.quantized) and torch.equal(plain.quantized, decoded)
    assert all(torch.equal(plain.losses[name], cast.losses[name]) for name in plain.losses)
    assert torch.equal(rough.codes, model.encode(x.bfloat16().float()))
    assert rough.quantized.dtype == torch.float32


@pytest.mark.parametrize("kind, estimator", SETTINGS)
@pytest.mark.parametrize("what", ["zeros", "half zeros", "one value", "tiny", "huge", "fewer than codes"])
def test_no_input_gives_nan(kind: str, estimator: str, what: str) -> None:
    """Silence, and whatever else an encoder may give: losses, gradients and the table stay finite over some steps."""
    x = vectors()
    x = {
        "zeros": x * 0, "half zeros": x * (torch.arange(40) < 20), "one value": x * 0 + 0.3,
        "tiny": x * 1e-30, "huge": x * 1e6, "fewer than codes": x[:1, :, :3],
    }[what]  # fmt: skip
    model = layer(kind, estimator)
    for _ in range(4):
        entered = x.clone().requires_grad_()
        seen = model(entered)
        loss = seen.quantized.square().sum() + sum(seen.losses.values())
        loss.backward()
        assert loss.isfinite() and entered.grad.isfinite().all()
        assert all(figure.isfinite() for figure in seen.stats.values()), seen.stats
        with torch.no_grad():
            for weight in model.parameters():
                assert weight.grad.isfinite().all()
                weight -= 1e-3 * weight.grad.clamp(-1, 1)
        model.after_step()
        assert all(tensor.isfinite().all() for tensor in model.state_dict().values())


@pytest.mark.parametrize("kind", ["softem", "softem_seed", "ema"])
def test_the_gradient_goes_straight_through(kind: str) -> None:
    """The value is the table's row, exactly; the decoder's gradient reaches the input as it is."""
    model, x = layer(kind, commitment=0.0).eval(), vectors().requires_grad_()
    seen = model(x)
    assert torch.equal(seen.quantized.transpose(1, 2), model.table()[seen.codes])
    wanted = vectors(2)
    (seen.quantized * wanted).sum().backward()
    assert torch.equal(x.grad, wanted)


@pytest.mark.parametrize("estimator", ["straight_through", "rotation"])
@pytest.mark.parametrize("kind", TABLES)
def test_the_decoder_teaches_the_table_where_it_is_meant_to(kind: str, estimator: str) -> None:
    """softem: the gradient of row k is the sum of what the decoder wants of its uses. ema, sphere: none."""
    model, x, wanted = layer(kind, estimator).eval(), vectors(), vectors(2)
    seen = model(x)
    (seen.quantized * wanted).sum().backward() if seen.quantized.requires_grad else None
    if kind not in ("softem", "softem_seed"):
        assert getattr(model.codebook, "grad", None) is None
        return
    expected = torch.zeros(12, 5)
    for b, n in product(range(3), range(40)):
        expected[seen.codes[b, n]] += wanted[b, :, n]
    torch.testing.assert_close(model.codebook.grad, expected)


def test_rotation_is_the_rotation_it_says() -> None:
    """Against the matrix: in an orthonormal basis of the plane of x and e, a turn by the angle between them, scaled."""
    x, e = vectors(3, 1)[:, :, 0].double().requires_grad_(), vectors(4, 1)[:, :, 0].double()
    wanted = vectors(5, 1)[:, :, 0].double()
    value = rotation(x, e)
    assert torch.equal(value, e)
    (value * wanted).sum().backward()
    for i in range(3):
        a, b = x[i].detach(), e[i]
        u = a / a.norm()
        v = b - (b @ u) * u
        v = v / v.norm()
        angle = torch.acos(u @ b / b.norm())
        plane = torch.stack([u, v], 1)
        turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
        matrix = torch.eye(5).double() + plane @ (turn - torch.eye(2).double()) @ plane.T
        torch.testing.assert_close(matrix @ u, b / b.norm())
        torch.testing.assert_close(x.grad[i], b.norm() / a.norm() * matrix.T @ wanted[i])


def test_rotation_where_there_is_nothing_to_turn() -> None:
    """Of a zero vector, and to one, the gradient is the straight one; of opposite vectors it is finite."""
    x = torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]], requires_grad=True)
    e = torch.tensor([[1.0, 1.0], [0.0, 0.0], [-1.0, 0.0]])
    rotation(x, e).sum().backward()
    assert torch.equal(x.grad[:2], torch.ones(2, 2)) and x.grad[2].isfinite().all()
    y = x.detach().clone().requires_grad_()
    straight_through(y, e).sum().backward()
    assert torch.equal(y.grad, torch.ones(3, 2))


def test_stats_are_those_of_the_codes() -> None:
    """perplexity, used fraction and bits against a loop; eval looks at its own codes and leaves the window alone."""
    model = layer("ema", kmeans=False, restart=0.0, decay=0.0)
    first, second = model(vectors(1)), model(vectors(2))
    count = [0] * 12
    for code in [*first.codes.flatten().tolist(), *second.codes.flatten().tolist()]:
        count[code] += 1
    part = torch.tensor([c / 240 for c in count if c], dtype=torch.float64)
    bits = -(part * part.log2()).sum()
    assert second.stats["bits_per_code"].item() == pytest.approx(bits.item(), rel=1e-5)
    assert second.stats["perplexity"].item() == pytest.approx(2 ** bits.item(), rel=1e-5)
    assert second.stats["used_fraction"].item() == pytest.approx(sum(c > 0 for c in count) / 12)
    one = model.eval()(vectors(1)[:, :, :1] * 0)
    assert one.stats["perplexity"].item() == pytest.approx(1) and one.stats["bits_per_code"].item() == 0
    again = model.train()(vectors(2))
    assert again.stats["used_fraction"] >= second.stats["used_fraction"]


def test_the_window_forgets() -> None:
    """A code used once counts for 100 passes at least, for 200 at most."""
    model = layer("ema", kmeans=False, restart=0.0)
    model(vectors())
    silence = torch.zeros(1, 5, 4)
    used = [float(model(silence).stats["used_fraction"]) for _ in range(200)]
    assert used[98] > 1 / 12 and used[199] == pytest.approx(1 / 12)


def test_codes_that_coincide_are_counted() -> None:
    model = layer("softem_seed").eval()
    with torch.no_grad():
        model.codebook[:] = torch.randn(12, 5)
        model.codebook[3:6] = model.codebook[3] + 1e-6
    assert model(vectors()).stats["duplicates"] == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_keeps_what_it_must(kind: str) -> None:
    """Loaded weights go on as the first ones would have, to the bit; the window of the stats is not among them."""
    one = layer(kind, restart=0.05 if kind != "fsq" else None)
    for seed in range(3):
        one(vectors(seed))
    other = quantizer(one.config)
    other.load_state_dict(one.state_dict())
    assert not [name for name in one.state_dict() if "recent" in name]
    for model in (one, other):
        torch.manual_seed(5)
        model(vectors(9))
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.parametrize("kind", ["softem", "sphere"])
def test_two_passes_in_one_step_have_their_gradients(kind: str) -> None:
    """A restart in the second pass does not invalidate what the first one kept."""
    model = layer(kind, restart=0.9, decay=0.5)
    first = model(vectors(1))
    second = model(vectors(2))
    sum([*first.losses.values(), *second.losses.values()]).backward()
    assert model.codebook.grad.isfinite().all()


def test_kmeans_ends_where_no_point_would_change() -> None:
    """Lloyd's fixed point: each centre is the mean of the points nearest to it; one without points has not moved."""
    torch.manual_seed(0)
    points, far = torch.randn(300, 3), torch.full((1, 3), 1e3)
    centres = kmeans(points, 5, 100, torch.cat([points[:4], far]))
    codes = squared_distances(points, centres).argmin(-1)
    for k in range(4):
        torch.testing.assert_close(centres[k], points[codes == k].mean(0), rtol=1e-4, atol=1e-5)
    assert torch.equal(centres[4:], far)
    spread = kmeans(points, 40, 0)
    assert len(torch.unique(spread, dim=0)) == 40 and (squared_distances(points, spread).amin(0) < 1e-5).all()


def test_mistakes_are_named() -> None:
    model = layer("ema")
    with pytest.raises(ValueError, match=r"shape \(3, 4, 7\); expected floating point \(B, 5, N\)"):
        model(torch.zeros(3, 4, 7))
    with pytest.raises(ValueError, match="codes from 0 to 12; expected 0 to 11"):
        model.decode(torch.tensor([[0, 12]]))
    with pytest.raises(ValueError, match="expected integers"):
        model.decode(torch.zeros(1, 2))
    for key, value in {"size": 1, "decay": 1.0, "restart": 2.0, "variance": 0.0, "commitment": -1.0}.items():
        with pytest.raises(configs.ConfigError, match=f"quantizer.{key}"):
            configs.load(QuantizerConfig, overrides=[f"{key}={value}"])
    with pytest.raises(ValueError, match="each 3 or more"):
        QuantizerConfig(kind="fsq", levels=(8, 2))
    with pytest.raises(ValueError, match="rotation for fsq"):
        QuantizerConfig(kind="fsq", estimator="rotation")
    with pytest.raises(ValueError, match="two steps"):
        QuantizerConfig(ramp=(5, 2))


@pytest.mark.parametrize("kind", KINDS)
def test_its_config_is_written_and_read_back(kind: str, tmp_path) -> None:
    """With None and with numbers in it."""
    for config in (QuantizerConfig(kind=kind), QuantizerConfig(kind=kind).resolved()):
        (tmp_path / "config.yaml").write_text(configs.dump(config))
        assert configs.load(QuantizerConfig, tmp_path / "config.yaml") == config
