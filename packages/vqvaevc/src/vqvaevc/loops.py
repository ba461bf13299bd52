"""The two ways to say sample after sample.

TorchLoop    the definition, to be read on one screen. Any device, whole batch at once; on CUDA the host never waits.
NumbaLoop    the kernels of kernel.py: CPU, one stream per row, rows side by side on threads.

Both go on from a State (warmup.py), by units of 64 samples, and carry it from call to call, so that any split into
calls gives the same samples. A unit, * being what is made then:

    sample        0               16              32              48              64
    rnn0          *                                                               *
    rnn1          *               *               *               *               *
    rnn2          *   *   *   *   *   *   *   *   *   *   *   *   *   *   *   *   *
    WaveRNN       ****************************************************************
    conv0             *   *   *   *   *   *   *   *   *   *   *   *   *   *   *   *
    conv1                         *               *               *               *
    conv2                                                                         *
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.recurrent.draws import LEAST_TEMPERATURE, draw
from vocoder_core.recurrent.streams import compile_aloud, side_by_side

from . import labels
from .tellers import Bytes, Excitations, Units, of_nothing
from .timing import KERNEL, UNIT
from .warmup import State

Draw = Callable[[Tensor, Tensor], Tensor]  # logits (B, Q), uniforms (B,) -> labels (B,)


class TorchLoop:
    """One sample after another, in torch."""

    def __init__(self, model: Any, state: State, speaker: Tensor | None, temperature: float) -> None:
        self.model, self.speaker = model, speaker
        self.draw: Draw = lambda logits, uniforms: draw(logits, uniforms, temperature)
        self.read, self.inner, self.heard = list(state.read), list(state.inner), list(state.heard)
        self.hidden = list(state.hidden)
        self.waiting: list[list[Tensor]] = [[], [], []]  # vectors that each convolution is yet to read
        lab = model.config.labels
        self.teller: Bytes | Excitations = Bytes(state) if lab.kind == "dual" else Excitations(lab, state)

    def __call__(self, units: Units, uniforms: np.ndarray) -> Tensor:
        """Waves (B, 64 K) of the next K units; uniforms (B, 64 K, labels of a sample) in [0, 1)."""
        draws = torch.from_numpy(uniforms).to(units.vectors.device)
        said = [
            self.unit(units.cut(k, k + 1), draws[:, k * UNIT : (k + 1) * UNIT]) for k in range(units.vectors.shape[2])
        ]
        return torch.cat(said, dim=1) if said else units.gain.new_zeros(len(units.gain), 0)

    def unit(self, told: Units, draws: Tensor) -> Tensor:
        """Waves (B, 64)."""
        self.teller.begin(told)
        by64 = self.upper(0, torch.cat([self.heard[2], told.vectors[..., 0]], dim=1))
        for t in range(UNIT):
            if t % 16 == 0:
                by16 = self.upper(1, torch.cat([self.heard[1], by64[:, t // 16]], dim=1))
            if t % 4 == 0:
                by4 = self.upper(2, torch.cat([self.heard[0], by16[:, t // 4 % 4]], dim=1))
            self.sample(by4[:, t % 4], draws[:, t])
            self.look(0, self.teller.past())
        return self.teller.end()

    def upper(self, i: int, x: Tensor) -> Tensor:
        """The four vectors (B, 4, R) of a step of rnn i that reads x (B, I)."""
        rnn = self.model.overtone.rnns[i]
        self.hidden[i] = stepped(rnn.gru, rnn.gru.input_weight(), x, self.hidden[i], self.speaker)
        spread: Tensor = rnn.spread(self.hidden[i][:, :, None])
        return spread.transpose(1, 2)

    def sample(self, heard: Tensor, uniforms: Tensor) -> None:
        """Draws the next sample by what is heard (B, R), and tells it on."""
        net = self.model.wavernn
        values, codes = self.teller.told()
        embedded = [table(codes[:, k]) for k, table in enumerate(net.embeddings)]
        x = [heard, values, *([torch.stack(embedded).sum(0)] if embedded else [])]
        weight, before = net.gru.input_weight(), self.hidden[3]
        if self.model.config.labels.kind == "mulaw":
            self.hidden[3] = stepped(net.gru, weight, torch.cat(x, 1), before, self.speaker)
            self.teller.take(self.draw(net.said(self.hidden[3])[0], uniforms[:, 0]))
            return
        nothing = values[:, :1]  # the first half of the state is blind to the coarse byte: any will do
        half = stepped(net.gru, weight, torch.cat([*x, nothing], 1), before, self.speaker)
        coarse = self.draw(net.said(half)[0], uniforms[:, 0])
        byte = labels.scaled(coarse)[:, None].to(heard)
        self.hidden[3] = stepped(net.gru, weight, torch.cat([*x, byte], 1), before, self.speaker)
        fine = self.draw(net.said(self.hidden[3])[1], uniforms[:, 1])
        self.teller.take(torch.stack([coarse, fine], dim=1))

    def look(self, i: int, vector: Tensor) -> None:
        """conv i is given a vector (B, C_in) more; after every fourth it is heard, also by the one above it."""
        self.waiting[i].append(vector)
        if len(self.waiting[i]) < KERNEL:
            return
        first, second = self.model.overtone.convs[i].halves
        read = torch.cat([self.read[i], torch.stack(self.waiting[i], dim=1)], dim=1)
        inner = torch.cat([self.inner[i], first(read.transpose(1, 2), self.speaker).transpose(1, 2)], dim=1)
        self.heard[i] = second(inner.transpose(1, 2), self.speaker)[:, :, 0]
        self.read[i], self.inner[i], self.waiting[i] = read[:, -2:], inner[:, -2:], []
        if i < 2:
            self.look(i + 1, self.heard[i])


def stepped(gru: Any, weight: Tensor, x: Tensor, hidden: Tensor, speaker: Tensor | None) -> Tensor:
    """One step of a GRU of gru.py whose input weights are `weight`: (B, I), (B, H), (B, S) -> (B, H)."""
    entry = x @ weight.t() + gru.bias_of(speaker)
    product = F.linear(hidden, gru.weight_hh, gru.bias_hh)
    width = hidden.shape[1]
    reset, keep = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
    fresh = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
    return torch.lerp(fresh, hidden, keep)


class NumbaLoop:
    """The same by the compiled kernels. A row's samples depend neither on the batch nor on the number of threads."""

    def __init__(self, model: Any, state: State, speaker: Tensor | None, temperature: float) -> None:
        from .packed import Packed, array, pitch_of

        self.config, self.array = model.config.labels, array
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        packed = Packed(model)
        self.rows = [packed.row(state, speaker, b) for b in range(len(state.values))]
        made = max(0, self.config.codes_told - state.codes.shape[1])  # codes that are made with the sample
        self.values, self.told, self.wav, self.codes = (
            [array(row) for row in part]
            for part in (state.values, F.pad(state.codes, (0, made)), state.wav, state.excitation)
        )
        self.classes = array(labels.expanded(torch.arange(self.config.classes), self.config))
        self.pitch = pitch_of(self.config)
        nothing = of_nothing(self.config, model.condition.channels)
        compile_aloud(lambda: self._row(0, nothing, np.zeros((1, 0, 2))))

    def __call__(self, units: Units, uniforms: np.ndarray) -> Tensor:
        """Waves (B, 64 K) of the next K units; uniforms (B, 64 K, labels of a sample) in [0, 1)."""
        wav = np.empty(uniforms.shape[:2], np.float32)

        def row(b: int) -> None:
            wav[b] = self._row(b, units, uniforms)

        side_by_side(row, len(wav))
        return torch.from_numpy(wav).to(units.gain.device)

    def _row(self, b: int, units: Units, uniforms: np.ndarray) -> np.ndarray:
        """The wave (64 K,) of one row."""
        from . import kernel

        vectors, count = self.array(units.vectors[b].t()), uniforms.shape[1]
        if self.config.kind == "dual":
            said = np.empty((count, 2), np.int64)
            kernel.bytes_of(*self.rows[b], vectors, uniforms[b], self.sharpness, self.values[b], said)
            wav: np.ndarray = labels.joined(torch.from_numpy(said)).numpy()
            return wav
        told = [self.array(x[b]) for x in (units.filters, units.gain, units.periods(), units.voicing)]
        wav = np.concatenate([self.wav[b], np.zeros(count, np.float32)])
        codes = np.concatenate([self.codes[b], np.zeros(count, np.int64)])
        kernel.excitations_of(*self.rows[b], vectors, np.ascontiguousarray(uniforms[b, :, 0]), self.sharpness, *told,
                              self.classes, self.pitch, self.told[b], wav, codes)  # fmt: skip
        self.wav[b], self.codes[b] = wav[count:], codes[count:]
        return wav[self.config.order :]
