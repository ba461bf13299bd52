"""The kernels for CPUs: one stream of samples on one core, compiled by numba when they are first used.

The network as fold.py folds it; unfolded and in torch: loops.TorchLoop. Given the same uniforms both draw the same
labels, up to rounding. What a sample reads for H = 1024, Q = 256, in thousands of weights (the sum of fold.py is 2744;
after a ReLU only rows of positive features are read, about half of them):

    tables     rows of 20 codes of the past (Q, H) each         every sample          20   rows of 21 MB
    hidden     rows of positive features (H, H)                 every sample         524
    logits     rows of positive features (H, Q)                 every sample         131
    mid        gates (3H, H), 20 matrices (H, H)                every 20 samples    1211   most of it the matrices
    top        gates (3H, H), 4 matrices (3H, H)                every 80 samples     202
                                                                                    ----
                                                                                    2088

Each weight is used once, so the speed is that at which one core reads them. Weights that 16-bit floats hold without
loss, as shipped ones are where nothing was multiplied into them, take half the memory.
In whole numbers all of these but the tables take one byte (vocoder_core.recurrent.products).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from vocoder_core.recurrent.excitation_kernel import Pitch, ago, code_of, held
from vocoder_core.recurrent.primitives import draw, exactly, update
from vocoder_core.recurrent.products import affine, affine_of_active

_F = np.float32


class Tier(NamedTuple):
    """A frame tier (fold.Frame), and what it remembers."""

    history: np.ndarray  # (3H, channels frame)
    conds: np.ndarray  # (3H, C)
    recurrent: Any  # (3H, H): floats, or a matrix of whole numbers, as spread, hidden and logits
    recurrent_bias: np.ndarray
    spread: Any  # (r E, H)
    spread_bias: np.ndarray
    hidden: np.ndarray  # (H,)
    place: np.ndarray  # (3H,): what conds add to the gates in this frame
    vectors: np.ndarray  # (r E,): for the tier below at its next r steps


class Mouth(NamedTuple):
    """The sample tier (fold.Sample); hidden and logits transposed where they are floats."""

    tables: np.ndarray  # (taps Q, H)
    told: np.ndarray  # (k Q, H)
    values: np.ndarray  # (I, H)
    conds: np.ndarray  # (H, C)
    hidden: Any  # (H, H)
    hidden_bias: np.ndarray
    logits: Any  # (H, Q)
    logits_bias: np.ndarray
    place: np.ndarray  # (H,): what conds add in this frame


@exactly
def step(tier: Tier, entry: np.ndarray, heard: np.ndarray, now: int) -> None:
    """A step of a frame tier by what is heard, (channels, ...), before `now`; entry (3H,) is the upper tier's."""
    channels, size = len(heard), len(entry)
    frame = tier.history.shape[1] // channels
    past, gates, product = np.empty(channels * frame, _F), np.empty(size, _F), np.empty(size, _F)
    for c in range(channels):
        past[c * frame : (c + 1) * frame] = heard[c, now - frame : now]
    affine(tier.history, entry, past, gates)
    affine(tier.recurrent, tier.recurrent_bias, tier.hidden, product)
    update(gates, tier.place, product, tier.hidden)
    affine(tier.spread, tier.spread_bias, tier.hidden, tier.vectors)


@exactly
def hear(
    t: int, top: Tier, mid: Tier, mouth: Mouth, bias: np.ndarray, conds: np.ndarray, heard: np.ndarray, now: int
) -> np.ndarray:
    """The mid tier's vector (H,) for sample t of a frame, after the steps that are due; bias (3H,): the top tier's."""
    size, width, taps = len(bias), len(mouth.place), len(mid.vectors) // len(mouth.place)
    if t == 0:
        nothing = np.zeros(size, _F)
        affine(top.conds, nothing, conds, top.place)
        affine(mid.conds, nothing, conds, mid.place)
        affine(mouth.conds, nothing[:width], conds, mouth.place)
        step(top, bias, heard, now)
    if t % taps == 0:
        k = t // taps
        step(mid, top.vectors[k * size : (k + 1) * size], heard, now)
    k = t % taps
    return mid.vectors[k * width : (k + 1) * width]


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


