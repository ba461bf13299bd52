"""The loop that all kernels share: one sample after another, of several streams at once, compiled for each vocoder.

A vocoder says in its kernel.py how one sample is made; the loop around it is this one:

    advance(net, work, told, lines, t, k)        work.logits (B, Q) of label k of sample t, for all B streams: every
                                                 matrix is read once for them all
    take(net, work, told, lines, t, k, b, label)     stream b has drawn it

    net      its weights, the same for all streams              told    what these n samples are told
    work     what each stream remembers, and room               lines   what is said, (B, ..., m + n): m samples before

    speak = loop_of(advance, take)               speak(net, work, told, lines, uniforms, sharpness)
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np

from .primitives import draw, exactly


def advance(net: Any, work: Any, told: Any, lines: Any, t: int, k: int) -> None:
    """A vocoder's; see above."""
    raise NotImplementedError("each loop has its own")


def take(net: Any, work: Any, told: Any, lines: Any, t: int, k: int, b: int, label: int) -> None:
    """A vocoder's; see above."""
    raise NotImplementedError("each loop has its own")


def _speak(net: Any, work: Any, told: Any, lines: Any, uniforms: np.ndarray, sharpness: Any) -> None:
    """The next n samples of B streams: uniforms (B, n, labels of a sample) float64; sharpness: 1 / temperature."""
    for t in range(uniforms.shape[1]):
        for k in range(uniforms.shape[2]):
            advance(net, work, told, lines, t, k)
            for b in range(len(uniforms)):
                take(net, work, told, lines, t, k, b, draw(work.logits[b], sharpness, uniforms[b, t, k]))


def loop_of(advance: Any, take: Any) -> Any:
    """The loop around a vocoder's two compiled functions, as if its kernel module had it: it is kept on disk there."""
    own, code = advance.py_func, _speak.__code__
    name = f"speak_{own.__name__}"
    place = code.replace(
        co_filename=own.__code__.co_filename, co_firstlineno=own.__code__.co_firstlineno, co_name=name, co_qualname=name
    )
    function = FunctionType(place, {**own.__globals__, "advance": advance, "take": take, "draw": draw}, name)
    function.__module__, function.__qualname__ = own.__module__, name
    return exactly(function)
