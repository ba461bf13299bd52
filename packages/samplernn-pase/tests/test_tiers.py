"""The three tiers against loops of single steps in numpy: what each step reads, what it gives, how weights begin."""

from __future__ import annotations

from math import sqrt

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from samplernn_pase.tiers import FrameTier, SampleTier, Spread, frames_of

SIZE, CONDS, TAPS, CLASSES, EMBEDDING = 12, 5, 4, 16, 3
NORMED = pytest.mark.parametrize("normed", [False, True], ids=["plain", "normed"])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def moved(tier: nn.Module, seed: int = 7) -> nn.Module:
    """With no weight at zero, and no direction as long as another."""
    draw = torch.Generator().manual_seed(seed)
    for parameter in tier.parameters():
        parameter.data = 0.5 * torch.randn(parameter.shape, generator=draw)
    return tier.eval()


def frame_tier(frame: int = 8, ratio: int = 4, normed: bool = False) -> FrameTier:
    made = moved(FrameTier(frame, ratio, CONDS, SIZE, normed))
    assert isinstance(made, FrameTier)
    return made


def sample_tier(concat: bool = True, normed: bool = False, told: int = 0, values: int = 0) -> SampleTier:
    made = moved(SampleTier(
        TAPS, CLASSES, EMBEDDING, CONDS, SIZE, told=told, values=values, concat=concat, normed=normed
    ))  # fmt: skip
    assert isinstance(made, SampleTier)
    return made


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def cell(rnn: nn.GRU, x: np.ndarray, h: np.ndarray) -> np.ndarray:
    """One step of a GRU (Cho et al. 2014, PyTorch's variant: the candidate's bias inside the reset)."""
    w, u, b, c = (each.detach().numpy() for each in rnn.all_weights[0])
    (xr, xz, xn), (hr, hz, hn) = np.split(w @ x + b, 3), np.split(u @ h + c, 3)
    z = sigmoid(xz + hz)
    return (1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h


def weight_of(layer: nn.Module) -> np.ndarray:
    """Of a layer with weight norm, by its definition: g v / |v|, the norm over all but the first dimension."""
    if not hasattr(layer, "parametrizations"):
        return layer.weight.detach().numpy()  # type: ignore[operator, return-value]
    g, v = (each.detach().numpy() for each in layer.parametrizations.weight.parameters())  # type: ignore[union-attr]
    return g * v / np.sqrt((v**2).sum(axis=tuple(range(1, v.ndim)), keepdims=True))


def linear(layer: nn.Module, x: np.ndarray) -> np.ndarray:
    bias = 0 if layer.bias is None else layer.bias.detach().numpy()  # type: ignore[operator, union-attr]
    return weight_of(layer) @ x + bias


def transposed(spread: Spread, hidden: Tensor) -> np.ndarray:
    """The public network's upsampler: a transposed convolution without a bias, and a bias for each place."""
    _, ratio, size = spread.weight.shape
    layer = nn.ConvTranspose1d(SIZE, size, ratio, stride=ratio, bias=False)
    layer.weight.data = torch.from_numpy(weight_of(spread)).transpose(1, 2).contiguous()
    made = layer(hidden.transpose(1, 2)).transpose(1, 2)
    return (made + spread.bias.repeat(hidden.shape[1], 1)).detach().numpy()


@NORMED
def test_upsampling_is_a_transposed_convolution_with_a_bias_for_each_place(normed: bool) -> None:
    tier = frame_tier(ratio=5, normed=normed)
    x = drawn(2, 6, SIZE)
    assert np.allclose(tier.spread(x).detach(), transposed(tier.spread, x), atol=1e-5)


@NORMED
@pytest.mark.parametrize("channels", [1, 2])
def test_a_frame_tier_is_a_loop_of_single_steps(normed: bool, channels: int) -> None:
    """Step i reads the 8 samples before sample 8 i after `before`, its conds, the upper tier's vector, its state."""
    frame, steps, before = 8, 5, 11
    tier = frame_tier(frame * channels, 4, normed)
    wave, conds, upper = drawn(2, channels, before + frame * steps), drawn(2, steps, CONDS), drawn(2, steps, SIZE)
    first = drawn(1, 2, SIZE)
    read = frames_of(wave, frame, before, frame * steps)
    made, state = tier(read, conds, upper, first)
    for row in range(2):
        h, hidden = first[0, row].numpy(), []
        for i in range(steps):
            at = before + frame * i
            past = np.concatenate([wave[row, c, at - frame : at].numpy() for c in range(channels)])
            x = linear(tier.expand, past) + linear(tier.conds, conds[row, i].numpy()) + upper[row, i].numpy()
            h = cell(tier.rnn, x, h)
            hidden.append(h)
        expected = transposed(tier.spread, torch.from_numpy(np.stack(hidden))[None].float())[0]
        assert np.allclose(made[row].detach(), expected, atol=2e-5)
        assert np.allclose(state[0, row].detach(), h, atol=1e-5)


def test_its_recurrence_is_torchs_gru() -> None:
    """As it runs on a CPU and elsewhere; and its gradients."""
    tier = frame_tier()
    x, first = drawn(3, 7, SIZE).requires_grad_(), drawn(1, 3, SIZE, seed=1)
    made, expected = tier.states(x, first), tier.rnn(x, first)[0]
    assert torch.allclose(made, expected, atol=1e-6)
    ours = torch.autograd.grad(made.square().sum(), [x, *tier.rnn.parameters()])
    theirs = torch.autograd.grad(expected.square().sum(), [x, *tier.rnn.parameters()])
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs))


