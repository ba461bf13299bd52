"""Generation: network, torch loop and compiled kernels say the same, and what a seed promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder_core.mel import MelConfig
from vocoder_core.recurrent.draws import stream_keys, uniforms
from vqvaevc.condition import Conditioned, EncoderConfig
from vqvaevc.generate import CodeStream, Sampling, Stream, generate, of_units
from vqvaevc.labels import LabelConfig
from vqvaevc.loops import TorchLoop
from vqvaevc.model import VQVAEVC, VQVAEVCConfig
from vqvaevc.overtone import OvertoneConfig
from vqvaevc.warmup import Past, warmed

UNITS = 5
SIZES = OvertoneConfig(conv=9, rnn=13, hidden=22, linear=17)  # they divide by nothing
BACKENDS = ["torch", "numba"]
LABELS = {
    "dual": LabelConfig(),
    "wave": LabelConfig(kind="mulaw"),
    "prediction": LabelConfig(kind="mulaw", order=7, embedding=5),
    "pitch": LabelConfig(kind="mulaw", order=7, pitch=True, embedding=5),
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def network(kind: str) -> VQVAEVC:
    """A small one whose weights are large enough for states and labels to matter."""
    torch.manual_seed(0)
    mel = MelConfig(sample_rate=16000, hop_length=64, win_length=256, n_fft=256, n_mels=9)
    source = "mel" if LABELS[kind].order else "wave"
    config = VQVAEVCConfig(mel=mel, encoder=EncoderConfig(source=source, channels=6), overtone=SIZES,
                           labels=LABELS[kind], speakers=("ann", "bob", "cid"))  # fmt: skip
    model = VQVAEVC(config).eval()
    with torch.no_grad():
        for parameter in [*model.overtone.parameters(), *model.wavernn.parameters()]:
            parameter.mul_(1.5)
        if kind != "dual":
            model.wavernn.logits[0].bias[0] = -30  # no wave has class 0, nor has a network that was trained
    return model


@pytest.fixture(scope="module", params=list(LABELS))
def model(request: pytest.FixtureRequest) -> VQVAEVC:
    return network(request.param)


@pytest.fixture(scope="module")
def dual() -> VQVAEVC:
    return network("dual")


def told_to(model: VQVAEVC, rows: int = 2, units: int = UNITS) -> Conditioned:
    """A condition of noise, predictors that ring a little, pitch that moves."""
    draw = torch.Generator().manual_seed(1)
    vectors = torch.randn(rows, model.condition.channels, model.timing.units_before + units, generator=draw)
    if not model.config.labels.order:
        return Conditioned(vectors)
    filters = 0.1 * torch.randn(rows, units, model.config.labels.order + 1, generator=draw)
    filters[..., 0] = 1
    gain = 0.01 + 0.02 * torch.rand(rows, units, generator=draw)
    lag, voicing = 30 + 60 * torch.rand(rows, units, generator=draw), torch.rand(rows, units, generator=draw)
    return Conditioned(vectors, filters=filters, gain=gain, lag=lag, voicing=voicing)


def speakers(model: VQVAEVC) -> Tensor | None:
    return model.who(["ann", "cid"], torch.zeros(2, 1)) if model.config.overtone.speaker else None


def said(model: VQVAEVC, how: Sampling, made: Conditioned | None = None, who: Tensor | None = None) -> Tensor:
    made = told_to(model) if made is None else made
    who = speakers(model) if who is None else who
    return generate(model, made, made.units_.shape[2] * 64 - 64 * model.timing.units_before, who, how)


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
