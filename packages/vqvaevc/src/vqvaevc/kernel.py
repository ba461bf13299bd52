"""The kernels for CPUs: one stream of samples on one core, compiled by numba when they are first used.

The same in torch, and when each network steps: loops.TorchLoop. Given the same uniforms both draw the same labels, up
to rounding. What a sample costs at the default sizes (C 128, R 512, H 896, L 896; thousands of products a sample):

    WaveRNN    recurrent (3H, H)                       every sample                2408   one product for both halves
               linears (L, H / 2), logits (L, 256)     every sample, both bytes    1262   rows of active features only
               entry of rnn2's vectors (3H, R)         four samples at a time      1376   weights are read once in four
    rnn2       recurrent (3R, R), conv0 (3R, C)        every 4                      246
               to four vectors (4R, R)                 every 4                      262
               entry of rnn1's vectors (3R, R)         every 16, four at a time     197
    rnn1       all of it, rnn0's vectors               every 16, 64                 176
    rnn0       all of it                               every 64                      47
    conv0,1,2  two new of four inner outputs           every 4, 16, 64               64
                                                                                   ----
                                                                                   6038   the public code: 10512

Of the product of four at a time a sample reads 344 thousand weights: 4.8 M in all, and the speed is that at which the
core reads them: 19 MB in 32-bit floats, which is exact; half of it where 16-bit floats hold them without loss, as of
shipped ones; 5 MB in whole numbers of 8 bits (packed.py says which, vocoder_core.recurrent.products how). What the
kernels are made of, and why so: listening.py, vocoder_core.recurrent.primitives.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.excitation_kernel import Pitch, ago, code_of, held
from vocoder_core.recurrent.primitives import draw, exactly, update
from vocoder_core.recurrent.products import affine, affine_of_active

from .listening import hear, look

_F = np.float32


class Mouth(NamedTuple):
    """The WaveRNN. Of "dual" labels the gates lie halved: r z n of the coarse byte's half, then of the fine one's."""

    recurrent: Any  # (3H, H): floats, or a matrix of whole numbers
    recurrent_bias: np.ndarray
    told: np.ndarray  # (I, 3H): entry of the values told; dual: of both bytes before, and of the coarse one
    tables: np.ndarray  # (k Q, 3H): entry of the codes told
    linear: Any  # of each head (L, H / heads)
    linear_bias: np.ndarray  # (heads, L)
    logits: Any  # of each head (L, Q); of whole numbers (Q, L)
    logits_bias: np.ndarray  # (heads, Q)
    hidden: np.ndarray  # (H,)


@exactly
def said(mouth: Mouth, head: int, hidden: np.ndarray, sharpness: Any, u: float, active: np.ndarray) -> int:
    """The label that one head draws by a part of the state."""
    features = np.empty(mouth.linear_bias.shape[1], np.float32)
    logits = np.empty(mouth.logits_bias.shape[1], np.float32)
    affine(mouth.linear[head], mouth.linear_bias[head], hidden, features)
    affine_of_active(mouth.logits[head], mouth.logits_bias[head], features, active, logits)
    return draw(logits, sharpness, u)


@exactly
def bytes_of(
    ears: Any, uppers: Any, mouth: Mouth, entry: np.ndarray, vectors: np.ndarray, uniforms: np.ndarray, sharpness: Any,
    before: np.ndarray, codes: np.ndarray,
) -> None:  # fmt: skip
    """Coarse and fine bytes, codes (64 K, 2) int64, of K units: labels "dual".

    vectors (K, D), uniforms (64 K, 2) float64, sharpness 1 / temperature; before (2,): values of the bytes before.
    """
    size = len(mouth.recurrent_bias)
    gates, product = np.empty(size, np.float32), np.empty(size, np.float32)
    active, gate, half = np.empty(mouth.linear_bias.shape[1], np.int64), size // 2, len(mouth.hidden) // 2
    for t in range(len(uniforms)):
        if t % 4 == 0:
            hear(t % 64, uppers, ears, entry, vectors[t // 64])
        own = uppers[2].entries[t % 4 * size : (t % 4 + 1) * size]
        affine(mouth.recurrent, mouth.recurrent_bias, mouth.hidden, product)
        for j in range(size):
            gates[j] = before[0] * mouth.told[0, j] + before[1] * mouth.told[1, j]
        update(gates[:gate], own[:gate], product[:gate], mouth.hidden[:half])
        codes[t, 0] = said(mouth, 0, mouth.hidden[:half], sharpness, uniforms[t, 0], active)
        coarse = _F(codes[t, 0]) / _F(127.5) - _F(1)
        for j in range(gate, size):
            gates[j] += coarse * mouth.told[2, j]
        update(gates[gate:], own[gate:], product[gate:], mouth.hidden[half:])
        codes[t, 1] = said(mouth, 1, mouth.hidden[half:], sharpness, uniforms[t, 1], active)
        before[0], before[1] = coarse, _F(codes[t, 1]) / _F(127.5) - _F(1)
        ears[0].read[2 + t % 4] = coarse
        if t % 4 == 3:
            look((t + 1) % 64, ears)


@exactly
def tell(mouth: Mouth, codes: np.ndarray, values: np.ndarray, gates: np.ndarray) -> None:
    """gates <- entry (3H,) of the codes (k,) and the values (I,) that are told of a sample."""
    classes = len(mouth.tables) // len(codes)
    gates[:] = mouth.tables[codes[0]]
    for k in range(1, len(codes)):
        row = mouth.tables[k * classes + codes[k]]
        for j in range(len(gates)):
            gates[j] += row[j]
    for k in range(len(values)):
        value, row = values[k], mouth.told[k]
        for j in range(len(gates)):
            gates[j] += value * row[j]


@exactly
def excitations_of(
    ears: Any, uppers: Any, mouth: Mouth, entry: np.ndarray, vectors: np.ndarray, uniforms: np.ndarray, sharpness: Any,
    filters: np.ndarray, gain: np.ndarray, lag: np.ndarray, voicing: np.ndarray, classes: np.ndarray, pitch: Pitch,
    told: np.ndarray, wav: np.ndarray, codes: np.ndarray,
) -> None:  # fmt: skip
    """Waves and codes of K units: labels "mulaw". wav (order + 64 K,) and codes (M + 64 K,) begin with those before.

    filters (blocks, p + 1), gain, voicing (blocks,), lag (blocks,) int64; classes (Q,): what each code excites;
    told (k,) int64: the codes that are told, of which those before the next sample are known. The rest as above.
    """
    size, half, order = len(mouth.recurrent_bias), len(classes) // 2, filters.shape[1] - 1
    gates, product = np.empty(size, np.float32), np.empty(size, np.float32)
    active, values = np.empty(mouth.linear_bias.shape[1], np.int64), np.empty(len(mouth.told), np.float32)
    block, memory = len(uniforms) // max(1, len(gain)), len(codes) - len(uniforms)
    for t in range(len(uniforms)):
        if t % 4 == 0:
            hear(t % 64, uppers, ears, entry, vectors[t // 64])
        b, foreseen = t // block, 0.0
        for k in range(1, order + 1):
            foreseen -= filters[b, k] * np.float64(wav[order + t - k])
        predicted = _F(foreseen)
        if order:
            told[2] = code_of(predicted, half)
        if len(values):
            told[3] = code_of(ago(pitch, classes, codes, memory + t - lag[b], voicing[b], values), half)
        tell(mouth, told, values, gates)
        affine(mouth.recurrent, mouth.recurrent_bias, mouth.hidden, product)
        update(gates, uppers[2].entries[t % 4 * size : (t % 4 + 1) * size], product, mouth.hidden)
        told[0] = said(mouth, 0, mouth.hidden, sharpness, uniforms[t], active)
        if order:
            told[0] = held(told[0], codes[memory + t - pitch.held + 1 : memory + t], classes, pitch)
        codes[memory + t] = told[0]
        wav[order + t] = min(max(predicted + gain[b] * classes[told[0]], _F(-1)), _F(1))
        if order:
            told[1] = code_of(wav[order + t], half)
        channels = len(ears[0].read) // 6
        for k in range(channels):
            ears[0].read[(2 + t % 4) * channels + k] = _F(told[k] - half) / _F(half - 1)
        if t % 4 == 3:
            look((t + 1) % 64, ears)
