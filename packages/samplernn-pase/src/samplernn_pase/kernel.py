"""One sample of the network for CPUs, folded (fold.py): compiled by numba when it is first used.

The same in torch: cell.py. Given the same uniforms all draw the same labels, up to rounding. The loop around it is
vocoder_core.recurrent.loop; the products, in floats or in whole numbers, vocoder_core.recurrent.products.

What one sample reads, for H = 1024, Q = 256 (row-major; what is read whole lies on large pages):

                                                                                       float32     int8
    codes[t-20 ... t-1] --> tables  20 (Q, H): a row of each         every sample        82 KB    82 KB
    met[t]              --> hidden  (H, H): in floats the rows of    every sample       2.1 MB   1.0 MB
    features[t]         --> logits  (H, Q): positive ones, half      every sample       0.5 MB   0.3 MB   softmax, draw
    20 heard, h of mid  --> mid     gates (3H, H), 20 (H, H)         once in 20         4.8 MB   1.2 MB   97 MB / 20
    80 heard, h of top  --> top     gates (3H, H), 4 (3H, H)         once in 80         0.8 MB   0.2 MB   64 MB / 80
                                                                                sum:    8.4 MB   2.8 MB   a sample

Each weight is used once a sample and stream, so the speed is that at which one core reads its caches; several streams
on a core share all but the tables. Weights that 16-bit floats hold without loss, as shipped ones are where nothing was
multiplied into them, take half of the first column. A stream says the same samples whatever streams are beside it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.excitation_kernel import Pitch, ago, code_of, held
from vocoder_core.recurrent.loop import loop_of
from vocoder_core.recurrent.primitives import exactly, update
from vocoder_core.recurrent.products import affine, affine_of_active

_F = np.float32


class Tier(NamedTuple):
    """A frame tier (fold.Frame); recurrent and spread are floats or matrices of whole numbers."""

    history: np.ndarray  # (3H, channels frame)
    history_bias: np.ndarray  # (3H,): all that the top tier's gates have in common; of the mid tier 0
    conds: np.ndarray  # (3H, C)
    recurrent: Any  # (3H, H)
    recurrent_bias: np.ndarray
    spread: Any  # (r E, H)
    spread_bias: np.ndarray


class Mouth(NamedTuple):
    """The sample tier (fold.Sample); hidden and logits are transposed floats or matrices of whole numbers."""

    tables: np.ndarray  # (taps Q, H)
    told: np.ndarray  # (k Q, H)
    values: np.ndarray  # (I, H)
    conds: np.ndarray  # (H, C)
    hidden: Any  # (H, H)
    hidden_bias: np.ndarray
    logits: Any  # (H, Q); of whole numbers (Q, H)
    logits_bias: np.ndarray


class Net(NamedTuple):
    """The network's weights, and what its labels mean."""

    top: Tier
    mid: Tier
    mouth: Mouth
    classes: np.ndarray  # (Q,): what each code is of the wave; behind a prediction what it excites, in gains
    pitch: Pitch
    taps: int  # samples of a step of the mid tier
    hop: int  # samples of a frame, and of what was heard before the first one
    memory: int  # codes before the first one


class Steps(NamedTuple):
    """What B streams remember of a frame tier, `hidden`, its last words, and room for one step."""

    hidden: np.ndarray  # (B, H)
    vectors: np.ndarray  # (B, r E): for the tier below at its next r steps
    place: np.ndarray  # (B, 3H): what conds add to the gates in this frame
    past: np.ndarray  # (B, channels frame)
    gates: np.ndarray  # (B, 3H)
    product: np.ndarray  # (B, 3H)


class Work(NamedTuple):
    """What B streams remember, and room for one sample of each."""

    top: Steps
    mid: Steps
    place: np.ndarray  # (B, H): what conds add in this frame
    met: np.ndarray  # (B, H)
    features: np.ndarray  # (B, H)
    logits: np.ndarray  # (B, Q)
    predicted: np.ndarray  # (B,): of the next sample
    known: np.ndarray  # (k,) int64
    values: np.ndarray  # (I,)
    active: np.ndarray  # (H,) int64


class Told(NamedTuple):
    """What K frames of B streams are told behind a prediction; without one, conds alone are told."""

    conds: np.ndarray  # (B, K, C)
    filters: np.ndarray  # (B, K, p + 1)
    gain: np.ndarray  # (B, K)
    lag: np.ndarray  # (B, K) int64
    voicing: np.ndarray  # (B, K)


@exactly
def step(tier: Tier, own: Steps, upper: np.ndarray, heard: np.ndarray, now: int) -> None:
    """A step by what is heard (B, channels, ...) before `now`; upper (B, 3H): of the tier above, (B, 0): of none."""
    channels = heard.shape[1]
    frame = tier.history.shape[1] // channels
    for b in range(len(heard)):
        for c in range(channels):
            own.past[b, c * frame : (c + 1) * frame] = heard[b, c, now - frame : now]
    affine(tier.history, tier.history_bias, own.past, own.gates)
    affine(tier.recurrent, tier.recurrent_bias, own.hidden, own.product)
    for b in range(len(heard)):
        gates = own.gates[b]
        for j in range(upper.shape[1]):
            gates[j] += upper[b, j]
        update(gates, own.place[b], own.product[b], own.hidden[b])
    affine(tier.spread, tier.spread_bias, own.hidden, own.vectors)