@NORMED
@pytest.mark.parametrize("concat", [True, False], ids=["concat", "add"])
@pytest.mark.parametrize(("told", "values"), [(0, 0), (2, 3)])
def test_the_sample_tier_is_a_loop_of_single_samples(concat: bool, normed: bool, told: int, values: int) -> None:
    """Sample t reads the TAPS codes before it, what it is told of itself, its frame's conds, the mid tier's vector."""
    tier, frames, hop = sample_tier(concat, normed, told, values), 2, 6
    samples = frames * hop
    draw = np.random.default_rng(0)
    said = draw.integers(0, CLASSES, samples + TAPS)  # codes of samples -TAPS, -TAPS + 1, ...
    more = draw.integers(0, CLASSES, (samples + TAPS, told))
    heard, conds, upper = drawn(1, samples, values), drawn(1, frames, CONDS, seed=1), drawn(1, samples, SIZE, seed=2)
    before = np.concatenate([said[:-1, None], more[1:]], axis=1)  # of sample u: the code of u - 1, and what it is told
    made = tier(torch.from_numpy(before)[None], heard, conds, upper)[0].detach().numpy()
    table = tier.embedding.weight.detach().numpy()
    for t in range(samples):
        history = linear(tier.history, np.concatenate([table[code] for code in said[t : t + TAPS]]))
        for k in range(told):
            history = history + tier.told[k].weight.detach().numpy()[more[t + TAPS, k]]  # type: ignore[union-attr]
        if values:
            assert tier.values is not None
            history = history + linear(tier.values, heard[0, t].numpy())
        place = linear(tier.conds, conds[0, t // hop].numpy())
        if concat:
            assert tier.combine is not None
            met = linear(tier.combine, np.concatenate([history, place, upper[0, t].numpy()]))
        else:
            met = history + place + upper[0, t].numpy()
        hidden = np.maximum(linear(tier.hidden, np.maximum(met, 0)), 0)
        assert np.allclose(made[t], linear(tier.logits, hidden), atol=2e-4, rtol=1e-4), t


def test_its_history_is_the_public_networks_convolution() -> None:
    """Embedding, then Conv1d of TAPS taps, the first on the oldest code."""
    tier = sample_tier()
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, CLASSES, (2, TAPS - 1 + 9)))
    layer = nn.Conv1d(EMBEDDING, SIZE, TAPS, bias=False)
    layer.weight.data = tier.history.weight.unflatten(1, (TAPS, EMBEDDING)).transpose(1, 2)
    expected = layer(tier.embedding(codes).transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(tier.history(tier.windows(codes)), expected, atol=1e-5)


def test_a_code_is_read_by_the_samples_after_it_and_by_no_others() -> None:
    tier, samples, changed = sample_tier(), 12, 9
    codes = torch.from_numpy(np.random.default_rng(0).integers(0, CLASSES, (1, TAPS - 1 + samples, 1)))
    rest = (drawn(1, samples, 0), drawn(1, 2, CONDS), drawn(1, samples, SIZE))
    other = codes.clone()
    other[0, changed] = (other[0, changed] + 1) % CLASSES  # of sample changed - TAPS
    differs = (tier(codes, *rest) != tier(other, *rest)).any(2)[0]
    assert differs.nonzero()[:, 0].tolist() == list(range(changed - TAPS + 1, changed + 1))


def test_a_step_reads_exactly_the_samples_before_it() -> None:
    """By gradients: frame samples, none of its own, none of the next step's."""
    frame, before = 8, 20
    wave = drawn(1, 1, before + 3 * frame).requires_grad_()
    read = frames_of(wave, frame, before, 3 * frame)
    for i in range(3):
        (gradient,) = torch.autograd.grad(read[0, i].sum(), wave, retain_graph=True)
        heard = gradient[0, 0].nonzero()[:, 0].tolist()
        assert heard == list(range(before + (i - 1) * frame, before + i * frame))


@NORMED
def test_chunk_by_chunk_is_the_whole(normed: bool) -> None:
    tier = frame_tier(normed=normed)
    history, conds, first = drawn(3, 9, 8), drawn(3, 9, CONDS), drawn(1, 3, SIZE)
    whole, last = tier(history, conds, None, first)
    state, parts = first, []
    for chunk in (slice(0, 2), slice(2, 7), slice(7, 9)):
        part, state = tier(history[:, chunk], conds[:, chunk], None, state)
        parts.append(part)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5) and torch.allclose(state, last, atol=1e-6)


