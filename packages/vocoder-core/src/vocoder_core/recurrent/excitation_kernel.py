"""The excitation labels of vocoder_core.excitation sample by sample, compiled by numba for kernels that speak.

Codes are int64 and lie one after another, those that were said before in front; `classes` (Q,) float32: what each
excites, in gains. Given the same past these give the same codes and values as the functions of whole waves.
"""

from __future__ import annotations

import math
from math import log1p
from typing import Any, NamedTuple

import numpy as np

from .. import excitation
from ..excitation import ExcitationConfig
from .compiled import compiled

inlined = compiled("contract", inline=True)

_F = np.float32


@inlined
def code_of(x: float, half: int) -> int:
    """The mu-law code of a sample: vocoder_core.mulaw.encode with 2 half classes."""
    law = 2 * half - 1
    steps = np.floor(log1p(law * min(abs(x), 1.0)) / log1p(law) * (half - 1) + 0.5)
    return half + int(math.copysign(steps, x))


class Pitch(NamedTuple):
    """What of the excitation one period ago is told, and what holds it: the constants of vocoder_core.excitation."""

    taps: np.ndarray  # (taps,) int64: places relative to it; none where labels want no pitch
    weights: np.ndarray  # (taps,) float32: with which they foretell
    widths: np.ndarray  # (widths,) int64: of the stretches whose power is told,
    quiet: np.float32  # as loud * log(1 + power / quiet)
    loud: np.float32
    span: np.float32  # the largest excitation
    held: int  # samples over which the power is held,
    loudest: float  # below this


@inlined
def ago(pitch: Pitch, classes: np.ndarray, codes: np.ndarray, place: int, voicing: Any, values: np.ndarray) -> float:
    """values <- what was said around `place` of codes, taps and powers; returns what it foretells, of the span."""
    half, foretold = len(classes) // 2, _F(0)
    for k in range(len(pitch.taps)):
        code = codes[place + pitch.taps[k]]
        values[k] = _F(code - half) / _F(half - 1)
        foretold += pitch.weights[k] * classes[code]
    for k in range(len(pitch.widths)):
        power, reach = _F(0), pitch.widths[k] // 2
        for i in range(place - reach, place + reach + 1):
            power += classes[codes[i]] * classes[codes[i]]
        values[len(pitch.taps) + k] = pitch.loud * _F(math.log(_F(1) + power / _F(pitch.widths[k]) / pitch.quiet))
    return foretold * voicing / pitch.span


@inlined
def held(label: int, before: np.ndarray, classes: np.ndarray, pitch: Pitch) -> int:
    """See vocoder_core.excitation.held: one label, after codes (held - 1,)."""
    power = 0.0
    for k in range(len(before)):
        power += np.float64(classes[before[k]]) * np.float64(classes[before[k]])
    allowed, e = math.sqrt(max(pitch.loudest * pitch.held - power, 0.0)), np.float64(classes[label])
    if abs(e) <= allowed:
        return label
    return code_of(math.copysign(allowed, e) / np.float64(pitch.span), len(classes) // 2)


def pitch_of(config: ExcitationConfig) -> Pitch:
    """What labels are told of the excitation one pitch period ago."""
    taps, widths = (np.array(x if config.pitch else (), np.int64) for x in (excitation.TAPS, excitation.WIDTHS))
    quiet, loud, span = (np.float32(x) for x in (excitation.QUIET, excitation.LOUD, config.span))
    weights = np.array(excitation.WEIGHTS, np.float32)
    return Pitch(taps, weights, widths, quiet, loud, span, excitation.HELD, config.loudest)
