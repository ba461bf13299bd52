"""Delays: which sample meets which step, as the original reckons it, as the shapes say it, and as gradients find it."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.vq import QuantizerConfig
from vqvaevc import VQVAEVC, VQVAEVCConfig
from vqvaevc.condition import Conditioned, EncoderConfig
from vqvaevc.encoder import STRIDES, WaveEncoder
from vqvaevc.labels import LabelConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.timing import CONTEXT_ENDS, Timing, code_field, code_hop

SMALL = VQVAEVCConfig(
    encoder=EncoderConfig(channels=4),
    quantizer=QuantizerConfig(kind="sphere", size=8, dim=4),
    overtone=OvertoneConfig(conv=3, rnn=4, hidden=6, linear=5),
)
AT, SAMPLES = 5632 + 2 * 64, 128


@pytest.fixture(scope="module")
def model() -> VQVAEVC:
    torch.manual_seed(0)
    return VQVAEVC(SMALL).double().eval()


def noise(samples: int, seed: int = 0) -> Tensor:
    """A wave (1, T) on the 16-bit grid."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**13), 2**13, (1, samples), generator=draw).double() / 2**15


# ---- in numbers


def test_every_delay_is_the_originals(golden: Path) -> None:
    with np.load(golden / "vqvaevc.npz") as stored:
        *ends, r0, r1, r2, left, units, field, before, whole, right = stored["delays"].tolist()
    made = Timing()
    assert tuple(ends) == CONTEXT_ENDS == (9, 45, 189)
    assert (r0, r1, r2) == made.rnn == (4285, 5309, 5565)
    assert left == whole == made.left == 5629
    assert units == made.units_before == 85
    assert field == made.field - made.hop == 550 - 64 == 486
    assert before == made.left - made.encoder_start == 4966, "silence that its generation puts before the wave"
    assert right == made.right == 960


def test_the_rest_follows() -> None:
    made = Timing()
    assert made.skips == (265, 1325)
    assert made.look_ahead == 1023
    assert made.encoder_start == 663
    assert made.units(1024) == 101
    assert (code_hop(STRIDES), code_field(STRIDES)) == (64, 550)


