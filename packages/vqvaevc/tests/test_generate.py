"""Generation: network, torch loop and compiled kernels say the same, and what a seed promises."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.recurrent.draws import stream_keys, uniforms
from vocoder_core.recurrent.streams import pack
from vqvaevc.cell import Cell
from vqvaevc.condition import Conditioned
from vqvaevc.generate import CodeStream, Sampling, Stream, generate, of_units
from vqvaevc.model import VQVAEVC
from vqvaevc.warmup import Past, warmed

sys.path.append(str(Path(__file__).parent))
from loud_models import LABELS, UNITS, network, said, speakers, told_to

BACKENDS = ["torch", "numba"]
SAMPLED = [kind for kind in LABELS if kind != "held"]  # whose labels are those that were drawn


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module", params=SAMPLED)
def model(request: pytest.FixtureRequest) -> VQVAEVC:
    return network(request.param)


@pytest.fixture(scope="module")
def dual() -> VQVAEVC:
    return network("dual")


@torch.no_grad()
def teacher_forced(model: VQVAEVC, wav: Tensor, made: Conditioned, past: Past) -> tuple[list[Tensor], Any]:
    """Logits of the training pass for samples (B, T) after a past, and what it was told of them."""
    left, lab = model.timing.left, model.config.labels
    before = torch.cat([past.before[:, 1:], wav], dim=1)  # (B, left + T)
    silent = -(-before.shape[1] // 64) * 64 - before.shape[1]
    whole, blocks = torch.nn.functional.pad(before, (silent, 0)), (silent + left) // 64
    if lab.order:  # of silence nothing is predicted
        hold = lambda x, value: torch.cat([torch.full((len(x), blocks, *x.shape[2:]), value), x], dim=1)  # noqa: E731
        kept = {"gain": hold(made.gain, 1.0), "lag": hold(made.lag, 40.0), "voicing": hold(made.voicing, 0.0)}
        made = Conditioned(made.units_, filters=hold(made.filters, 0.0), **kept)
        assert (silent + left) % 64 == 0, "predictors stay with their blocks"
    told = model.told(whole, made).cut(silent, whole.shape[1])
    heard = model.overtone(told.past, made.units_, speakers(model))
    warm = model.timing.warmup
    return model.wavernn(heard, told.cut(left - warm, left + wav.shape[1]), speakers(model), warm), told.cut(
        left, left + wav.shape[1]
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_label_is_the_one_the_network_gives_to_its_uniform(model: VQVAEVC, backend: str) -> None:
    """What was drawn, fed to the training pass: u lies within the step of each label."""
    made = told_to(model)
    wav = said(model, Sampling(seed=[5, 6], backend=backend), made)
    logits, told = teacher_forced(model, wav, made, Past.silence(model, 2))
    u = torch.from_numpy(uniforms(stream_keys([5, 6], 2), 0, UNITS * 64 * len(logits)))
    for k, values in enumerate(logits):
        steps, label = values.double().softmax(2).cumsum(2), told.targets[..., k, None]
        below = torch.where(label > 0, steps.gather(2, (label - 1).clamp(min=0)), 0.0)[..., 0]
        mine = u[:, k :: len(logits)]
        assert (mine > below - 1e-5).all()
        assert (mine < steps.gather(2, label)[..., 0] + 1e-5).all()
        assert len(label.unique()) > 30


def test_torch_loop_and_kernel_draw_the_same(model: VQVAEVC) -> None:
    one, two = (said(model, Sampling(seed=3, backend=backend)) for backend in BACKENDS)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)  # a label apart would be a hundred times that


def test_loudness_is_held_alike_by_torch_loop_and_kernel() -> None:
    """A network that was not trained says what is louder than speech ever is."""
    model = network("held")
    one, two = (said(model, Sampling(seed=3, backend=backend)) for backend in BACKENDS)
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)
    assert one.square().mean() < 0.5 * said(network("pitch"), Sampling(seed=3)).square().mean()


def test_weights_of_16_bits_say_what_they_say_as_floats(model: VQVAEVC, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in shipped files: the kernel reads them as they are stored, the torch loop as floats."""
    rounded = deepcopy(model)
    for parameter in rounded.parameters():
        parameter.data = parameter.data.half().float()
    expected = said(rounded, Sampling(seed=3, backend="torch"))
    seen: list[np.dtype] = []
    monkeypatch.setattr("vqvaevc.packed.pack", lambda *t, **more: [seen.append(x.dtype) or x for x in pack(*t, **more)])
    torch.testing.assert_close(said(rounded, Sampling(seed=3, backend="numba")), expected, atol=1e-6, rtol=0)
    assert np.dtype(np.int16) in seen


