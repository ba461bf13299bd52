"""Memory that training frees, step after step, and asks for again: where glibc keeps it, no step waits for new pages.

By default large blocks are returned to the system at once. Each of their pages is then faulted in again in the next
step: 83,000 faults, and a sixth of the CPU time, in a step of vqvaevc's small decoder.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX of <malloc.h>


def keep_freed() -> bool:
    """From now on this process keeps what it frees, for itself. False where the C library is not glibc."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return bool(mallopt and mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