@pytest.mark.parametrize("more", [(), (2, 1), (2, 1, 2, 1)])
def test_slower_codes_are_heard_as_far_ahead_as_they_are_long(more: tuple[int, ...]) -> None:
    hop, field = code_hop(STRIDES + more), code_field(STRIDES + more)
    made = Timing(hop=hop, field=field)
    assert hop == 64 * 2 ** (len(more) // 2)
    assert made.look_ahead == 960 + hop - 1
    assert made.encoder_start + field - 1 == 189 + made.look_ahead, "code 0 ends with what sample 189 may have heard"


def test_every_network_takes_as_many_steps_as_the_original(model: VQVAEVC) -> None:
    """Of 1,024 predicted samples: 1661, 413 and 101 outputs of the context, 37, 84 and 272 heard of the GRUs."""
    counts: dict[str, int] = {}
    layers = {f"conv{i}": conv for i, conv in enumerate(model.overtone.convs)}
    layers |= {f"rnn{i}": rnn.spread for i, rnn in enumerate(model.overtone.rnns)}
    hooks = [
        layer.register_forward_hook(lambda _, told, made, name=name: counts.update({name: made.shape[2]}))
        for name, layer in layers.items()
    ]
    wav = noise(7680)
    with torch.no_grad():
        made = model(wav, wav, 5632, 1024)
    for hook in hooks:
        hook.remove()
    assert counts == {"conv0": 1661, "conv1": 413, "conv2": 101, "rnn0": 148, "rnn1": 336, "rnn2": 1088}
    assert [said.shape for said in made.logits] == [(1, 1024, 256)] * 2
    assert made.targets.shape == (1, 1024, 2)


# ---- by gradients


def reached(of: Tensor, by: Tensor) -> list[int]:
    """First and last place of `by` (1, T) that a number depends on."""
    (gradient,) = torch.autograd.grad(of, by, retain_graph=True)
    places = gradient[0].nonzero()[:, 0]
    return [int(places.min()), int(places.max())]


@pytest.mark.parametrize("more", [(), (2, 1)])
def test_a_code_sees_its_field_and_no_more(more: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    strides = STRIDES + more
    hop, field = code_hop(strides), code_field(strides)
    wav = noise(field + 3 * hop + hop - 1).requires_grad_()
    made = WaveEncoder(4, strides, 4).double()(wav)
    assert made.shape == (1, 4, 4)
    for j in range(4):
        assert reached(made[0, :, j].sum(), wav) == [hop * j, hop * j + field - 1]


@pytest.mark.parametrize("advance", [15, 3])
def test_a_sample_hears_exactly_as_far_ahead_as_is_said(advance: int) -> None:
    """1,023 samples at the beginning of each 64, 63 less at its end. With less, codes see back beyond the context."""
    torch.manual_seed(0)
    own = VQVAEVC(replace(SMALL, overtone=replace(SMALL.overtone, advance=advance)))
    assert own.reach == (5629 if advance == 15 else 5629 + 550 - 189 - 64 * 4, 64 * advance)
    wav = noise(AT + SAMPLES + own.timing.right).float()
    heard = wav.clone().requires_grad_()
    said = own(wav, heard, AT, SAMPLES).logits
    assert own.timing.look_ahead == 64 * advance + 63
    for sample in (0, 63, 64):
        last = AT + sample // 64 * 64 + own.timing.look_ahead
        for each in said:
            assert reached(each[0, sample] @ torch.linspace(-1, 1, 256), heard)[1] == last


def test_a_sample_hears_nothing_of_the_samples_after_it(model: VQVAEVC) -> None:
    """Of its own bytes the fine one hears the coarse one; neither hears what comes later."""
    wav = noise(AT + SAMPLES + 960)
    wav = (wav * 2**15 // 256 * 256 + 128) / 2**15  # the fine byte is 128: a coarse step changes nothing else
    with torch.no_grad():
        before = model(wav, wav * 0, AT, SAMPLES).logits
        for sample in (0, 5, 100):
            other = wav.clone()
            other[0, AT + sample] += 1 / 128
            changed = [
                (a - b).abs().amax(dim=(0, 2)) > 0 for a, b in zip(model(other, wav * 0, AT, SAMPLES).logits, before)
            ]
            assert int(changed[0].nonzero()[0]) == sample + 1, "the coarse byte is said before it is known"
            assert int(changed[1].nonzero()[0]) == sample, "the fine one after"


def test_the_first_sample_remembers_all_that_was_read(model: VQVAEVC) -> None:
    """From 5,629 samples back on, through the slowest GRU, made here to forget slowly; and not one more."""
    model = deepcopy(model)
    model.overtone.rnns[0].gru.bias_ih.data[4:8] += 6
    wav = noise(AT + 64 + 960)
    with torch.no_grad():
        before = model(wav, wav * 0, AT, 64).logits[0][0, 0]
        for back, heard in ((5630, True), (5632, False)):  # the sample before the first that is read is told
            other = wav.clone()
            other[0, AT - back] += 0.5
            assert bool((model(other, wav * 0, AT, 64).logits[0][0, 0] != before).any()) is heard


def test_a_crop_anywhere_says_the_same(model: VQVAEVC) -> None:
    """Nothing but `at` tells where in a recording a sample lies."""
    wav = noise(AT + 64 * 6 + 960)
    with torch.no_grad():
        one = model(wav, wav, AT, SAMPLES)
        other = model(wav[:, 64:], wav[:, 64:], AT - 64, SAMPLES)
    assert torch.equal(one.targets, other.targets)
    for a, b in zip(one.logits, other.logits):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("more", [(), (2, 1)])
@pytest.mark.parametrize("advance", [15, 3])
def test_generation_hears_the_codes_that_training_hears(more: tuple[int, ...], advance: int) -> None:
    """Of a recording that silence surrounds: those of the window that begins where it begins."""
    torch.manual_seed(0)
    sizes = replace(SMALL.overtone, advance=advance)
    own = VQVAEVC(replace(SMALL, encoder=replace(SMALL.encoder, strides=STRIDES + more), overtone=sizes)).double()
    for layer in (own.condition.encoder.final, own.condition.encoder.last):
        torch.nn.init.zeros_(layer.bias)  # which would choose the code for all
    wav, at = noise(1024), 6400
    whole = torch.cat([wav.new_zeros(1, at), wav, wav.new_zeros(1, own.timing.right)], dim=1)
    told, spoken = own.condition(whole, whole, at, None, None), own.condition.decode(own.condition.encode(wav))
    units = own.timing.units(1024)
    one, other = told.units(own.timing, at, 1024), spoken.units(own.timing, 0, 1024)
    assert one.shape == other.shape == (1, 4, units)
    torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert len(own.condition.encode(wav)[0].unique()) > 1


@pytest.mark.parametrize(("hop", "advance"), [(64, 15), (256, 8), (256, 0)])
def test_a_sample_hears_the_frame_that_holds_the_sample_so_far_ahead(hop: int, advance: int) -> None:
    """Frames are numbered here: unit 85 + k is heard at sample 64 k; what lies beyond the ends repeats them."""
    made, count, at = Timing(advance=advance), 23, 6 * 64
    told = Conditioned(frames=torch.arange(float(count)).expand(1, 1, count), hop=hop).units(made, at, 256)
    assert told is not None and told.shape == (1, 1, 85 + 4)
    for k in range(4):
        assert told[0, 0, 85 + k] == min((at + 64 * k + 64 * advance) // hop, count - 1)
    assert told[0, 0, 0] == 0, "before the first sample there is no frame but the first"


@pytest.mark.parametrize("wrong", [{"warmup": 32}, {"warmup": 0}, {"advance": -1}, {"hop": 96}])
def test_a_timing_that_no_grid_of_units_has_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected multiples of 64"):
        Timing(**wrong)


def test_a_block_of_the_prediction_divides_a_unit() -> None:
    with pytest.raises(ValueError, match=r"labels\.block is 48; expected a divisor of 64"):
        LabelConfig("mulaw", order=24, block=48)