@exactly
def hear(net: Net, work: Work, conds: np.ndarray, heard: np.ndarray, t: int) -> None:
    """The steps that are due before sample t, one that the mid tier steps at. conds (B, K, C)."""
    size, width, now, place = work.top.gates.shape[1], work.met.shape[1], net.hop + t, t % net.hop
    if place == 0:
        own, nothing = np.ascontiguousarray(conds[:, t // net.hop]), np.zeros(size, _F)
        affine(net.top.conds, nothing, own, work.top.place)
        affine(net.mid.conds, nothing, own, work.mid.place)
        affine(net.mouth.conds, nothing[:width], own, work.place)
        step(net.top, work.top, work.top.vectors[:, :0], heard, now)
    first = place // net.taps * size
    step(net.mid, work.mid, work.top.vectors[:, first : first + size], heard, now)


@exactly
def begin(met: np.ndarray, vectors: np.ndarray, place: np.ndarray, k: int) -> None:
    """met (B, H) <- the mid tier's k-th vector, of (B, 20 H), and what conds add (B, H)."""
    width = met.shape[1]
    for b in range(len(met)):
        for j in range(width):
            met[b, j] = vectors[b, k * width + j] + place[b, j]


@exactly
def add_rows(table: np.ndarray, codes: np.ndarray, classes: int, out: np.ndarray) -> None:
    """out += row k classes + codes[k] of table, for every k; four at a time."""
    whole = len(codes) - len(codes) % 4
    for k in range(0, whole, 4):
        row0, row1 = table[k * classes + codes[k]], table[(k + 1) * classes + codes[k + 1]]
        row2, row3 = table[(k + 2) * classes + codes[k + 2]], table[(k + 3) * classes + codes[k + 3]]
        for j in range(len(out)):
            out[j] += (row0[j] + row1[j]) + (row2[j] + row3[j])
    for k in range(whole, len(codes)):
        row0 = table[k * classes + codes[k]]
        for j in range(len(out)):
            out[j] += row0[j]


# ---- mu-law of the wave


@exactly
def advance_waves(net: Net, work: Work, conds: np.ndarray, lines: Any, t: int, k: int) -> None:
    """work.logits of sample t. conds (B, K, C); lines: codes (B, memory + n) int64, waves heard (B, 1, hop + n)."""
    codes, heard = lines
    if t % net.taps == 0:
        hear(net, work, conds, heard, t)
    mouth, met, classes, now = net.mouth, work.met, len(net.classes), net.memory + t
    begin(met, work.mid.vectors, work.place, t % net.taps)
    for b in range(len(codes)):
        add_rows(mouth.tables, codes[b, now - net.taps : now], classes, met[b])
    affine_of_active(mouth.hidden, mouth.hidden_bias, met, work.active, work.features)
    affine_of_active(mouth.logits, mouth.logits_bias, work.features, work.active, work.logits)


@exactly
def take_waves(net: Net, work: Work, conds: np.ndarray, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """Stream b says a code."""
    lines[0][b, net.memory + t] = label
    lines[1][b, 0, net.hop + t] = net.classes[label]


# ---- behind a prediction


@exactly
def advance_excitations(net: Net, work: Work, told: Told, lines: Any, t: int, k: int) -> None:
    """The same; lines: codes (B, memory + n) int64, excitations and waves heard (B, 2, hop + n), waves (B, hop + n)."""
    codes, heard, wav = lines
    if t % net.taps == 0:
        hear(net, work, told.conds, heard, t)
    mouth, met, known, values = net.mouth, work.met, work.known, work.values
    begin(met, work.mid.vectors, work.place, t % net.taps)
    at, now, f, classes, half = net.memory + t, net.hop + t, t // net.hop, net.classes, len(net.classes) // 2
    for b in range(len(codes)):
        work.predicted[b] = foreseen(told.filters[b, f], wav[b], now)
        known[0], known[1] = code_of(wav[b, now - 1], half), code_of(work.predicted[b], half)
        if len(values):
            ahead = ago(net.pitch, classes, codes[b], at - told.lag[b, f], told.voicing[b, f], values)
            known[2] = code_of(ahead, half)
        add_rows(mouth.tables, codes[b, at - net.taps : at], len(classes), met[b])
        add_rows(mouth.told, known, len(classes), met[b])
        add_values(mouth.values, values, met[b])
    affine_of_active(mouth.hidden, mouth.hidden_bias, met, work.active, work.features)
    affine_of_active(mouth.logits, mouth.logits_bias, work.features, work.active, work.logits)


@exactly
def foreseen(filters: np.ndarray, wav: np.ndarray, now: int) -> Any:
    """What a predictor (p + 1,) foresees of sample `now` of a wave (n,)."""
    made = 0.0
    for k in range(1, len(filters)):
        made -= filters[k] * np.float64(wav[now - k])
    return _F(made)


@exactly
def add_values(weight: np.ndarray, values: np.ndarray, out: np.ndarray) -> None:
    """out (H,) += values (I,) @ weight (I, H)."""
    for k in range(len(values)):
        value, row = values[k], weight[k]
        for j in range(len(out)):
            out[j] += value * row[j]


@exactly
def take_excitations(net: Net, work: Work, told: Told, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """Stream b excites by a label, as far as it is not held."""
    codes, heard, wav = lines
    at, now, half = net.memory + t, net.hop + t, len(net.classes) // 2
    code = held(label, codes[b, at - net.pitch.held + 1 : at], net.classes, net.pitch)
    said = work.predicted[b] + told.gain[b, t // net.hop] * net.classes[code]
    codes[b, at], wav[b, now] = code, min(max(said, _F(-1)), _F(1))
    heard[b, 0, now] = _F(code - half) / _F(half - 1)
    heard[b, 1, now] = _F(code_of(wav[b, now], half) - half) / _F(half - 1)


speak_waves, speak_excitations = loop_of(advance_waves, take_waves), loop_of(advance_excitations, take_excitations)
