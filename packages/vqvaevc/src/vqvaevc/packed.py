"""The decoder as kernel.py runs it: its weights packed, who speaks folded into the biases of each row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vocoder_core.recurrent.integers import Tier, matrices
from vocoder_core.recurrent.streams import pack

from . import labels
from .tellers import Units
from .timing import UNIT
from .warmup import State


class Packed:
    """Rows that go on from a State, said by speakers (B, S) (vocoder_core.recurrent.engine.Kernel)."""

    block = UNIT

    def __init__(
        self, model: Any, state: State, speaker: Tensor | None, tier: Tier | None = None, lanes: int | None = None
    ) -> None:
        """tier, lanes: as for net_of."""
        from . import kernel

        self.config, self.state, self.rows = model.config.labels, state, len(state.values)
        self.draws = 2 if self.config.kind == "dual" else 1
        self.speak = kernel.say_bytes if self.config.kind == "dual" else kernel.say_excitations
        self.net = net_of(model, tier, lanes)
        self.biases = biases_of(model, speaker, self.rows)

    def work(self, rows: slice) -> Any:
        """What these rows remember before their first sample, and room for one."""
        from .kernel import Work

        state, net, count = self.state, self.net, rows.stop - rows.start
        convs, entries = ([array(bias[rows]) for bias in part] for part in self.biases)
        ears = tuple(_heard(state, i, rows, *convs[2 * i : 2 * i + 2]) for i in range(3))
        uppers = tuple(_carried(state.hidden[i][rows], entries[i + 1]) for i in range(3))
        hidden, values = (array(x[rows]) for x in (state.hidden[3], state.values))
        made = max(0, self.config.codes_told - state.codes.shape[1])  # codes that are made with the sample
        codes = array(F.pad(state.codes[rows], (0, made)))
        halves = np.ascontiguousarray(hidden.reshape(count, 2, -1).swapaxes(0, 1)) if self.draws == 2 else hidden[None]
        gates, linear, classes = len(net.recurrent_bias), net.linear_bias.shape[1], net.logits_bias.shape[1]
        rooms = [np.zeros((count, size), np.float32) for size in (gates, gates, linear, classes)]
        gate, product, features, logits = rooms
        return Work(ears, uppers, entries[0][:, None], hidden, values, codes, halves, gate, product,
                    np.zeros(count, np.float32), features, logits, np.zeros(linear, np.int64))  # fmt: skip

    def past(self) -> tuple[np.ndarray, ...]:
        """Bytes, of which none are read; or the waves and codes before the first sample."""
        if self.draws == 2:
            return (np.zeros((self.rows, 2, 0), np.int64),)
        return array(self.state.wav), array(self.state.excitation)

    def told(self, told: Units, rows: slice) -> Any:
        """The units of these rows."""
        from .kernel import Told

        blocks = (x[rows] for x in (told.filters, told.gain, told.periods(), told.voicing))
        return Told(array(told.vectors[rows].transpose(1, 2)), *(array(x) for x in blocks))

    def said(self, lines: tuple[np.ndarray, ...]) -> np.ndarray:
        """Waves (B, n)."""
        if self.draws == 1:
            return lines[0]
        wav: np.ndarray = labels.joined(torch.from_numpy(lines[0]).transpose(1, 2)).numpy()
        return wav


@torch.no_grad()
def net_of(model: Any, tier: Tier | None = None, lanes: int | None = None) -> Any:
    """A model's weights, packed (kernel.Net).

    tier: None for floats; else all that is multiplied often is in whole numbers (vocoder_core.recurrent.integers), and
    floats are the convolutions, what rnn0 reads, which is of several kinds, and tables. lanes: of the registers that
    their products use (None: the widest).
    """
    from vocoder_core.recurrent.excitation_kernel import pitch_of
    from vocoder_core.recurrent.vnni import lanes as widest

    from .kernel import Net
    from .listening import Ear

    net, lab, rnns = model.wavernn, model.config.labels, model.overtone.rnns
    ears, heavy = _heavy(model)
    logits, made = [layer.weight for layer in net.logits], list[Any]()
    if tier is None:
        made = pack(*ears, *heavy, *(weight.t() for weight in logits), halves=True)
    else:
        parts = [(weight, True) for weight in heavy[1:]] + [(weight, False) for weight in logits]
        made = [*pack(*ears, heavy[0]), *matrices(parts, tier, widest() if lanes is None else lanes)]
    convs, uppers, recurrent, heads = made[:6], made[6:18], made[18], made[19:]
    biases = [(rnn.gru.bias_hh, rnn.spread.bias.repeat(4)) for rnn in rnns]
    (told, tables), order = pack(*_told(model)), places(model)
    linear_bias, logits_bias = (array(torch.stack([x.bias for x in part])) for part in (net.linears, net.logits))
    return Net(
        (Ear(*convs[:2]), Ear(*convs[2:4]), Ear(*convs[4:])),
        (_upper(uppers[:4], *biases[0]), _upper(uppers[4:8], *biases[1]), _upper(uppers[8:], *biases[2])),
        recurrent, array(net.gru.bias_hh[order]), told, tables, tuple(heads[: len(logits)]), linear_bias,
        tuple(heads[len(logits) :]), logits_bias, np.zeros(max(len(weight) for weight in (*ears, *heavy)), np.float32),
        array(labels.expanded(torch.arange(lab.classes), lab)), pitch_of(lab.excitation),
    )  # fmt: skip


def _heavy(model: Any) -> tuple[list[Tensor], list[Tensor]]:
    """The six matrices of the convolutions; then what is multiplied often but the logits, rnn0's own first."""
    net, convs, rnns, order = model.wavernn, model.overtone.convs, model.overtone.rnns, places(model)
    below = [*(rnn.gru.input_weight()[:, convs[0].halves[1].wide.out_channels // 2 :] for rnn in rnns[1:]),
             net.gru.input_weight()[order][:, : rnns[2].gru.size]]  # fmt: skip
    tensors = []
    for i, (rnn, on) in enumerate(zip(rnns, below)):
        own = rnn.gru.input_weight()
        own = own[:, : own.shape[1] - rnn.gru.size] if i else own
        spread = rnn.spread.weight.permute(2, 1, 0).flatten(0, 1)  # (in, out, 4) -> (4 out, in)
        tensors += [own, rnn.gru.weight_hh, spread, on]
    tensors += [net.gru.weight_hh[order], *(layer.weight for layer in net.linears)]
    return [flat(half.wide.weight) for conv in convs for half in conv.halves], tensors


def _told(model: Any) -> tuple[Tensor, Tensor]:
    """Entries of the values (I, 3H) and of the codes (k Q, 3H) that are told."""
    net, heard, lab = model.wavernn, model.overtone.rnns[2].gru.size, model.config.labels
    told = net.gru.input_weight()[places(model)][:, heard:].t()
    if lab.kind == "dual":
        return told, told[:0]
    return told[: lab.values_told], torch.cat([table.weight @ told[lab.values_told :] for table in net.embeddings])


def _upper(weights: list[Any], recurrent_bias: Tensor, spread_bias: Tensor) -> Any:
    from .listening import Upper

    own, recurrent, spread, on = weights
    return Upper(own, recurrent, array(recurrent_bias), spread, array(spread_bias), on)


@torch.no_grad()
def biases_of(model: Any, speaker: Tensor | None, rows: int) -> tuple[list[Tensor], list[Tensor]]:
    """The rows' own: of the convolutions' six layers (B, 2C), and of the entries of the four GRUs (B, 3R), (B, 3H).

    Row by row: in a batch BLAS rounds otherwise.
    """
    who = [None if speaker is None else speaker[b : b + 1] for b in range(rows)]
    halves = [half for conv in model.overtone.convs for half in conv.halves]
    convs = [torch.stack([_bias_of_layer(half, one) for one in who]) for half in halves]
    grus = [*(rnn.gru for rnn in model.overtone.rnns), model.wavernn.gru]
    entries = [torch.stack([gru.bias_of(one).reshape(-1) for one in who]) for gru in grus]
    return convs, [*entries[:3], entries[3][:, places(model)]]


def _bias_of_layer(half: Any, who: Tensor | None) -> Tensor:
    bias: Tensor = half.wide.bias
    return bias if half.speaker is None else bias + half.speaker(who)[0]


def _heard(state: State, i: int, rows: slice, first_bias: np.ndarray, second_bias: np.ndarray) -> Any:
    from .listening import Heard

    read, inner = (
        array(F.pad(old[rows].flatten(1), (0, count * old.shape[2])))
        for old, count in ((state.read[i], 4), (state.inner[i], 2))
    )
    return Heard(first_bias, second_bias, read, inner, array(state.heard[i][rows]))


def _carried(hidden: Tensor, on_bias: np.ndarray) -> Any:
    from .listening import Carried

    return Carried(array(hidden), on_bias, np.zeros((len(on_bias), 4, on_bias.shape[1]), np.float32))


def places(model: Any) -> Tensor:
    """Where the WaveRNN's gates (3H,) are taken from: of "dual" labels halved."""
    size = model.wavernn.gru.size
    return halved(size) if model.config.labels.kind == "dual" else torch.arange(3 * size)


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
