"""Warm-up: what the networks remember of the past when they are about to say the first sample.

In training every window begins at states of zero and hears 5,629 samples of the true past (timing.py). Here the same
happens once, in whole sequences: of silence, or of what the source itself said before. Little of it is left, `State`.

The original is warmed by zeros, which no training has heard: there silence is coarse 128 (0.0039) and fine 0 (-1.0).
`Past.zeros` is its way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.excitation import MEMORY

from . import labels
from .labels import Told


@dataclass(frozen=True)
class Past:
    """What was before the sample that is to be said first: left + 1 samples u, the last of them that one.

    Of the last one only what is known before it is said is read.
    """

    told: Told
    before: Tensor  # (B, left + 1): the sample before each, in [-1, 1]

    @staticmethod
    def silence(model: Any, rows: int) -> Past:
        """Digital silence, as it is in front of a recording."""
        lab, size = model.config.labels, model.timing.left + 1
        wav = torch.zeros(rows, size, device=model.wavernn.logits[0].weight.device)
        if not lab.order:
            return Past(
                labels.dual(wav) if lab.kind == "dual" else labels.excited(wav, lab, None, None, None, None), wav
            )
        codes = torch.full((rows, size, lab.codes_told), lab.classes // 2, device=wav.device)
        past, values = wav.new_zeros(rows, lab.past_channels, size), wav.new_zeros(rows, size, lab.values_told)
        return Past(Told(past, values, codes, None, codes[..., :1]), wav)

    @staticmethod
    def zeros(model: Any, rows: int) -> Past:
        """The original's: every value told is 0. Raises ValueError for labels that it does not have."""
        if model.config.labels.kind != "dual":
            raise ValueError(f"a past of zeros for labels of kind {model.config.labels.kind}; expected dual")
        silence = Past.silence(model, rows)
        past, values, coarse = (torch.zeros_like(x) for x in (silence.told.past, silence.told.values, silence.before))
        return Past(Told(past, values, None, coarse[..., None], silence.told.targets), silence.before)

    @staticmethod
    def source(model: Any, wav: Tensor, told: Told, at: int) -> Past:
        """What waves (B, T) say before their sample `at`, left <= at < T; told: model.told of them.

        Raises ValueError where too little was said.
        """
        left = model.timing.left
        if not left <= at < wav.shape[1]:
            raise ValueError(f"the past of sample {at} of {wav.shape[1]}; expected {left} before it, and itself")
        return Past(told.cut(at - left, at + 1), F.pad(wav, (1, 0))[:, at - left : at + 1])


@dataclass(frozen=True)
class State:
    """What is remembered of each row between two units of 64 samples."""

    read: list[Tensor]  # of conv0, conv1, conv2: the last two vectors it read (B, 2, C_in),
    inner: list[Tensor]  # the last two of its inner layer (B, 2, C),
    heard: list[Tensor]  # and its output (B, C), which ends where the unit begins
    hidden: list[Tensor]  # of rnn0, rnn1, rnn2 and the WaveRNN (B, R) and (B, H)
    values: Tensor  # (B, I): what is told of the next sample; dual: bytes before it
    codes: Tensor  # (B, k) int64: codes that are told of it, without that of its prediction, which is yet to be made
    wav: Tensor  # (B, order): the last samples,
    excitation: Tensor  # (B, MEMORY) int64: and the codes said last; mulaw


@torch.no_grad()
def warmed(model: Any, past: Past, units: Tensor | None, speaker: Tensor | None) -> State:
    """The state after a past, by the condition (B, D, units_before) of it and by who speaks (B, S).

    Row by row: in a batch BLAS rounds otherwise, and the last bit of a state can turn a sample, then all others.
    """
    rows = [
        _warmed(model, Past(_row(past.told, b), past.before[b : b + 1]), *(
            None if each is None else each[b : b + 1] for each in (units, speaker)
        ))
        for b in range(len(past.before))
    ]  # fmt: skip
    read, inner, heard, hidden = ([torch.cat(parts) for parts in zip(*lists)] for lists in zip(*(
        (row.read, row.inner, row.heard, row.hidden) for row in rows
    )))  # fmt: skip
    values, codes, wav, excitation = (torch.cat(parts) for parts in zip(*(
        (row.values, row.codes, row.wav, row.excitation) for row in rows
    )))  # fmt: skip
    return State(read, inner, heard, hidden, values, codes, wav, excitation)


def _warmed(model: Any, past: Past, units: Tensor | None, speaker: Tensor | None) -> State:
    told, time, lab = past.told, model.timing, model.config.labels
    read, inner, heard, sequences = [], [], [], []
    x = told.past
    for conv in model.overtone.convs:
        read.append(x[..., -2:].transpose(1, 2))
        x = conv.halves[0](x, speaker)
        inner.append(x[..., -2:].transpose(1, 2))
        x = conv.halves[1](x, speaker)
        heard.append(x[..., -1])
        sequences.append(x[..., :-1].transpose(1, 2))  # the last output belongs to the unit to come
    hidden = []
    y = sequences[2] if units is None else torch.cat([sequences[2], units.transpose(1, 2)], dim=2)
    beside = [None, sequences[1][:, time.skips[0] :], sequences[0][:, time.skips[1] :]]
    for rnn, own in zip(model.overtone.rnns, beside):
        states = rnn.gru(y if own is None else torch.cat([own, y], dim=2), speaker)
        hidden.append(states[:, -1])
        y = rnn.spread(states[:, time.warmup :].transpose(1, 2)).transpose(1, 2)
    recent = told.cut(time.left - time.warmup, time.left)
    hidden.append(model.wavernn.gru(model.wavernn.inputs(y, recent), speaker)[:, -1])
    codes = told.codes if told.codes is not None else told.targets[..., :0]
    silence = codes.new_full((1, MEMORY), lab.classes // 2)
    excitation = torch.cat([silence, codes[..., 0]], dim=1) if lab.kind == "mulaw" else silence
    first = past.before.shape[1] - lab.order
    return State(read, inner, heard, hidden, told.values[:, -1], codes[:, -1, : lab.past_channels],
                 past.before[:, first:], excitation[:, -MEMORY:])  # fmt: skip


def _row(told: Told, b: int) -> Told:
    parts = (told.past, told.values, told.codes, told.coarse, told.targets)
    past, values, codes, coarse, targets = (None if part is None else part[b : b + 1] for part in parts)
    assert past is not None and values is not None and targets is not None, "told of every sample"
    return Told(past, values, codes, coarse, targets)
