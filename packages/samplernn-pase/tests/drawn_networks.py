"""Small networks of every arrangement, and what they are told: what tests of generation share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from samplernn_pase.cell import Cell, FoldedCell
from samplernn_pase.content import ContentConfig
from samplernn_pase.generate import generate, told_of
from samplernn_pase.labels import LabelConfig
from samplernn_pase.model import SampleRNNPASE, SampleRNNPASEConfig
from samplernn_pase.packed import Packed
from samplernn_pase.speaker import SpeakerConfig
from samplernn_pase.speaking import Sampling
from vocoder_core.recurrent.draws import stream_keys
from vocoder_core.recurrent.engine import CompiledLoop, Loop, Stream, TorchLoop

FRAMES, HOP = 5, 80
FREE = 1e6  # a power that nothing reaches
BASE = SampleRNNPASEConfig(
    speaker=SpeakerConfig(provider="none", size=0), hidden_size=16, embedding_size=5, conds_size=6
)
NAMED = replace(BASE, speaker=SpeakerConfig(provider="lookup", size=3), speakers=("ann", "bob", "cid"))
EXCITED = replace(BASE, combine="add", weight_norm=False, labels=LabelConfig(order=24, loudest=FREE))
CONFIGS = {
    "concat": NAMED,
    "add": replace(BASE, combine="add", weight_norm=False),
    "seed": replace(NAMED, labels=LabelConfig(codec="seed"), content=ContentConfig("world43", look_ahead=True)),
    "prediction": EXCITED,
    "pitch": replace(BASE, labels=LabelConfig(order=7, pitch=True, loudest=FREE)),
    "held": replace(EXCITED, labels=LabelConfig(order=24, pitch=True)),
}
SAMPLED = [kind for kind in CONFIGS if kind != "held"]  # whose labels are those that were drawn
Make = Callable[[SampleRNNPASE, int, float], Loop]
LOOPS: dict[str, Make] = {
    "torch": lambda model, rows, temperature: TorchLoop(Cell(model, rows), temperature),
    "folded": lambda model, rows, temperature: TorchLoop(FoldedCell(model, rows), temperature),
    "numba": lambda model, rows, temperature: CompiledLoop(Packed(model, rows), temperature),
}


@cache
def network(kind: str) -> SampleRNNPASE:
    """One whose weights are large enough for states, norms and labels to matter."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = SampleRNNPASE(CONFIGS[kind]).eval()
        for parameter in model.parameters():
            parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
        if model.config.labels.codec == "round":
            model.sample.logits.bias.data[0] = -99  # a class that no sample has, so that training makes it rare
    return model


def content(model: SampleRNNPASE, rows: int = 2, frames: int = FRAMES) -> Tensor:
    """Raw content of noise (B, F, C), of a mel so quiet that no sample is clipped."""
    draw = torch.Generator().manual_seed(1)
    return (torch.randn(3, frames, model.config.content.width, generator=draw) - 7)[:rows]


def pitch(model: SampleRNNPASE, rows: int = 2, frames: int = FRAMES) -> Tensor | None:
    """Pitch that moves (B, F, 2), where the labels want it."""
    if not model.config.labels.pitch:
        return None
    draw = torch.Generator().manual_seed(2)
    drawn = torch.rand(3, frames, 2, generator=draw)[:rows]
    return torch.stack([20 + 200 * drawn[..., 0], drawn[..., 1]], dim=2)


def who(model: SampleRNNPASE, rows: int = 2) -> list[str] | None:
    return ["ann", "cid", "bob"][:rows] if model.config.speakers else None


def said(model: SampleRNNPASE, how: Sampling, rows: int = 2) -> Tensor:
    """Waves (B, F hop) of the above, by a backend; "folded": the folded network in torch."""
    if how.backend != "folded":
        return generate(model, content(model, rows), who(model, rows), pitch(model, rows), None, how)
    stream = Stream(LOOPS["folded"](model, rows, how.temperature), stream_keys(how.seed, rows))
    return stream(told_of(model, content(model, rows), who(model, rows), pitch(model, rows)))


@torch.no_grad()
def teacher_forced(model: SampleRNNPASE, wav: Tensor, rows: int = 2) -> tuple[Tensor, Tensor]:
    """Logits (B, T, Q) and targets (B, T) of the training pass for waves (B, F hop) told of the above."""
    before, after = model.context
    raw = F.pad(content(model, rows).transpose(1, 2), (before, after), mode="replicate").transpose(1, 2)
    track = pitch(model, rows)
    if track is not None:
        track = F.pad(track.transpose(1, 2), (before, 0), mode="replicate").transpose(1, 2)
    made = model(F.pad(wav, (before * HOP, 0)), raw, who(model, rows), pitch=track)
    return made.logits, made.targets


def heard_again(model: SampleRNNPASE, wav: Tensor) -> Tensor:
    """Waves whose labels are those that were said: the public codec's values lie at the lower edge of their cells."""
    return wav if model.config.labels.codec == "round" else wav + 1e-6