def test_the_first_state_is_learned_and_begins_at_zero() -> None:
    tier = FrameTier(8, 4, CONDS, SIZE, False)
    assert not tier.first.any() and tier.first.requires_grad
    before = tier.begin(None, None, 3)
    assert before.shape == (1, 3, SIZE)
    tier(drawn(3, 2, 8), drawn(3, 2, CONDS), None, before)[0].sum().backward()
    assert tier.first.grad is not None and tier.first.grad.abs().sum() > 0


def test_rows_go_on_or_begin() -> None:
    """0 goes on; 1, a new utterance, and 2, an empty slot, begin at the learned state."""
    tier, state = frame_tier(), drawn(1, 4, SIZE)
    made = tier.begin(state, torch.tensor([0, 1, 2, 0]), 4)
    assert torch.equal(made[0, [0, 3]], state[0, [0, 3]]) and torch.equal(made[0, 1], tier.first[0])
    assert torch.equal(made[0, 2], tier.first[0]) and torch.equal(tier.begin(state, None, 4), state)


def uniform(weight: Tensor, bound: float) -> bool:
    """Whether many numbers are drawn from +-bound."""
    highest, spread = float(weight.detach().abs().max()), float(weight.detach().std())
    return 0.97 * bound < highest <= bound * (1 + 1e-6) and abs(spread / (bound / sqrt(3)) - 1) < 0.05


@NORMED
def test_weights_begin_as_the_papers_code_had_them(normed: bool) -> None:
    """Kaiming's uniform, LeCun's, an orthogonal candidate, +-sqrt(6 / H) upsamplers. The refactor lost it, D6."""
    torch.manual_seed(0)
    size, conds, taps, classes = 96, 50, 20, 64
    tier = FrameTier(80, 4, conds, size, normed)
    assert uniform(tier.expand.weight, sqrt(6 / 80)) and uniform(tier.conds.weight, sqrt(6 / conds))
    assert uniform(tier.spread.weight, sqrt(6 / size)) and not tier.spread.bias.any()
    w, u, b, c = tier.rnn.all_weights[0]
    assert all(uniform(block, sqrt(3 / size)) for block in (*w.chunk(3), *u.chunk(3)[:2]))
    assert torch.allclose(u.chunk(3)[2] @ u.chunk(3)[2].t(), torch.eye(size), atol=1e-5)
    assert not any(each.any() for each in (b, c, tier.expand.bias, tier.conds.bias))
    low = SampleTier(taps, classes, 32, conds, size, told=1, values=2, concat=True, normed=normed)
    assert uniform(low.history.weight, sqrt(6 / (taps * 32))) and uniform(low.conds.weight, sqrt(6 / conds))
    assert uniform(low.hidden.weight, sqrt(6 / size)) and uniform(low.logits.weight, sqrt(3 / size))
    assert low.combine is not None and uniform(low.combine.weight, sqrt(1 / (3 * size))), "PyTorch's own"
    assert not any(each.bias.any() for each in (low.conds, low.hidden, low.logits))
    assert low.history.bias is None and low.combine.bias.any()


def test_weight_norm_is_where_the_public_network_has_it() -> None:
    tier, low = frame_tier(normed=True), sample_tier(normed=True)
    normed = {
        name: tuple(module.parametrizations.weight.original0.shape)  # type: ignore[union-attr]
        for whole in (tier, low) for name, module in whole.named_children() if hasattr(module, "parametrizations")
    }  # fmt: skip
    # of an upsampler a norm for each input, as PyTorch's weight_norm of a ConvTranspose1d has it
    expected = {"expand": (SIZE, 1), "conds": (SIZE, 1), "spread": (SIZE, 1, 1)}
    assert normed == expected | {"history": (SIZE, 1), "hidden": (SIZE, 1), "logits": (CLASSES, 1)}
