"""The kernels for CPUs: B streams of samples on one core, compiled by numba when they are first used.

The same in torch, and when each network steps: cell.py. Given the same uniforms both draw the same labels, up to
rounding. The loop around them is vocoder_core.recurrent.loop; the context stack listening.py; the products, in floats
or in whole numbers, vocoder_core.recurrent.products. What one sample reads, for C 128, R 512, H 896, L 896 (row-major,
one block of memory on large pages):

                                                               every      float32     int8
    WaveRNN     recurrent      (3H, H)                             1      9.63 MB  2.41 MB   one product for both bytes
                linears        2 x (L, H / 2)                      1      3.21 MB  0.80 MB   ReLU: about half are 0
                logits         2 x (L, 256)                        1      0.92 MB  0.46 MB   floats: rows of the others
                told           3 rows and an entry of (3H,)        1      0.04 MB  0.04 MB
    rnn2        to the WaveRNN (3H, R)                             4      1.38 MB  0.34 MB   four vectors at once
                own, recurrent (3R, C), (3R, R)                    4      0.98 MB  0.25 MB
                spread         (4R, R)                             4      1.05 MB  0.26 MB   the four vectors
    rnn1        the same, on to rnn2 (3R, R)                      16      0.70 MB  0.18 MB
    rnn0        the same, on to rnn1                              64      0.19 MB  0.07 MB   own in floats, (3R, C + D)
    conv0,1,2   first, second  (2C, 4C) each, two new of inner  4, 16, 64 0.21 MB  0.21 MB   floats
                                                                 sum:     18.3 MB   5.0 MB   a sample

A sample is 6.04 M products, of which four vectors share 1.57 M weights; the public code's, 10.51 M. Of one stream each
weight is used once a sample, so the speed is that at which the core reads them: half of the floats where 16 bits hold
them without loss, as of shipped ones. Several streams on a core share what is read. A stream says the same samples
whatever streams are beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.excitation_kernel import Pitch, ago, code_of, held
from vocoder_core.recurrent.loop import loop_of
from vocoder_core.recurrent.primitives import exactly, update
from vocoder_core.recurrent.products import affine, affine_of_active

from .listening import Carried, Ear, Heard, Upper, copy, hear, look

_F = np.float32


class Net(NamedTuple):
    """The decoder's weights, those of all streams. Of "dual" labels the WaveRNN's gates lie halved (packed.halved)."""

    ears: tuple[Ear, Ear, Ear]
    uppers: tuple[Upper, Upper, Upper]
    recurrent: Any  # (3H, H): floats, or a matrix of whole numbers
    recurrent_bias: np.ndarray
    told: np.ndarray  # (I, 3H): entry of the values told; dual: of both bytes before, and of the coarse one
    tables: np.ndarray  # (k Q, 3H): entry of the codes told
    linear: Any  # of each head (L, H / heads)
    linear_bias: np.ndarray  # (heads, L)
    logits: Any  # of each head (L, Q); of whole numbers (Q, L)
    logits_bias: np.ndarray  # (heads, Q)
    none: np.ndarray  # zeros: the biases of products to which a stream adds its own
    classes: np.ndarray  # (Q,): mulaw, what each code excites
    pitch: Pitch  # mulaw


class Work(NamedTuple):
    """What B streams remember, and room for one sample of each."""

    ears: tuple[Heard, Heard, Heard]
    uppers: tuple[Carried, Carried, Carried]
    entry: np.ndarray  # (B, 1, 3R): the biases of rnn0's entry
    hidden: np.ndarray  # (B, H): the WaveRNN's
    values: np.ndarray  # (B, I): told of the next sample; dual: of the bytes before it
    codes: np.ndarray  # (B, k) int64: told of it; known are those of the sample before
    halves: np.ndarray  # (2, B, H / 2): dual, `hidden` again
    gates: np.ndarray  # (B, 3H)
    product: np.ndarray  # (B, 3H)
    predicted: np.ndarray  # (B,)
    features: np.ndarray  # (B, L)
    logits: np.ndarray  # (B, Q)
    active: np.ndarray  # (L,) int64


class Told(NamedTuple):
    """What B streams are told of K units."""

    vectors: np.ndarray  # (B, K, D)
    filters: np.ndarray  # (B, blocks, p + 1)
    gain: np.ndarray  # (B, blocks)
    lag: np.ndarray  # (B, blocks) int64
    voicing: np.ndarray  # (B, blocks)


@exactly
def affine_twice(
    linear: Any, linear_bias: np.ndarray, logits: Any, logits_bias: np.ndarray, hidden: np.ndarray,
    features: np.ndarray, active: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """out <- the logits (B, Q) of one head by its part of the states, (B, H / heads)."""
    affine(linear, linear_bias, hidden, features)
    affine_of_active(logits, logits_bias, features, active, out)


# ---- labels "dual": lines are the bytes (B, 2, n) int64


@exactly
def byte(net: Net, work: Work, told: Told, lines: Any, t: int, k: int) -> None:
    """work.logits of the coarse byte of sample t, k = 0, or of the fine one."""
    if k == 0:
        if t % 4 == 0:
            hear(t, net.uppers, work.uppers, work.ears, work.entry, told.vectors, net.none)
        affine(net.recurrent, net.recurrent_bias, work.hidden, work.product)
    size, half = work.gates.shape[1] // 2, work.halves.shape[2]
    first, last = k * size, (k + 1) * size
    for b in range(len(work.gates)):
        gates, values = work.gates[b], work.values[b]
        if k == 0:
            for j in range(2 * size):
                gates[j] = values[0] * net.told[0, j] + values[1] * net.told[1, j]
        else:
            coarse = _F(lines[0][b, 0, t]) / _F(127.5) - _F(1)
            for j in range(size, 2 * size):
                gates[j] += coarse * net.told[2, j]
        entry, product, hidden = work.uppers[2].entries[b, t % 4], work.product[b], work.halves[k, b]
        update(gates[first:last], entry[first:last], product[first:last], hidden)
        copy(hidden, work.hidden[b, k * half : (k + 1) * half])
    affine_twice(net.linear[k], net.linear_bias[k], net.logits[k], net.logits_bias[k], work.halves[k],
                 work.features, work.active, work.logits)  # fmt: skip


@exactly
def take_byte(net: Net, work: Work, told: Told, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """Stream b says a byte; the last one of all with its fine byte sends the convolutions on."""
    lines[0][b, k, t] = label
    if k == 0:
        return
    coarse = _F(lines[0][b, 0, t]) / _F(127.5) - _F(1)
    work.values[b, 0], work.values[b, 1] = coarse, _F(label) / _F(127.5) - _F(1)
    work.ears[0].read[b, 2 + t % 4] = coarse
    if t % 4 == 3 and b == len(work.values) - 1:
        look(t + 1, net.ears, work.ears, net.none)


say_bytes = loop_of(byte, take_byte)


# ---- labels "mulaw": lines are waves (B, order + n) float32 and codes (B, M + n) int64


@exactly
def tell(tables: np.ndarray, weight: np.ndarray, codes: np.ndarray, values: np.ndarray, gates: np.ndarray) -> None:
    """gates <- entry (3H,) of the codes (k,) and the values (I,) that are told of a sample."""
    classes = len(tables) // len(codes)
    copy(tables[codes[0]], gates)
    for k in range(1, len(codes)):
        row = tables[k * classes + codes[k]]
        for j in range(len(gates)):
            gates[j] += row[j]
    for k in range(len(values)):
        value, row = values[k], weight[k]
        for j in range(len(gates)):
            gates[j] += value * row[j]


@exactly
def predicted(coefficients: np.ndarray, wav: np.ndarray, now: int) -> Any:
    """A prediction, by A (p + 1,), of wav[now]."""
    foreseen = 0.0
    for k in range(1, len(coefficients)):
        foreseen -= coefficients[k] * np.float64(wav[now - k])
    return _F(foreseen)


@exactly
def excitation(net: Net, work: Work, told: Told, lines: Any, t: int, k: int) -> None:
    """work.logits of the excitation, or without a prediction of the class, of sample t."""
    wav, said = lines
    order, half = told.filters.shape[2] - 1, len(net.classes) // 2
    samples = wav.shape[1] - order
    block = t // (samples // told.gain.shape[1])
    if t % 4 == 0:
        hear(t, net.uppers, work.uppers, work.ears, work.entry, told.vectors, net.none)
    affine(net.recurrent, net.recurrent_bias, work.hidden, work.product)
    for b in range(len(work.gates)):
        codes, values, gates = work.codes[b], work.values[b], work.gates[b]
        if order:
            work.predicted[b] = predicted(told.filters[b, block], wav[b], order + t)
            codes[2] = code_of(work.predicted[b], half)
        if len(values):
            place = said.shape[1] - samples + t - told.lag[b, block]
            codes[3] = code_of(ago(net.pitch, net.classes, said[b], place, told.voicing[b, block], values), half)
        tell(net.tables, net.told, codes, values, gates)
        update(gates, work.uppers[2].entries[b, t % 4], work.product[b], work.hidden[b])
    affine_twice(net.linear[0], net.linear_bias[0], net.logits[0], net.logits_bias[0], work.hidden,
                 work.features, work.active, work.logits)  # fmt: skip


@exactly
def take_excitation(net: Net, work: Work, told: Told, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """Stream b says an excitation; the last one of all sends the convolutions on."""
    (wav, said), codes, read = lines, work.codes[b], work.ears[0].read[b]
    order, half = told.filters.shape[2] - 1, len(net.classes) // 2
    samples, channels = wav.shape[1] - order, len(read) // 6
    block, now = t // (samples // told.gain.shape[1]), said.shape[1] - samples + t
    codes[0] = held(label, said[b, now - net.pitch.held + 1 : now], net.classes, net.pitch) if order else label
    said[b, now] = codes[0]
    wav[b, order + t] = min(max(work.predicted[b] + told.gain[b, block] * net.classes[codes[0]], _F(-1)), _F(1))
    if order:
        codes[1] = code_of(wav[b, order + t], half)
    for c in range(channels):
        read[(2 + t % 4) * channels + c] = _F(codes[c] - half) / _F(half - 1)
    if t % 4 == 3 and b == len(work.codes) - 1:
        look(t + 1, net.ears, work.ears, net.none)


say_excitations = loop_of(excitation, take_excitation)
