"""Generation: what is said is what the training pass gives to its uniforms, by three loops, in any pieces.

Rows side by side: test_rows.py.
"""

from __future__ import annotations

import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

from samplernn_pase import labels
from samplernn_pase.cell import Cell, FoldedCell
from samplernn_pase.generate import Stream, generate, told_of
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import SampleRNNPASE
from samplernn_pase.speaking import Sampling
from samplernn_pase.tellers import Frames, Waves
from vocoder_core.recurrent.draws import draw, stream_keys, uniforms
from vocoder_core.recurrent.streams import pack

sys.path.append(str(Path(__file__).parent))  # the folder of drawn_networks.py
from drawn_networks import (
    CONFIGS,
    FRAMES,
    HOP,
    LOOPS,
    SAMPLED,
    content,
    heard_again,
    network,
    pitch,
    said,
    teacher_forced,
    who,
)  # fmt: skip

COMPILED = ("torch", "numba")


@pytest.fixture(params=SAMPLED)
def model(request: pytest.FixtureRequest) -> SampleRNNPASE:
    return network(request.param)


@pytest.fixture
def plain() -> SampleRNNPASE:
    return network("concat")


def assert_drawn(model: SampleRNNPASE, wav: Tensor, seeds: list[int]) -> None:
    """What was said, fed to the training pass: u lies within the step of each label."""
    logits, targets = teacher_forced(model, heard_again(model, wav))
    steps, label = logits.double().softmax(2).cumsum(2), targets[..., None]
    below = torch.where(label > 0, steps.gather(2, (label - 1).clamp(min=0)), 0.0)[..., 0]
    u = torch.from_numpy(uniforms(stream_keys(seeds, len(wav)), 0, wav.shape[1]))
    assert (u > below - 1e-5).all() and (u < steps.gather(2, label)[..., 0] + 1e-5).all()
    assert len(label.unique()) > 30


@pytest.mark.parametrize("backend", LOOPS)
def test_every_label_is_the_one_the_network_gives_to_its_uniform(model: SampleRNNPASE, backend: str) -> None:
    assert_drawn(model, said(model, Sampling(seed=[5, 6], backend=backend)), [5, 6])


