"""What one sample costs, counted in the weights of a kernel, beside how fast one core reads weights: what speed is of.

A network that says one stream meets each weight once a sample, so that it is as fast as a core reads its weights from
the caches they lie in; B streams on a core share what is read, until their products take longer than that.

    samples/s of all B streams / B * bytes a sample  =  bytes a second that each core reads      <= reading(bytes, kind)
"""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from .integers import GROUP, Matrix, matrices
from .streams import pack

COLUMNS = 1024  # of the matrix that is read
PIECE = 2**26  # bytes read in one go, at least
TRIES = 9
HEAD = ("MB a sample", "KB a stream", "products a sample", "GB/s", "of what a core reads")


class Met(NamedTuple):
    """A matrix as kernels have it, an array or whole numbers."""

    weight: Any
    often: float = 1  # in a sample: 1 / 4 of what steps once in four samples
    vectors: int = 1  # of a stream that it meets each time it is read


class Cost(NamedTuple):
    """Of one sample. Biases and scales are left out."""

    shared: int  # bytes of weights, read once for all streams of a core
    own: int  # bytes of tables, read by each stream
    products: int  # of each stream
    kind: np.dtype[Any]  # of most weights


def cost(met: Iterable[Met], looked_up: Iterable[np.ndarray] = ()) -> Cost:
    """Of all that a sample meets. looked_up: rows of tables that it adds."""
    kinds: Counter[np.dtype[Any]] = Counter()
    products = 0.0
    for weight, often, vectors in met:
        array = weight.weights if isinstance(weight, Matrix) else weight
        kinds[array.dtype] += array.nbytes * often  # type: ignore[assignment]  # parts of bytes, too
        products += often * vectors * _size(weight)
    ((most, _),) = kinds.most_common(1)
    return Cost(round(sum(kinds.values())), sum(row.nbytes for row in looked_up), round(products), most)


def _size(weight: Any) -> int:
    """Its rows times its columns; not what fills up a panel."""
    if not isinstance(weight, Matrix):
        return int(weight.size)
    return len(weight.scale) * weight.weights.shape[1] * (GROUP if weight.weights.ndim > 2 else 1)


def reading(size: int, kind: np.dtype[Any]) -> float:
    """Bytes a second that one core reads of `size` bytes of weights, over and over, to multiply one vector by them.

    By the product that kernels make; the best of several tries, for others may read the same cache. Needs numba.
    """
    from . import products, vnni

    rows = max(1, round(size / COLUMNS / kind.itemsize))
    weight = torch.randn(rows, COLUMNS, generator=torch.Generator().manual_seed(0))
    made: Any
    if kind == np.float32:
        (made,) = pack(weight)
    else:
        (made,) = matrices([(weight, True)], "int8" if kind.itemsize == 1 else "int16", vnni.lanes())
    bias, x, out = (np.zeros((1, n), np.float32) for n in (rows, COLUMNS, rows))
    times, best = -(-PIECE // size), float("inf")
    for _ in range(1 + TRIES):  # one compiles
        begin = time.process_time()
        products.repeated(made, bias[0], x, out, times)
        best = min(best, time.process_time() - begin)
    return times * cost([Met(made)]).shared / best


def columns(rates: Mapping[str, Sequence[float]], costs: Mapping[str, tuple[Cost, int]]) -> dict[str, list[str]]:
    """What HEAD names, of speeds in samples a second, their medians; costs: of a row, and how many streams it says.

    A row without a cost has dashes.
    """
    known = {key: reading(*key) for key in {(each.shared, each.kind) for each, _ in costs.values()}}
    made = {name: ["-"] * len(HEAD) for name in rates}
    for name, (each, streams) in costs.items():
        reached = statistics.median(rates[name]) / streams * each.shared
        made[name] = [f"{each.shared / 1e6:.3g}", f"{each.own / 1e3:.3g}", f"{each.products:,}",
                      f"{reached / 1e9:.3g}", f"{reached / known[each.shared, each.kind]:.0%}"]  # fmt: skip
    return made
