"""One sample of the decoder in torch: the definition of what the kernels do, to be read on one screen.

A block is a unit of 64 samples; a Cell begins at a State (warmup.py). Each network steps where * stands:

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

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from . import labels
from .tellers import Units, teller
from .timing import KERNEL, UNIT
from .warmup import State


class Cell:
    """p(x[t] | x[<t], units), one t after another: waves of B rows. Any device, whole batch at once."""

    block = UNIT

    def __init__(self, model: Any, state: State, speaker: Tensor | None) -> None:
        """speaker (B, S)."""
        self.model = model
        self.draws = 2 if model.config.labels.kind == "dual" else 1
        self.read, self.inner, self.heard = list(state.read), list(state.inner), list(state.heard)
        self.hidden = list(state.hidden)
        grus = [*(rnn.gru for rnn in model.overtone.rnns), model.wavernn.gru]
        self.grus = [(gru.input_weight(), gru.bias_of(speaker), gru.weight_hh, gru.bias_hh) for gru in grus]
        self.convs = [[wide(half, speaker) for half in conv.halves] for conv in model.overtone.convs]
        spreads = [rnn.spread for rnn in model.overtone.rnns]
        self.spreads = [(each.weight.permute(2, 1, 0).flatten(0, 1), each.bias.repeat(4)) for each in spreads]
        self.teller = teller(model.config.labels, state)

    def begin(self, told: Units) -> None:
        """A unit begins."""
        self.teller.begin(told)
        self.waiting: list[list[Tensor]] = [[], [], []]  # vectors that each convolution is yet to read
        self.t, self.drawn = 0, list[Tensor]()  # labels of the sample under way
        if told.count:
            self.by64 = self.upper(0, torch.cat([self.heard[2], told.vectors[..., 0]], dim=1))

    def logits(self, k: int) -> Tensor:
        """Logits (B, Q) of label k of the next sample."""
        if k == 0:
            self.step()
        else:  # "dual": so far the first half of the state is right, which is blind to the byte that is known now
            byte = labels.scaled(self.drawn[0])[:, None].to(self.entry)
            self.after = stepped(self.entry + byte * self.grus[3][0][:, -1], self.product, self.hidden[3])
        return self.scores(k, self.after)

    def step(self) -> None:
        """A sample of the WaveRNN, by what is heard and told; before it those of the upper GRUs that are due."""
        if self.t % 16 == 0:
            self.by16 = self.upper(1, torch.cat([self.heard[1], self.by64[:, self.t // 16]], dim=1))
        if self.t % 4 == 0:
            self.by4 = self.upper(2, torch.cat([self.heard[0], self.by16[:, self.t // 4 % 4]], dim=1))
        values, codes = self.teller.told()
        tables = self.model.wavernn.embeddings
        embedded = [torch.stack([table(codes[:, k]) for k, table in enumerate(tables)]).sum(0)] if len(tables) else []
        self.entry, self.product = self.products(3, torch.cat([self.by4[:, self.t % 4], values, *embedded], dim=1))
        self.after = stepped(self.entry, self.product, self.hidden[3])

    def upper(self, i: int, x: Tensor) -> Tensor:
        """The four vectors (B, 4, R) of a step of rnn i that reads x (B, I)."""
        self.hidden[i] = stepped(*self.products(i, x), self.hidden[i])
        return F.linear(self.hidden[i], *self.spreads[i]).unflatten(1, (4, -1))

    def products(self, i: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Entry and recurrent product (B, 3H) of GRU i that reads x (B, I), or what of it is known so far."""
        weight, bias, recurrent, recurrent_bias = self.grus[i]
        return x @ weight[:, : x.shape[1]].t() + bias, F.linear(self.hidden[i], recurrent, recurrent_bias)

    def scores(self, head: int, hidden: Tensor) -> Tensor:
        """What one head says (B, Q) by the state (B, H)."""
        net = self.model.wavernn
        part = hidden.chunk(len(net.linears), dim=1)[head]
        said: Tensor = net.logits[head](F.relu(net.linears[head](part)))
        return said

    def take(self, label: Tensor) -> None:
        """A label (B,) is drawn; with its last one the sample is told on."""
        self.drawn.append(label)
        if len(self.drawn) < self.draws:
            return
        self.teller.take(torch.stack(self.drawn, dim=1) if self.draws == 2 else label)
        self.hidden[3], self.drawn, self.t = self.after, [], self.t + 1
        self.look(0, self.teller.past())

    def look(self, i: int, vector: Tensor) -> None:
        """conv i is given a vector (B, C_in) more; after every fourth it is heard, also by the one above it."""
        self.waiting[i].append(vector)
        if len(self.waiting[i]) < KERNEL:
            return
        first, second = self.convs[i]
        read = torch.cat([self.read[i], torch.stack(self.waiting[i], dim=1)], dim=1)
        inner = torch.cat([self.inner[i], convolved(read, *first)], dim=1)
        self.heard[i] = convolved(inner, *second)[:, 0]
        self.read[i], self.inner[i], self.waiting[i] = read[:, -2:], inner[:, -2:], []
        if i < 2:
            self.look(i + 1, self.heard[i])

    def end(self) -> Tensor:
        """The unit's wave (B, 64)."""
        return self.teller.end()

    def state(self) -> list[Tensor]:
        """What is remembered between two units, at which no convolution waits."""
        return [*self.read, *self.inner, *self.heard, *self.hidden, *self.teller.state()]

    def resume(self, state: list[Tensor]) -> None:
        """Go on from there."""
        self.read, self.inner, self.heard = state[:3], state[3:6], state[6:9]
        self.hidden = state[9:13]
        self.teller.resume(state[13:])


def wide(half: Any, speaker: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weights (2C, C_in KERNEL) of half a convolution and its biases (B, 1, 2C) for those who speak."""
    bias = half.wide.bias[None] if half.speaker is None else half.wide.bias + half.speaker(speaker)
    return half.wide.weight.flatten(1), bias[:, None]


def convolved(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(B, n, C) of half a convolution that reads x (B, 2 n + 2, C_in): as a product; cuDNN would round to TF32."""
    a, b = (F.linear(x.unfold(1, KERNEL, 2).flatten(2), weight) + bias).chunk(2, dim=2)
    return torch.sigmoid(a) * torch.tanh(b)


def stepped(entry: Tensor, product: Tensor, hidden: Tensor) -> Tensor:
    """The state (B, H) after a step, by the gates' two summands (B, 3H)."""
    width = hidden.shape[1]
    reset, keep = (entry + product)[:, : 2 * width].sigmoid().chunk(2, dim=1)
    fresh = torch.tanh(entry[:, 2 * width :] + reset * product[:, 2 * width :])
    return torch.lerp(fresh, hidden, keep)