@exactly
def said(
    mouth: Mouth, vector: np.ndarray, past: np.ndarray, told: np.ndarray, values: np.ndarray, sharpness: Any, u: float,
    active: np.ndarray,
) -> int:  # fmt: skip
    """The label drawn after codes (taps,), by the mid tier's vector (H,) and what else is told of the sample."""
    classes = len(mouth.logits_bias)
    met, features = np.empty(len(vector), _F), np.empty(len(vector), _F)
    logits = np.empty(classes, _F)
    for j in range(len(met)):
        met[j] = vector[j] + mouth.place[j]
    add_rows(mouth.tables, past, classes, met)
    add_rows(mouth.told, told, classes, met)
    for k in range(len(values)):
        value, row = values[k], mouth.values[k]
        for j in range(len(met)):
            met[j] += value * row[j]
    affine_of_active(mouth.hidden, mouth.hidden_bias, met, active, features)
    affine_of_active(mouth.logits, mouth.logits_bias, features, active, logits)
    return draw(logits, sharpness, u)


@exactly
def waves_of(
    top: Tier, mid: Tier, mouth: Mouth, bias: np.ndarray, conds: np.ndarray, uniforms: np.ndarray, sharpness: Any,
    samples: np.ndarray, codes: np.ndarray, heard: np.ndarray,
) -> None:  # fmt: skip
    """Codes (kept + n,) and waves heard (1, kept + n) of K frames, n samples; both begin with those before.

    conds (K, C), uniforms (n,) float64, sharpness 1 / temperature; samples (Q,): what each code is of the wave.
    """
    kept, taps = len(codes) - len(uniforms), len(mouth.tables) // len(samples)
    active, values = np.empty(len(mouth.place), np.int64), np.empty(0, _F)
    hop = len(uniforms) // max(1, len(conds))
    for t in range(len(uniforms)):
        now = kept + t
        vector = hear(t % hop, top, mid, mouth, bias, conds[t // hop], heard, now)
        codes[now] = said(mouth, vector, codes[now - taps : now], codes[:0], values, sharpness, uniforms[t], active)
        heard[0, now] = samples[codes[now]]


@exactly
def excitations_of(
    top: Tier, mid: Tier, mouth: Mouth, bias: np.ndarray, conds: np.ndarray, uniforms: np.ndarray, sharpness: Any,
    filters: np.ndarray, gain: np.ndarray, lag: np.ndarray, voicing: np.ndarray, classes: np.ndarray, pitch: Pitch,
    codes: np.ndarray, heard: np.ndarray, wav: np.ndarray,
) -> None:  # fmt: skip
    """Waves and codes behind a prediction. wav (kept + n,), heard (2, kept + n) and codes (M + n,) begin with the past.

    filters (K, p + 1), gain, voicing (K,), lag (K,) int64; classes (Q,): what each code excites. The rest as above.
    """
    kept, memory, half = len(wav) - len(uniforms), len(codes) - len(uniforms), len(classes) // 2
    active, values = np.empty(len(mouth.place), np.int64), np.empty(len(mouth.values), _F)
    taps, told = len(mouth.tables) // len(classes), np.empty(len(mouth.told) // len(classes), np.int64)
    hop, top_code = len(uniforms) // max(1, len(conds)), _F(half - 1)
    for t in range(len(uniforms)):
        now, at, f, foreseen = kept + t, memory + t, t // hop, 0.0
        vector = hear(t % hop, top, mid, mouth, bias, conds[f], heard, now)
        for k in range(1, filters.shape[1]):
            foreseen -= filters[f, k] * np.float64(wav[now - k])
        predicted = _F(foreseen)
        told[0], told[1] = code_of(wav[now - 1], half), code_of(predicted, half)
        if len(values):
            told[2] = code_of(ago(pitch, classes, codes, at - lag[f], voicing[f], values), half)
        code = said(mouth, vector, codes[at - taps : at], told, values, sharpness, uniforms[t], active)
        codes[at] = held(code, codes[at - pitch.held + 1 : at], classes, pitch)
        wav[now] = min(max(predicted + gain[f] * classes[codes[at]], _F(-1)), _F(1))
        heard[0, now] = _F(codes[at] - half) / top_code
        heard[1, now] = _F(code_of(wav[now], half) - half) / top_code