def test_step_by_step_logits_are_the_teacher_forced_ones(model: VQVAEVC) -> None:
    made = told_to(model)
    past = Past.silence(model, 2)
    wav = said(model, Sampling(seed=4), made)
    expected, told = teacher_forced(model, wav, made, past)
    found: list[Tensor] = []
    units, before = of_units(model, made.units_, made, 2, UNITS), model.timing.units_before
    with torch.no_grad():
        cell = Cell(model, warmed(model, past, made.units_[..., :before], speakers(model)), speakers(model))
        for t in range(UNITS * 64):
            if t % 64 == 0:
                cell.begin(units.cut(t // 64, t // 64 + 1))
            for k in range(cell.draws):
                found.append(cell.logits(k))
                cell.take(told.targets[:, t, k])
    for k, values in enumerate(expected):
        torch.testing.assert_close(torch.stack(found[k :: len(expected)], 1), values, atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_does_not_depend_on_its_batch(model: VQVAEVC, backend: str) -> None:
    made, who = told_to(model), speakers(model)
    together = said(model, Sampling(seed=7, backend=backend), made)
    alone = []
    for b in range(2):
        parts = {name: None if (x := getattr(made, name)) is None else x[b : b + 1]
                 for name in ("units_", "filters", "gain", "lag", "voicing")}  # fmt: skip
        alone.append(said(model, Sampling(seed=7, backend=backend), Conditioned(**parts), who[b : b + 1]))
    assert torch.equal(together, torch.cat(alone))
    assert not torch.equal(together[0], together[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_any_split_into_calls_gives_the_same_samples(model: VQVAEVC, backend: str) -> None:
    made = told_to(model)
    whole, before = said(model, Sampling(seed=1, backend=backend), made), model.timing.units_before
    units, parts = of_units(model, made.units_, made, 2, UNITS), []
    stream = Stream(model, 2, speakers(model), Sampling(seed=1, backend=backend))
    stream.begin(made.units_[..., :before])
    for a, b in [(0, 1), (1, 1), (1, 3)]:
        parts.append(stream(units.cut(a, b)))
    assert torch.equal(torch.cat(parts, 1), whole)


def test_chunks_of_a_long_utterance_join(dual: VQVAEVC, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = said(dual, Sampling(seed=1))
    monkeypatch.setattr("vocoder_core.recurrent.engine.CHUNK", 2 * 64)
    assert torch.equal(said(dual, Sampling(seed=1)), whole)


@pytest.mark.parametrize("blocks", [[1] * 88, [50, 34, 1, 3], [88]])
def test_codes_streamed_in_blocks_say_what_they_say_together(dual: VQVAEVC, blocks: list[int]) -> None:
    """One at a time, across the end of the warm-up, and all at once."""
    codes = torch.randint(0, 512, (1, 88), generator=torch.Generator().manual_seed(2))
    who = dual.who(["bob"], torch.zeros(1, 1))
    whole = generate(dual, dual.condition.decode(codes), 192, who, Sampling(seed=5))
    stream = CodeStream(dual, who, Sampling(seed=5))
    parts = [stream(part) for part in codes.split(blocks, dim=1)]
    assert torch.equal(torch.cat(parts, 1), whole)
    assert sum(part.shape[1] == 0 for part in parts) == len([n for n in np.cumsum(blocks) if n <= 85])


@pytest.mark.parametrize("backend", BACKENDS)
def test_seeds_name_streams(dual: VQVAEVC, backend: str) -> None:
    made = Conditioned(told_to(dual).units_[:1].expand(3, -1, -1))
    who = dual.who(["bob"] * 3, torch.zeros(3, 1))
    one, two, again = said(dual, Sampling(seed=[1, 2, 1], backend=backend), made, who)
    assert torch.equal(one, again)
    assert (one != two).float().mean() > 0.9
    fresh = said(dual, Sampling(backend=backend), made, who)
    assert not torch.equal(fresh[0], fresh[1])


def test_the_number_of_threads_changes_no_sample(dual: VQVAEVC) -> None:
    one = said(dual, Sampling(seed=1, backend="numba"))
    torch.set_num_threads(2)
    try:
        assert torch.equal(said(dual, Sampling(seed=1, backend="numba")), one)
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_temperature_0_takes_the_likeliest_label(model: VQVAEVC, backend: str) -> None:
    made = told_to(model)
    wav = said(model, Sampling(temperature=0, seed=1, backend=backend), made)
    logits, told = teacher_forced(model, wav, made, Past.silence(model, 2))
    for k, values in enumerate(logits):
        assert torch.equal(values.argmax(2), told.targets[..., k])


def test_who_speaks_and_what_is_told_is_heard(dual: VQVAEVC) -> None:
    made = told_to(dual)
    own = said(dual, Sampling(seed=1), made)
    assert not torch.equal(said(dual, Sampling(seed=1), made, dual.who(["bob", "bob"], torch.zeros(2, 1))), own)
    assert not torch.equal(said(dual, Sampling(seed=1), Conditioned(made.units_.flip(1))), own)


def first_logits(model: VQVAEVC, past: Past, made: Conditioned) -> Tensor:
    """Of the first sample, by the cell."""
    state = warmed(model, past, made.units_[..., : model.timing.units_before], speakers(model))
    cell = Cell(model, state, speakers(model))
    with torch.no_grad():
        cell.begin(of_units(model, made.units_, made, 2, 1))
        return cell.logits(0).log_softmax(1)


def test_a_past_of_zeros_is_the_originals_and_true_silence_what_training_heard(dual: VQVAEVC) -> None:
    """Zeros: every value told is 0.0, where silence is 1/255 and -1; the original's first samples suffer by it."""
    made, left, who = told_to(dual), dual.timing.left, speakers(dual)
    with torch.no_grad():
        heard = dual.overtone(torch.zeros(2, 1, left + 64), made.units_[..., : dual.timing.units_before + 1], who)
        by_zeros = dual.wavernn.gru(torch.cat([heard, torch.zeros(2, heard.shape[1], 3)], 2), who)
        expected = dual.wavernn.said(by_zeros)[0][:, dual.timing.warmup].log_softmax(1)
    zeros, silence = (first_logits(dual, past, made) for past in (Past.zeros(dual, 2), Past.silence(dual, 2)))
    torch.testing.assert_close(zeros, expected, atol=1e-5, rtol=0)
    one = Conditioned(made.units_[..., : dual.timing.units_before + 1])
    logits, _ = teacher_forced(dual, torch.zeros(2, 64), one, Past.silence(dual, 2))
    torch.testing.assert_close(silence, logits[0][:, 0].log_softmax(1), atol=1e-5, rtol=0)
    assert (zeros - silence).abs().max() > 1e-3
    with pytest.raises(ValueError, match="a past of zeros for labels of kind mulaw; expected dual"):
        Past.zeros(network("wave"), 1)


@pytest.mark.parametrize("kind", ["dual", "wave"])
def test_the_sources_own_past_is_continued(kind: str) -> None:
    """The first sample after a wave is said as the training pass says it in the middle of that wave."""
    model = network(kind)
    made, at = told_to(model), model.timing.left + 100
    wav = 0.3 * torch.randn(2, at + 64, generator=torch.Generator().manual_seed(3)).clamp(-1, 1)
    told = model.told(wav, made)
    past = Past.source(model, wav, told, at)
    with torch.no_grad():
        window = told.cut(at - model.timing.left, at + 64)
        units = made.units_[..., : model.timing.units_before + 1]
        heard = model.overtone(window.past, units, speakers(model))
        warm = model.timing.warmup
        recent = window.cut(model.timing.left - warm, model.timing.left + 64)
        expected = model.wavernn(heard, recent, speakers(model), warm)[0][:, 0].log_softmax(1)
    torch.testing.assert_close(first_logits(model, past, made), expected, atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match="expected 5629 before it"):
        Past.source(model, wav, told, 5628)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_said_of_nothing(model: VQVAEVC, backend: str) -> None:
    made = told_to(model, units=0)
    assert said(model, Sampling(backend=backend), made).shape == (2, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"seed": [1, 2, 3]}, "seed has 3 values for 2 rows"),
        ({"backend": "cuda"}, "backend is 'cuda'; expected 'auto', 'torch', 'numba', 'int8' or 'int16'"),
    ],
)
def test_wrong_options_are_named(dual: VQVAEVC, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        said(dual, Sampling(**options))


def test_wrong_uses_are_named(dual: VQVAEVC) -> None:
    with pytest.raises(ValueError, match="generate got 100 samples; expected a multiple of 64"):
        generate(dual, told_to(dual), 100, speakers(dual), Sampling())
    with pytest.raises(ValueError, match="a stream of codes with encoder.source mel; expected wave"):
        CodeStream(network("pitch"), None, Sampling())


def test_without_numba_torch_steps_in_and_says_so(
    dual: VQVAEVC, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = told_to(dual, units=1)
    expected = said(dual, Sampling(seed=1), made)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    torch.testing.assert_close(said(dual, Sampling(seed=1), made), expected, atol=1e-6, rtol=0)
    assert "numba is not installed" in caplog.text
