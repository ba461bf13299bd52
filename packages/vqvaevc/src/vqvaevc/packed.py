"""A model's weights as its kernels read them: laid out for kernel.py, who speaks folded into the biases of his row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocoder_core.recurrent.integers import Tier, matrices
from vocoder_core.recurrent.streams import pack
from vocoder_core.recurrent.vnni import lanes

from .kernel import Mouth
from .listening import Ear, Upper
from .warmup import State

Row = tuple[tuple[Ear, Ear, Ear], tuple[Upper, Upper, Upper], Mouth, np.ndarray]


class Packed:
    """Weights that all rows share, packed once; `row` adds what is a row's own.

    tier: None for floats; else all that is multiplied often is in whole numbers (vocoder_core.recurrent.integers), and
    floats are the convolutions, what rnn0 reads, which is of several kinds, and tables.
    """

    @torch.no_grad()
    def __init__(self, model: Any, tier: Tier | None = None) -> None:
        self.model = model
        net, convs, rnns = model.wavernn, model.overtone.convs, model.overtone.rnns
        dual = model.config.labels.kind == "dual"
        self.order = halved(net.gru.size) if dual else torch.arange(3 * net.gru.size)
        below = [*(rnn.gru.input_weight()[:, convs[0].halves[1].wide.out_channels // 2 :] for rnn in rnns[1:]),
                 net.gru.input_weight()[self.order][:, : rnns[2].gru.size]]  # fmt: skip
        ears, tensors = [flat(half.wide.weight) for conv in convs for half in conv.halves], []
        for i, (rnn, on) in enumerate(zip(rnns, below)):
            own = rnn.gru.input_weight()
            own = own[:, : own.shape[1] - rnn.gru.size] if i else own
            spread = rnn.spread.weight.permute(2, 1, 0).flatten(0, 1)  # (in, out, 4) -> (4 out, in)
            tensors += [own, rnn.gru.weight_hh, spread, on]
        tensors += [net.gru.weight_hh[self.order], *(layer.weight for layer in net.linears)]
        logits = [layer.weight for layer in net.logits]
        made: list[Any]
        if tier is None:
            arrays = pack(*ears, *tensors, *(weight.t() for weight in logits), halves=True)
            self.convs, made = arrays[:6], list(arrays[6:])
        else:
            *self.convs, first = pack(*ears, tensors[0])
            parts = [(weight, True) for weight in tensors[1:]] + [(weight, False) for weight in logits]
            made = [first, *matrices(parts, tier, lanes())]
        self.uppers, heads = made[:12], len(logits)
        self.mouth = made[12], *pack(*self._told()), tuple(made[13 : 13 + heads]), tuple(made[13 + heads :])

    def _told(self) -> tuple[Tensor, Tensor]:
        """Entries of the values (I, 3H) and of the codes (k Q, 3H) that are told."""
        net, heard = self.model.wavernn, self.model.overtone.rnns[2].gru.size
        told = net.gru.input_weight()[self.order][:, heard:].t()
        if self.model.config.labels.kind == "dual":
            return told, told[:0]
        values = self.model.config.labels.values_told
        tables = [table.weight @ told[values:] for table in net.embeddings]
        return told[:values], torch.cat(tables)

    def row(self, state: State, speaker: Tensor | None, b: int) -> Row:
        """What the kernels work on for row b, whose speaker is speaker[b]."""
        who = None if speaker is None else speaker[b : b + 1]
        biases = [array(self._bias(rnn.gru, who)) for rnn in self.model.overtone.rnns]
        biases.append(array(self._bias(self.model.wavernn.gru, who)[self.order]))
        ears = (self._ear(0, state, who, b), self._ear(1, state, who, b), self._ear(2, state, who, b))
        uppers = tuple(self._upper(i, state, biases[i + 1], b) for i in range(3))
        net, (recurrent, told, tables, linear, logits) = self.model.wavernn, self.mouth
        linear_bias, logits_bias = (array(torch.stack([x.bias for x in part])) for part in (net.linears, net.logits))
        bias, hidden = array(net.gru.bias_hh[self.order]), array(state.hidden[3][b])
        mouth = Mouth(recurrent, bias, told, tables, linear, linear_bias, logits, logits_bias, hidden)
        return ears, (uppers[0], uppers[1], uppers[2]), mouth, biases[0]

    def _bias(self, gru: Any, who: Tensor | None) -> Tensor:
        bias: Tensor = gru.bias_of(who)
        return bias.reshape(-1)

    def _ear(self, i: int, state: State, who: Tensor | None, b: int) -> Ear:
        halves = self.model.overtone.convs[i].halves
        biases = []
        for half in halves:
            bias = half.wide.bias
            biases.append(array(bias if half.speaker is None else bias + half.speaker(who)[0]))
        read, inner = (
            array(torch.cat([old.flatten(), old.new_zeros(count * old.shape[1])]))
            for old, count in ((state.read[i][b], 4), (state.inner[i][b], 2))
        )
        first, second = self.convs[2 * i : 2 * i + 2]
        return Ear(first, biases[0], second, biases[1], read, inner, array(state.heard[i][b]))

    def _upper(self, i: int, state: State, on_bias: np.ndarray, b: int) -> Upper:
        rnn = self.model.overtone.rnns[i]
        own, recurrent, spread, on = self.uppers[4 * i : 4 * i + 4]
        bias, spread_bias, hidden = (array(x) for x in (rnn.gru.bias_hh, rnn.spread.bias.repeat(4), state.hidden[i][b]))
        vectors, entries = np.zeros(len(spread_bias), np.float32), np.zeros(4 * len(on_bias), np.float32)
        return Upper(own, recurrent, bias, spread, spread_bias, on, on_bias, hidden, vectors, entries)


def halved(size: int) -> Tensor:
    """Places (3H,) of gates that lie r z n of the first half of the state, then of the second."""
    return torch.arange(3 * size).reshape(3, 2, size // 2).transpose(0, 1).flatten()


def flat(weight: Tensor) -> Tensor:
    """A convolution (C_out, C_in, 4) as a matrix (C_out, 4 C_in) for vectors one after another."""
    return weight.transpose(1, 2).flatten(1)


def array(tensor: Tensor) -> np.ndarray:
    """A copy, contiguous; float32 of floats."""
    copy = tensor.detach().cpu()
    return np.array(copy.float().numpy() if copy.is_floating_point() else copy.numpy(), order="C")
