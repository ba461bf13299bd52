"""The flow in all its ways: invertible, its log-determinant that of its Jacobian, stable where others are not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

from vocoder_core.mel import log_mel
from vocoder_core.mel_presets import PRESETS
from waveglow_vq.flow import Flow, FlowConfig, Flowed
from waveglow_vq.mixing import Mixing, TriangularMixing, rotation
from waveglow_vq.periodicity import Periodicity, PeriodicityConfig
from waveglow_vq.whiten import Whiten, WhitenConfig

BANDS, STRIDE = 3, 16
PLAIN = FlowConfig(
    group=4, flows=3, layers=2, channels=6, early_every=2, early_size=2, prenet=0, subframes=1, film=False
)
WAYS: dict[str, FlowConfig] = {
    "frame": PLAIN,
    "group": replace(PLAIN, cond="group"),
    "free log-scales": replace(PLAIN, log_scale_bound=0.0),
    "film": replace(PLAIN, film=True),
    "prenet": replace(PLAIN, prenet=5, subframes=2),
    "lu": replace(PLAIN, mixing="lu"),
    "swapped halves": replace(PLAIN, swap_odd=True),
    "no early channels": replace(PLAIN, early_size=0),
    "no weight norm": replace(PLAIN, weight_norm=False),
    "all": replace(PLAIN, film=True, prenet=5, subframes=2, mixing="lu", swap_odd=True),
}


def flow(config: FlowConfig, dtype: torch.dtype = torch.float64, speaker: int = 0, seed: int = 0) -> Flow:
    """Trained a little, as it were: no parameter at zero, mixings no rotations."""
    torch.manual_seed(seed)
    made = Flow(config, BANDS, 1 if config.cond == "group" else STRIDE, speaker)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.to(dtype)


def inputs(
    config: FlowConfig, samples: int = 2 * STRIDE, dtype: torch.dtype = torch.float64, rows: int = 2
) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    columns = samples if config.cond == "group" else samples // STRIDE
    wav = torch.randn(rows, samples, generator=draw, dtype=torch.float64)
    return wav.to(dtype), torch.randn(rows, BANDS, columns, generator=draw, dtype=torch.float64).to(dtype)


def jacobian(function: Any, wav: Tensor) -> Tensor:
    """log |det d function(wav) / d wav| of one row (1, T)."""
    full = torch.autograd.functional.jacobian(lambda x: function(x[None]).flatten(), wav[0], vectorize=True)
    return torch.linalg.slogdet(full).logabsdet


# ---- what makes it a flow


@pytest.mark.parametrize("speaker", [0, 3])
@pytest.mark.parametrize("way", WAYS)
def test_the_log_determinant_is_that_of_the_jacobian(way: str, speaker: int) -> None:
    net = flow(WAYS[way], speaker=speaker)
    wav, condition = inputs(WAYS[way])
    who = torch.randn(2, speaker, dtype=torch.float64) if speaker else None
    told = net(wav, condition, who).log_det()
    assert told.std() > 1e-3, "rows differ"
    for i in range(2):
        own = who[i : i + 1] if who is not None else None
        found = jacobian(lambda x, i=i, own=own: net(x, condition[i : i + 1], own).z, wav[i : i + 1])
        assert float(told[i].detach()) == pytest.approx(float(found), abs=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
@pytest.mark.parametrize("way", WAYS)
def test_the_inverse_undoes_the_flow_and_the_flow_the_inverse(way: str, dtype: torch.dtype, tolerance: float) -> None:
    net = flow(WAYS[way], dtype, speaker=3)
    wav, condition = inputs(WAYS[way], 20 * STRIDE, dtype)
    who = torch.randn(2, 3).to(dtype)
    with torch.no_grad():
        z = net(wav, condition, who).z
        assert (z - net(wav, condition, 0 * who).z).abs().max() > 0.01, "it hears who speaks"
        assert (z - wav.unflatten(1, (-1, 4)).transpose(1, 2)).abs().max() > 0.5, "it does something"
        assert (net.inverse(z, condition, who) - wav).abs().max() < tolerance
        assert (net(net.inverse(z, condition, who), condition, who).z - z).abs().max() < tolerance


def test_whitening_in_front_of_it_counts_too() -> None:
    """The likelihood of a wave is that of the whole map's Jacobian: whitening is a flow like the others."""
    mel = replace(PRESETS["asr16"], sample_rate=8000, n_fft=128, win_length=128, hop_length=32, n_mels=8, fmax=None)
    wav = torch.randn(1, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    heard = log_mel(wav, mel)
    whiten = Whiten(WhitenConfig(order=4, block=16), mel).double()
    excitation, told = whiten(wav, heard)
    assert float(told[0]) == pytest.approx(float(jacobian(lambda x: whiten(x, heard)[0], wav)), abs=1e-9)
    assert abs(float(told[0])) > 1
    assert (whiten.inverse(excitation, heard) - wav).abs().max() < 1e-10


def test_periodicity_in_front_of_it_counts_too() -> None:
    """What lies some periods back tells shift and scale: a triangular Jacobian, whose diagonal is the scale."""
    mel = replace(PRESETS["asr16"], sample_rate=800, n_fft=32, win_length=32, hop_length=16, n_mels=4, fmax=None)
    config = PeriodicityConfig(envelopes=2, lowest_hz=40, highest_hz=160, width=6, block=8)
    torch.manual_seed(0)
    periodicity = Periodicity(config, mel).double()
    with torch.no_grad():
        for parameter in periodicity.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    wav, heard = torch.randn(2, 64, dtype=torch.float64), torch.randn(2, 4, 4, dtype=torch.float64)
    r, told = periodicity(wav, heard)
    for i in range(2):
        found = jacobian(lambda x, i=i: periodicity(x, heard[i : i + 1])[0], wav[i : i + 1])
        assert float(told[i].detach()) == pytest.approx(float(found), abs=1e-9)
    assert told.abs().min() > 0.1
    assert (periodicity.inverse(r, heard) - wav).abs().max() < 1e-10


def test_early_channels_come_first_and_see_fewer_flows() -> None:
    """z[:, :2] leaves before the third flow: what that one does changes the rest alone."""
    net, (wav, condition) = flow(PLAIN), inputs(PLAIN)
    before = net(wav, condition).z
    with torch.no_grad():
        net.mixings[2].weight.mul_(1.5)
    changed = (net(wav, condition).z - before).abs().amax(dim=(0, 2)) > 0
    assert changed.tolist() == [False, False, True, True]


# ---- mixings


@pytest.mark.parametrize("size", [2, 4, 8, 16])
def test_lu_is_dense_in_other_coordinates(size: int) -> None:
    """The same matrix gives the same flow; its log-determinant is the sum that stands in it."""
    torch.manual_seed(size)
    lu = TriangularMixing(size)
    with torch.no_grad():
        for parameter in lu.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    dense = Mixing(size)
    matrix, told = lu.double().matrix()
    with torch.no_grad():
        dense.double().weight.copy_(matrix)
    again, found = dense.matrix()
    assert torch.equal(again, matrix)
    assert float(told.detach()) == pytest.approx(float(found.detach()), abs=1e-10)
    assert abs(float(told.detach())) > 0.1


def test_a_flow_with_lu_is_one_with_dense_matrices() -> None:
    lu, dense = flow(WAYS["lu"]), flow(PLAIN)
    wav, condition = inputs(PLAIN)
    state = {name: tensor for name, tensor in lu.state_dict().items() if not name.startswith("mixings.")}
    state |= {f"mixings.{k}.weight": mixing.matrix()[0].detach() for k, mixing in enumerate(lu.mixings)}
    dense.load_state_dict(state)
    one, other = lu(wav, condition), dense(wav, condition)
    assert torch.allclose(one.z, other.z, atol=1e-12)
    assert torch.allclose(one.log_det(), other.log_det(), atol=1e-10)


@pytest.mark.parametrize("kind", [Mixing, TriangularMixing])
def test_a_new_mixing_is_a_rotation(kind: type[Mixing]) -> None:
    for seed in range(8):
        torch.manual_seed(seed)
        matrix, log_det = kind(8).double().matrix()
        assert torch.allclose(matrix @ matrix.T, torch.eye(8).double(), atol=1e-5)
        assert float(torch.linalg.det(matrix).detach()) == pytest.approx(1, abs=1e-5)
        assert abs(float(log_det.detach())) < 1e-5
    assert float(torch.linalg.det(rotation(5))) == pytest.approx(1, abs=1e-5)


def test_a_mirror_image_has_a_likelihood_and_a_gradient() -> None:
    """Public code takes the log of the determinant itself, which is NaN as soon as training crosses zero."""
    net, (wav, condition) = flow(PLAIN), inputs(PLAIN)
    with torch.no_grad():
        for mixing in net.mixings:
            mixing.weight[0] *= -1.0 if torch.linalg.det(mixing.weight) > 0 else 1.0
            assert torch.linalg.det(mixing.weight) < 0 and torch.logdet(mixing.weight).isnan()
    made = net(wav, condition)
    found = jacobian(lambda x: net(x, condition[:1]).z, wav[:1])
    assert float(made.log_det()[0].detach()) == pytest.approx(float(found), abs=1e-9)
    loss(made).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())
    assert (net.inverse(made.z, condition) - wav).abs().max() < 1e-10


