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
from vocoder_core.recurrent.integers import Tier
from vocoder_core.recurrent.streams import compile_aloud, side_by_side

from . import labels
from .tellers import Units, of_nothing, teller
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
        grus = [*(rnn.gru for rnn in model.overtone.rnns), model.wavernn.gru]
        self.cells = [(gru.input_weight(), gru.bias_of(speaker), gru.weight_hh, gru.bias_hh) for gru in grus]
        self.waiting: list[list[Tensor]] = [[], [], []]  # vectors that each convolution is yet to read
        self.teller = teller(model.config.labels, state)

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
        self.hidden[i] = stepped(*self.products(i, x), self.hidden[i])
        spread: Tensor = self.model.overtone.rnns[i].spread(self.hidden[i][:, :, None])
        return spread.transpose(1, 2)

    def products(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Entry and recurrent product (B, 3H) of GRU i that reads x (B, I), or what of it is known so far."""
        weight, bias, recurrent, recurrent_bias = self.cells[i]
        return x @ weight[:, : x.shape[1]].t() + bias, F.linear(self.hidden[i], recurrent, recurrent_bias)

    def sample(self, heard: Tensor, uniforms: Tensor) -> None:
        """Draws the next sample by what is heard (B, R), and tells it on."""
        values, codes = self.teller.told()
        tables = self.model.wavernn.embeddings
        embedded = [torch.stack([table(codes[:, k]) for k, table in enumerate(tables)]).sum(0)] if len(tables) else []
        entry, product = self.products(3, torch.cat([heard, values, *embedded], dim=1))
        after = stepped(entry, product, self.hidden[3])
        label = self.draw(self.logits(0, after), uniforms[:, 0])
        if self.model.config.labels.kind == "dual":  # so far the first half of the state is right, which is blind to it
            byte = labels.scaled(label)[:, None].to(heard)
            after = stepped(entry + byte * self.cells[3][0][:, -1], product, self.hidden[3])
            label = torch.stack([label, self.draw(self.logits(1, after), uniforms[:, 1])], dim=1)
        self.hidden[3] = after
        self.teller.take(label)

    def logits(self, head: int, hidden: Tensor) -> Tensor:
        """Of one label (B, Q), by the state (B, H)."""
        net = self.model.wavernn
        part = hidden.chunk(len(net.linears), dim=1)[head]
        said: Tensor = net.logits[head](F.relu(net.linears[head](part)))
        return said

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


def stepped(entry: Tensor, product: Tensor, hidden: Tensor) -> Tensor:
    """The state (B, H) after a step, by the gates' two summands (B, 3H)."""
    width = hidden.shape[1]
    reset, keep = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
    fresh = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
    return torch.lerp(fresh, hidden, keep)


class NumbaLoop:
    """The same by the compiled kernels. A row's samples depend neither on the batch nor on the number of threads."""

    def __init__(
        self, model: Any, state: State, speaker: Tensor | None, temperature: float, tier: Tier | None = None
    ) -> None:
        """tier: in whole numbers; None: in floats, exactly."""
        from vocoder_core.recurrent.excitation_kernel import pitch_of

        from .packed import Packed, array

        self.config, self.array = model.config.labels, array
        self.sharpness = np.float32(1 / max(temperature, LEAST_TEMPERATURE))
        packed = Packed(model, tier)
        self.rows = [packed.row(state, speaker, b) for b in range(len(state.values))]
        made = max(0, self.config.codes_told - state.codes.shape[1])  # codes that are made with the sample
        self.values, self.told, self.wav, self.codes = (
            [array(row) for row in part]
            for part in (state.values, F.pad(state.codes, (0, made)), state.wav, state.excitation)
        )
        self.classes = array(labels.expanded(torch.arange(self.config.classes), self.config))
        self.pitch = pitch_of(self.config.excitation)
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
