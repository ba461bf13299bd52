"""Products in floats, compiled: rows of a matrix with one vector or several, each sum in an order of its own alone.

A sum has 16 lanes: lane l adds up columns l, l + 16, l + 32 ...; then lanes k and k + 8 are added, k and k + 4, k and
k + 2, k and k + 1, then the last C % 16 columns one by one, then the bias. So it is whatever rows and vectors are
beside it, of which as many are under way as a processor has registers for:

    4 rows x 4 vectors      each float that is read, of either, meets 4 of the other: 55 billion products a second of
                            one core, where a row at a time made 20

LLVM does not find such blocks in loops, and orders each loop's sums as it likes, so that both are written down here.
"""

from __future__ import annotations

from typing import Any

import numba
import numba.extending
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .primitives import FIELDS, HALVES, exactly, ready

LANES = 16
BLOCK = 8  # rows that stay in the first cache while vectors pass
_F32, _I16, _I32, _I64 = ir.FloatType(), ir.IntType(16), ir.IntType(32), ir.IntType(64)
_inlined: Any = intrinsic


def _piece(rows: int, vectors: int) -> Any:
    """The function (weight (R, C), bias (R,), x (B, C), out (B, R), i, b): the product of rows i ... and vectors b ...

    weight: float32, or int16 as primitives.number has them. It and x have their columns side by side.
    """

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = zip(signature.args[:4], arguments[:4])
        weight, bias, x, out = (context.make_array(kind)(context, builder, value) for kind, value in arrays)
        kind, (i, b) = signature.args[0].dtype, arguments[4:]
        _, columns = cgutils.unpack_tuple(builder, weight.shape)
        lines = [_place(builder, weight, builder.add(i, _whole(r))) for r in range(rows)]
        places = [_place(builder, x, builder.add(b, _whole(v))) for v in range(vectors)]
        sixteen = builder.sdiv(columns, _whole(LANES))
        totals = _multiplied(builder, kind, lines, places, (_whole(0), sixteen), LANES)
        sums = [[_added(builder, total) for total in each] for each in totals]
        ends = builder.mul(sixteen, _whole(LANES)), columns
        for v, each in enumerate(_multiplied(builder, kind, lines, places, ends, 1, sums)):
            for r, total in enumerate(each):
                row = builder.add(i, _whole(r))
                address = _place(builder, out, builder.add(b, _whole(v)), row)
                biased = builder.fadd(total, builder.load(_place(builder, bias, row)))
                builder.store(biased, address)
        return context.get_dummy_value()

    def function(typing: Any, weight: Any, bias: Any, x: Any, out: Any, i: Any, b: Any) -> Any:
        return types.void(weight, bias, x, out, types.intp, types.intp), generated

    function.__name__ = f"piece_{rows}_{vectors}"
    return _inlined(function)


def _whole(number: int) -> Any:
    return ir.Constant(_I64, number)


def _place(builder: Any, array: Any, *indices: Any) -> Any:
    """The address of an element; of the first of those that have no index."""
    place = builder.ptrtoint(array.data, _I64)
    for index, stride in zip(indices, cgutils.unpack_tuple(builder, array.strides)):
        place = builder.add(place, builder.mul(index, stride))
    return builder.inttoptr(place, array.data.type)


def _multiplied(
    builder: Any, kind: Any, lines: list[Any], places: list[Any], ends: tuple[Any, Any], lanes: int, sums: Any = None
) -> list[list[Any]]:
    """Of each vector and row the sum, `lanes` at a time, of groups first ... last - 1 of so many columns."""
    form = ir.VectorType(_F32, lanes) if lanes > 1 else _F32
    totals = [[cgutils.alloca_once(builder, form) for _ in lines] for _ in places]
    for v, each in enumerate(totals):
        for r, total in enumerate(each):
            builder.store(sums[v][r] if sums else ir.Constant(form, None if lanes > 1 else 0.0), total)
    with cgutils.for_range(builder, ends[1], ends[0]) as loop:
        column = builder.mul(loop.index, _whole(lanes))
        xs = [_read(builder, place, column, types.float32, lanes) for place in places]
        for r, line in enumerate(lines):
            w = _read(builder, line, column, kind, lanes)
            for x, each in zip(xs, totals):
                more = builder.fmul(w, x, flags=("contract",))
                builder.store(builder.fadd(builder.load(each[r]), more, flags=("contract",)), each[r])
    return [[builder.load(total) for total in each] for each in totals]