def test_lu_cannot_become_singular_and_dense_says_so() -> None:
    """A dense matrix that has lost a dimension has no likelihood: the loss is infinite, never quietly wrong."""
    net, (wav, condition) = flow(PLAIN), inputs(PLAIN)
    with torch.no_grad():
        net.mixings[1].weight[0] = 0
    assert float(loss(net(wav, condition)).detach()) == torch.inf
    with pytest.raises(RuntimeError, match="singular"):
        net.inverse(net(wav, condition).z, condition)
    triangular = flow(WAYS["lu"])
    with torch.no_grad():
        triangular.mixings[1].log_diagonal[0] = -60.0
    made = triangular(wav, condition)
    loss(made).backward()
    assert float(loss(made).detach()) < 100
    assert all(p.grad is None or p.grad.isfinite().all() for p in triangular.parameters())


# ---- where it begins, and how it goes on


def loss(made: Flowed) -> Tensor:
    total: Tensor = ((made.z.square().sum(dim=(1, 2)) / 2 - made.log_det()) / made.z[0].numel()).mean()
    return total


@pytest.mark.parametrize("way", ["frame", "group", "film", "prenet", "lu"])
def test_a_new_flow_is_a_rotation_of_the_wave(way: str) -> None:
    """Couplings and films begin at zero: the loss is half the wave's power, whatever the condition."""
    config = WAYS[way]
    torch.manual_seed(0)
    net = Flow(config, BANDS, 1 if config.cond == "group" else STRIDE).double()
    wav, condition = inputs(config, 64 * STRIDE)
    made = net(0.3 * wav, condition)
    assert float(loss(made).detach()) == pytest.approx(0.5 * float((0.3 * wav).square().mean()), abs=1e-7)
    assert made.log_det().abs().max() < 1e-6 * wav.shape[1]
    norms = made.z.square().sum(1), (0.3 * wav).unflatten(1, (-1, 4)).square().sum(2)
    assert torch.allclose(*norms, atol=1e-6)


