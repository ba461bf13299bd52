"""Tiles for numba: products of bytes by AMX (Intel, since 2023), where one read of the weights meets sixteen vectors.

A tile is a register of 16 rows of 64 bytes. One instruction, tdpbusd, multiplies two and adds up in a third what
vpdpbusd (vnni.py) does in a register for one vector. The layout is the same (integers.py): of a panel of 64 rows of W,
one register of 16 groups of 4 columns is a tile as it lies, 256 bytes from row to row; vectors are tiles as they are.

    vectors (B, 64 bytes)  x  16 groups x (16 rows of W, 4 bytes)  ->  sums (B, 16 rows of W) int32

    tiles   0 1 2 3: sums of the panel's 4 registers    4: vectors   5: weights    6, 7: the same of the last C % 64

What tiles are shaped like is told each product anew (`shape`; 80 ns), and taken back (`release`), so that a thread that
does other things has nothing to save. Linux lends the tiles to a process that asks, before any thread has used them.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import platform
import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from .integers import REGISTERS

MOST = 16  # vectors of a tile
FEWEST = 3  # vectors that are faster by tiles than by registers
DEEP = 16  # groups of a tile
_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18  # of Linux on x86-64: the call, ARCH_REQ_XCOMP_PERM, XTILEDATA
_I8, _I64, _VOID = ir.IntType(8), ir.IntType(64), ir.VoidType()
_ADDRESS = _I8.as_pointer()
_inlined: Any = intrinsic

logger = logging.getLogger(__name__)


def known() -> bool:
    """Whether numba compiles for a processor with tiles: what it compiled is kept for such processors alone."""
    return {"+amx-tile", "+amx-int8"} <= set(cpu_target.target_context.codegen().magic_tuple()[2].split(","))


@functools.cache
def granted() -> bool:
    """Whether this process may use them: asked once, of Linux."""
    if not known() or sys.platform != "linux" or platform.machine() != "x86_64":
        return False
    refused = ctypes.CDLL(None, use_errno=True).syscall(*map(ctypes.c_long, (_ARCH_PRCTL, _REQUEST, _TILES)))
    if refused:
        logger.debug("the system lends no tiles, errno %d: vectors meet weights four at a time", ctypes.get_errno())
    return not refused


def _instruction(builder: Any, name: str, *arguments: Any) -> None:
    kind = ir.FunctionType(_VOID, [argument.type for argument in arguments])
    builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}"), arguments)


def _tile(number: int) -> Any:
    return ir.Constant(_I8, number)


@_inlined
def shape(typing: Any, place: Any) -> Any:
    """The tiles of this thread are as the 64 bytes at this address say, and empty."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _instruction(builder, "ldtilecfg", builder.inttoptr(arguments[0], _ADDRESS))
        return context.get_dummy_value()

    return types.void(types.uintp), generated


@_inlined
def release(typing: Any) -> Any:
    """This thread has no tiles any more."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _instruction(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generated


@_inlined
def panel(typing: Any, weights: Any, codes: Any, stride: Any, groups: Any, sums: Any) -> Any:
    """As vnni's, of as many vectors as `shape` was told: sums (vectors, 64) int32 of one panel."""

    def generated(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        weights, codes, stride, groups, sums = arguments
        line, deep = ir.Constant(_I64, 64), ir.Constant(_I64, DEEP)
        rows = ir.Constant(_I64, 64 * REGISTERS)  # bytes from row to row of a tile of weights, or of sums

        def at(place: Any, lines: Any) -> Any:
            return builder.inttoptr(builder.add(place, builder.mul(lines, line)), _ADDRESS)

        def meet(block: Any, vectors: int, met: int) -> None:
            _instruction(builder, "tileloadd64", _tile(vectors), at(codes, block), stride)
            first = builder.mul(block, ir.Constant(_I64, DEEP * REGISTERS))
            for k in range(REGISTERS):
                place = at(weights, builder.add(first, ir.Constant(_I64, k)))
                _instruction(builder, "tileloadd64", _tile(met), place, rows)
                _instruction(builder, "tdpbusd", _tile(k), _tile(vectors), _tile(met))

        for k in range(REGISTERS):
            _instruction(builder, "tilezero", _tile(k))
        whole = builder.udiv(groups, deep)
        with cgutils.for_range(builder, whole) as loop:
            meet(loop.index, 4, 5)
        with builder.if_then(builder.icmp_unsigned("!=", builder.urem(groups, deep), ir.Constant(_I64, 0))):
            meet(whole, 6, 7)
        for k in range(REGISTERS):
            _instruction(builder, "tilestored64", _tile(k), at(sums, ir.Constant(_I64, k)), rows)
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp, types.intp, types.uintp), generated