def _read(builder: Any, line: Any, column: Any, kind: Any, lanes: int) -> Any:
    """So many floats of a row; of int16 as primitives.number makes them."""

    def form(element: Any) -> Any:
        return ir.VectorType(element, lanes) if lanes > 1 else element

    def each(number: int) -> Any:
        return ir.Constant(form(_I32), [number] * lanes if lanes > 1 else number)

    floats = kind == types.float32
    address = builder.bitcast(builder.gep(line, [column]), form(_F32 if floats else _I16).as_pointer())
    values = builder.load(address, align=4 if floats else 2)
    if floats:
        return values
    if HALVES:
        return builder.fpext(builder.bitcast(values, form(ir.HalfType())), form(_F32))
    moved = builder.shl(builder.sext(values, form(_I32)), each(13))
    return builder.bitcast(builder.and_(moved, each(int(FIELDS))), form(_F32))


def _added(builder: Any, values: Any) -> Any:
    """The sum of 16 lanes, halves on halves."""
    for width in (8, 4, 2, 1):
        kind = ir.VectorType(_I32, width)
        halves = [ir.Constant(kind, list(range(first, first + width))) for first in (0, width)]
        values = builder.fadd(*(builder.shuffle_vector(values, values, half) for half in halves))
    return builder.extract_element(values, ir.Constant(_I32, 0))


_WIDE = "+avx512f" in cpu_target.target_context.codegen().magic_tuple()[2].split(",")  # 32 registers of 16 floats
_ROWS_OF_1, _ROWS_OF_2, _ROWS_OF_4 = (4, 4, 4) if _WIDE else (4, 2, 1)  # at a time
_one, _with_1, _with_2, _with_4 = _piece(1, 1), _piece(_ROWS_OF_1, 1), _piece(_ROWS_OF_2, 2), _piece(_ROWS_OF_4, 4)


def _side_by_side(x: np.ndarray) -> np.ndarray:
    """x, or a copy whose columns are side by side."""
    raise NotImplementedError("for kernels alone; below is what they compile")


@numba.extending.overload(_side_by_side, strict=False)
def _contiguous(x: Any) -> Any:
    return (lambda x: x) if x.layout == "C" else (lambda x: np.ascontiguousarray(x))


@exactly
def affine(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """out = weight @ x + bias; (R, C) float32 or int16 (primitives.number), (R,), (C,) -> (R,)."""
    affine_of_rows(weight, bias, np.expand_dims(_side_by_side(x), 0), np.expand_dims(out, 0))


@exactly
def affine_of_rows(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """`affine` of B vectors, x (B, C), out (B, R)."""
    y = ready(weight, _side_by_side(x))
    for first in range(0, len(weight), BLOCK):
        last, b = min(first + BLOCK, len(weight)), 0
        while b < len(y):
            i, left = first, len(y) - b
            if left >= 4:
                count = 4
                while i + _ROWS_OF_4 <= last:
                    _with_4(weight, bias, y, out, i, b)
                    i += _ROWS_OF_4
            elif left >= 2:
                count = 2
                while i + _ROWS_OF_2 <= last:
                    _with_2(weight, bias, y, out, i, b)
                    i += _ROWS_OF_2
            else:
                count = 1
                while i + _ROWS_OF_1 <= last:
                    _with_1(weight, bias, y, out, i, b)
                    i += _ROWS_OF_1
            for row in range(i, last):
                for v in range(b, b + count):
                    _one(weight, bias, y, out, row, v)
            b += count