def test_weight_norm_begins_as_no_weight_norm() -> None:
    """g = ||v|| as torch has it; the seed's g was drawn by itself, and its layers began 15 times too weak."""
    net = Flow(PLAIN, BANDS, STRIDE)
    layers = [m for m in net.modules() if parametrize.is_parametrized(m)]
    assert len(layers) == 3 * (1 + 2 + 2) + 3
    for layer in layers:
        held = layer.parametrizations["weight"]  # type: ignore[index]
        assert torch.allclose(held.original0, held.original1.norm(dim=1, keepdim=True), rtol=1e-5)


def test_removing_weight_norm_changes_nothing_but_the_names() -> None:
    net, (wav, condition) = flow(WAYS["all"], torch.float32), inputs(PLAIN, dtype=torch.float32)
    before = net(wav, condition)
    for layer in [m for m in net.modules() if parametrize.is_parametrized(m)]:
        parametrize.remove_parametrizations(layer, "weight")
    plain = flow(replace(WAYS["all"], weight_norm=False), torch.float32)
    plain.load_state_dict(net.state_dict())
    for same in (net, plain):
        after = same(wav, condition)
        assert torch.equal(after.z, before.z)
        assert torch.equal(after.log_det(), before.log_det())


def test_new_weights_have_a_new_inverse() -> None:
    """NVIDIA's layer keeps the inverse it made first: after load_state_dict it undoes another network."""
    net, (wav, condition) = flow(PLAIN), inputs(PLAIN)
    z = net(wav, condition).z
    assert (net.inverse(z, condition) - wav).abs().max() < 1e-10
    net.load_state_dict(flow(PLAIN, seed=5).state_dict())
    assert (net.inverse(z, condition) - wav).abs().max() > 0.1
    assert (net.inverse(net(wav, condition).z, condition) - wav).abs().max() < 1e-10
    single = net.float()
    assert (
        single.inverse(z.float(), condition.float()).double() - net.double().inverse(z, condition)
    ).abs().max() < 0.01


