"""vpdpbusd for numba: products of bytes, four at a time in each lane, added up in 32 bits, on processors that have it.

LLVM knows the instruction by name and does not find it in loops, so that its place is written down here. Layout and
meaning: integers.py. `lanes` says whether it may be compiled at all; a compiler for other processors would give up.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .integers import REGISTERS

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)


def lanes() -> int:
    """Of the widest register that numba compiles the instruction for: 16, 8, or 0 where there is none."""
    features = set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))
    if {"+avx512f", "+avx512bw", "+avx512vnni"} <= features:
        return 16
    return 8 if "+avxvnni" in features or {"+avx512vl", "+avx512vnni"} <= features else 0


def _panel(wide: int, rows: int) -> Any:
    """The function (weights, codes, stride, groups, sums): addresses, bytes between vectors, and how many groups.

    sums (rows, 4 registers of `wide` lanes) int32 of one panel and of `rows` vectors, each weight read once.
    """
    register = ir.VectorType(_I32, wide)
    zero, first = ir.Constant(register, None), ir.Constant(_I32, 0)
    everywhere = ir.Constant(ir.VectorType(_I32, wide), [0] * wide)
    name = f"llvm.x86.avx512.vpdpbusd.{32 * wide}"

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, codes, stride, groups, sums = arguments
        weights, sums = (builder.inttoptr(x, register.as_pointer()) for x in (weights, sums))
        vectors = [builder.add(codes, builder.mul(stride, ir.Constant(_I64, b))) for b in range(rows)]
        vectors = [builder.inttoptr(x, _I32.as_pointer()) for x in vectors]
        add = cgutils.get_or_insert_function(builder.module, ir.FunctionType(register, [register] * 3), name)
        totals = [[cgutils.alloca_once_value(builder, zero) for _ in range(REGISTERS)] for _ in range(rows)]
        with cgutils.for_range(builder, groups) as loop:
            spread = []
            for vector in vectors:
                four = builder.load(builder.gep(vector, [loop.index]), align=4)
                lane = builder.insert_element(zero, four, first)
                spread.append(builder.shuffle_vector(lane, zero, everywhere))
            for k in range(REGISTERS):
                place = builder.add(builder.mul(loop.index, ir.Constant(_I64, REGISTERS)), ir.Constant(_I64, k))
                weight = builder.load(builder.gep(weights, [place]), align=4 * wide)
                for b in range(rows):
                    total = builder.call(add, [builder.load(totals[b][k]), spread[b], weight])
                    builder.store(total, totals[b][k])
        for b in range(rows):
            for k in range(REGISTERS):
                place = builder.gep(sums, [ir.Constant(_I64, b * REGISTERS + k)])
                builder.store(builder.load(totals[b][k]), place, align=4)
        return context.get_dummy_value()

    def function(typing: Any, weights: Any, codes: Any, stride: Any, groups: Any, sums: Any) -> Any:
        return types.void(types.uintp, types.uintp, types.intp, types.intp, types.uintp), generated

    function.__name__ = f"panel_{wide}_{rows}"
    return intrinsic(function)


panel_16_1, panel_16_2, panel_16_4 = (_panel(16, rows) for rows in (1, 2, 4))
panel_8_1, panel_8_2 = (_panel(8, rows) for rows in (1, 2))
