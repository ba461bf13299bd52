"""How kernels are compiled: at first use, without the GIL, and kept on disk until a file changes that is part of them.

numba keeps what it compiled for as long as the function's own file stays as it is. A kernel holds what it calls as
well, compiled into it: after an update of this package alone, a vocoder's kernel would go on with the old arithmetic.
So what is kept is dated by every file that may be in it: those of this folder, which kernels are made of, and those of
the functions that the kernel's module has.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numba

logger = logging.getLogger(__name__)
_FILES: dict[str, set[str]] = {}  # of a module's file: those of functions that its own were compiled with


def compiled(*fastmath: str, inline: bool = False) -> Any:
    """Decorator: compile at first use, without the GIL, kept on disk unless there is no folder to write to.

    inline: made part of whoever calls it. A function that calls none out of line counts no references; one that does
    counts those of every array it was given, which costs a small kernel microseconds a sample.
    """

    def decorate(function: Any) -> Any:
        options: Any = {"nogil": True, "error_model": "numpy", "fastmath": set(fastmath)}
        options |= {"forceinline": True} if inline else {}
        try:
            made = numba.njit(cache=True, **options)(function)
        except RuntimeError:  # a read-only installation and no home
            return numba.njit(**options)(function)
        _date(made, function)
        return made

    return decorate


def _date(made: Any, function: Any) -> None:
    """Have what is kept of a function go out of date with all that is compiled into it."""
    own = function.__code__.co_filename
    files = _FILES.setdefault(own, {own, *map(str, Path(__file__).parent.glob("*.py"))})
    for value in function.__globals__.values():
        called = getattr(getattr(value, "py_func", None), "__code__", None)
        if called is not None:
            files |= _FILES.get(called.co_filename, {called.co_filename})
    try:
        kept = made._cache._cache_file
        kept._source_stamp = kept._source_stamp, tuple((name, *_stamp(name)) for name in sorted(files))
    except (AttributeError, OSError) as error:  # another numba, or files inside an archive
        logger.debug("compiled kernels are dated by their own files alone: %s", error)


def _stamp(name: str) -> tuple[int, int]:
    state = Path(name).stat()
    return state.st_mtime_ns, state.st_size