@pytest.mark.parametrize("way", ["frame", "all"])
def test_gradients_are_those_of_differences(way: str) -> None:
    net = flow(WAYS[way], speaker=2)
    wav, condition = inputs(WAYS[way], rows=1)
    who = torch.randn(1, 2, dtype=torch.float64)

    def value(wav: Tensor, condition: Tensor, who: Tensor) -> Tensor:
        return loss(net(wav, condition, who))

    assert torch.autograd.gradcheck(value, [t.requires_grad_() for t in (wav, condition, who)], atol=1e-6)
    names = [name for name, p in net.named_parameters() if not _changes(net, p, lambda: value(wav, condition, who))]
    # triangles that a mask keeps out
    assert all(name.endswith((".lower", ".upper")) for name in names), names


def _changes(net: Flow, parameter: nn.Parameter, value: Any) -> bool:
    """Whether one step along the gradient changes the loss by what the gradient says."""
    net.zero_grad()
    before = value()
    before.backward()
    step = 1e-6 * parameter.grad / parameter.grad.norm().clamp(min=1e-12)  # type: ignore[union-attr,operator]
    with torch.no_grad():
        parameter.add_(step)
        after = value()
        parameter.sub_(step)
    told = float((step * parameter.grad).sum())  # type: ignore[operator]
    assert float((after - before).detach()) == pytest.approx(told, rel=1e-3, abs=1e-12)
    return told != 0


@pytest.mark.parametrize("way", ["frame", "film", "all"])
def test_couplings_in_bfloat16_leave_the_wave_and_its_likelihood_in_float32(way: str) -> None:
    net, (wav, condition) = flow(WAYS[way], torch.float32), inputs(PLAIN, 64 * STRIDE, torch.float32)
    exact = net(wav, condition)
    with torch.autocast("cpu", torch.bfloat16):
        made = net(wav, condition)
    tensors: Sequence[Tensor] = (made.z, *made.log_scales, *made.log_dets)
    assert {tensor.dtype for tensor in tensors} == {torch.float32}
    assert torch.equal(torch.stack(made.log_dets), torch.stack(exact.log_dets))
    assert 1e-5 < float((loss(made) - loss(exact)).detach().abs()) < 0.05


# ---- the network by itself


def test_wn_is_nvidias_sum_of_gated_dilated_convolutions() -> None:
    """Against a slow loop over samples."""
    net = flow(replace(PLAIN, kernel=3, layers=3))
    wn, channels = net.couplings[0], 6
    half = torch.randn(1, 9, 2, dtype=torch.float64)
    condition = torch.randn(1, 9, 3, 12, dtype=torch.float64)
    x, skips = half[0] @ wn.start.weight.T + wn.start.bias, 0
    for i in range(3):
        weight = wn.dilated[i].weight.view(12, 3, channels)
        raw = torch.zeros(9, 12, dtype=torch.float64)
        for t in range(9):
            for tap in range(3):
                at = t + (tap - 1) * 2**i
                if 0 <= at < 9:
                    raw[t] += weight[:, tap] @ x[at]
        raw = raw + wn.dilated[i].bias + condition[0, :, i]
        out = F.linear(raw[:, :6].tanh() * raw[:, 6:].sigmoid(), wn.res_skip[i].weight, wn.res_skip[i].bias)
        skips = skips + out[:, -channels:]
        x = x + out[:, :channels]
    shift, log_scale = (skips @ wn.end.weight.T + wn.end.bias).chunk(2, dim=1)
    found = wn(half, condition)
    assert torch.allclose(found[0][0], shift, atol=1e-12)
    assert torch.allclose(found[1][0], log_scale, atol=1e-12)