@pytest.mark.parametrize("defect", ["rectified", "silent", "late"])
def test_another_history_than_the_trained_one_is_seen(
    plain: SampleRNNPASE, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    """The public code's inverse mu-law lost the sign (D1), so that frame tiers spoke by the wave's absolute value."""
    heard = Waves.past
    wrong = {
        "rectified": lambda self, frame: heard(self, frame).abs(),
        "silent": lambda self, frame: torch.zeros_like(heard(self, frame)),
        "late": lambda self, frame: heard(self, frame).roll(1, 1),
    }
    monkeypatch.setattr(Waves, "past", wrong[defect])
    with pytest.raises(AssertionError):
        assert_drawn(plain, said(plain, Sampling(seed=[5, 6], backend="torch")), [5, 6])


@torch.no_grad()
def stepped(model: SampleRNNPASE, targets: Tensor) -> Tensor:
    """Logits (B, T, Q) of the cell that says labels (B, T)."""
    cell, told, found = Cell(model, 2), told_of(model, content(model), who(model), pitch(model)), []
    for t in range(targets.shape[1]):
        if t % HOP == 0:
            cell.begin(told.cut(t // HOP, t // HOP + 1))
        found.append(cell.logits(0))
        cell.take(targets[:, t])
    return torch.stack(found, dim=1)


def test_step_by_step_logits_are_the_teacher_forced_ones(model: SampleRNNPASE) -> None:
    wav = heard_again(model, said(model, Sampling(seed=4)))
    logits, targets = teacher_forced(model, wav)
    torch.testing.assert_close(stepped(model, targets), logits, atol=2e-5, rtol=0)


def test_a_recording_is_heard_as_what_is_said_will_be(plain: SampleRNNPASE) -> None:
    """The public code trained its frame tiers on the recording and let them speak by its labels (D3): `labels.raw`."""
    draw = torch.Generator().manual_seed(3)
    wav = 0.3 * torch.randn(2, FRAMES * HOP, generator=draw)
    logits, targets = teacher_forced(plain, wav)
    torch.testing.assert_close(stepped(plain, targets), logits, atol=2e-5, rtol=0)
    raw = deepcopy(plain)
    raw.config = replace(raw.config, labels=LabelConfig(raw=True))
    assert (teacher_forced(raw, wav)[0] - stepped(raw, targets)).abs().max() > 1e-3


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("backend", ["folded", "numba"])
def test_all_loops_draw_the_same(kind: str, backend: str) -> None:
    model = network(kind)
    one, two = (said(model, Sampling(seed=[3, 4], backend=each)) for each in ("torch", backend))
    torch.testing.assert_close(one, two, atol=1e-6, rtol=0)  # a label apart would be a hundred times that


def test_loudness_is_held() -> None:
    """A network that was not trained says what is louder than speech ever is."""
    held, free = network("held"), deepcopy(network("held"))
    free.config = replace(free.config, labels=replace(free.config.labels, loudest=1e6))
    loud, quiet = (said(each, Sampling(seed=3)).square().mean() for each in (free, held))
    assert quiet < 0.5 * loud


def test_the_wave_is_the_labels_own_values() -> None:
    """Both signs: the public code wrote the positive half of every wave (D1)."""
    for kind in ("concat", "seed"):
        model = network(kind)
        wav = said(model, Sampling(seed=1))
        values = labels.decode(torch.arange(256), model.config.labels)
        assert torch.isin(wav, values).all() and 0.2 < (wav < 0).float().mean() < 0.8


def test_weights_of_16_bits_say_what_they_say_as_floats(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in shipped files: the kernel reads them as they are stored, the torch loop as floats."""
    rounded = deepcopy(network("add"))
    for parameter in rounded.parameters():
        parameter.data = parameter.data.half().float()
    expected, seen = said(rounded, Sampling(seed=3, backend="torch")), []
    monkeypatch.setattr(
        "samplernn_pase.packed.pack", lambda *t, **more: [seen.append(x.dtype) or x for x in pack(*t, **more)]
    )
    torch.testing.assert_close(said(rounded, Sampling(seed=3, backend="numba")), expected, atol=1e-6, rtol=0)
    assert seen.count(np.dtype(np.int16)) == 5, "recurrent ones of both tiers, the mid tier's vectors, hidden, logits"


@pytest.mark.parametrize("backend", COMPILED)
def test_any_split_into_calls_gives_the_same_samples(model: SampleRNNPASE, backend: str) -> None:
    whole = said(model, Sampling(seed=1, backend=backend))
    frames, parts = told_of(model, content(model), who(model), pitch(model)), []
    stream = Stream(model, 2, Sampling(seed=1, backend=backend))
    for a, b in [(0, 1), (1, 1), (1, 3)]:
        parts.append(stream(frames.cut(a, b)))
    parts.extend(stream.each(frames.cut(3, FRAMES)))
    assert [part.shape[1] for part in parts] == [80, 0, 160, 80, 80]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_chunks_of_a_long_utterance_join(plain: SampleRNNPASE, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = said(plain, Sampling(seed=1))
    monkeypatch.setattr("vocoder_core.recurrent.engine.CHUNK", 4 * HOP)
    assert torch.equal(said(plain, Sampling(seed=1)), whole)


def test_ctrl_c_ends_between_two_chunks(plain: SampleRNNPASE, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr("vocoder_core.recurrent.engine.CHUNK", HOP)

    def interrupted(self: Stream, frames: object) -> Tensor:
        made.append(frames)
        if len(made) == 3:
            raise KeyboardInterrupt
        return torch.zeros(2, HOP)

    monkeypatch.setattr(Stream, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        said(plain, Sampling(seed=1))
    assert len(made) == 3


@pytest.mark.parametrize("backend", COMPILED)
def test_seeds_name_streams(plain: SampleRNNPASE, backend: str) -> None:
    raw = content(plain, rows=1).expand(3, -1, -1)
    one, two, again = generate(plain, raw, ["bob"] * 3, None, None, Sampling(seed=[1, 2, 1], backend=backend))
    assert torch.equal(one, again) and (one != two).float().mean() > 0.9
    fresh = generate(plain, raw, ["bob"] * 3, None, None, Sampling(backend=backend))
    assert not torch.equal(fresh[0], fresh[1])


@pytest.mark.parametrize("backend", LOOPS)
def test_temperature_0_takes_the_likeliest_label(model: SampleRNNPASE, backend: str) -> None:
    wav = said(model, Sampling(temperature=0, seed=1, backend=backend))
    logits, targets = teacher_forced(model, heard_again(model, wav))
    assert torch.equal(logits.argmax(2), targets)


def test_who_speaks_and_what_is_said_is_heard(plain: SampleRNNPASE) -> None:
    own, raw = said(plain, Sampling(seed=1)), content(plain)
    vectors = torch.stack([plain.voices.vector(name) for name in who(plain)]).detach()
    assert torch.equal(generate(plain, raw, vectors, None, None, Sampling(seed=1)), own)
    assert torch.equal(generate(plain, raw, torch.tensor([0, 2]), None, None, Sampling(seed=1)), own)
    assert not torch.equal(generate(plain, raw, ["bob", "bob"], None, None, Sampling(seed=1)), own)
    assert not torch.equal(generate(plain, raw.flip(1), who(plain), None, None, Sampling(seed=1)), own)


def test_statistics_and_look_ahead_are_heard() -> None:
    model, how = network("seed"), Sampling(seed=1)
    own, raw = said(model, how), content(model)
    normal = torch.stack([torch.full((2, 43), 0.5), torch.full((2, 43), 2.0)], dim=1)
    assert not torch.equal(generate(model, raw, who(model), None, normal, how), own)
    raw[:, 1] += 1  # the frame after the first
    assert not torch.equal(generate(model, raw, who(model), None, None, how)[:, :HOP], own[:, :HOP])


@pytest.mark.parametrize("backend", COMPILED)
def test_nothing_is_said_of_nothing(model: SampleRNNPASE, backend: str) -> None:
    raw, track = content(model)[:, :0], pitch(model)
    track = None if track is None else track[:, :0]
    assert generate(model, raw, who(model), track, None, Sampling(backend=backend)).shape == (2, 0)
    assert generate(model, raw[:0], [] if who(model) else None, track, None, Sampling()).shape == (0, 0)


def test_synthesize_says_it(plain: SampleRNNPASE) -> None:
    mel = content(plain).transpose(1, 2)
    assert torch.equal(plain.synthesize(mel, who(plain), seed=1), said(plain, Sampling(seed=1)))
    assert plain.synthesize(mel[0], "bob", seed=1, backend="numba").shape == (FRAMES * HOP,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0; expected 0 or more"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"seed": [1, 2, 3]}, "seed has 3 values for 2 rows"),
        ({"backend": "cuda"}, "backend is 'cuda'; expected 'auto', 'torch', 'numba', 'int8' or 'int16'"),
    ],
)
def test_wrong_options_are_named(plain: SampleRNNPASE, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        said(plain, Sampling(**options))


@torch.no_grad()
@pytest.mark.parametrize("kind", CONFIGS)
def test_the_host_never_waits_for_the_device(kind: str) -> None:
    """Of tensors without values nothing can be read: whoever looks at one while a frame is said fails."""
    model = deepcopy(network(kind))
    cell, frames = FoldedCell(model, 2), told_of(model, content(model), who(model), pitch(model)).cut(0, 1)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        parts = (frames.conds, frames.filters, frames.gain, frames.lag, frames.voicing)
        cell.begin(Frames(*(mode.from_tensor(part.clone()) for part in parts)))
        for drawn in mode.from_tensor(torch.rand(2, 22, dtype=torch.float64)).unbind(1):
            cell.take(draw(cell.logits(0), drawn, 1.0))
        wav = cell.end()
        assert wav.shape == (2, HOP)
        with pytest.raises(DataDependentOutputException):
            bool(wav.isnan().any())


def test_without_numba_torch_steps_in_and_says_so(
    plain: SampleRNNPASE, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    expected = said(plain, Sampling(seed=1, backend="numba"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    torch.testing.assert_close(said(plain, Sampling(seed=1)), expected, atol=1e-6, rtol=0)
    assert "numba is not installed" in caplog.text
