"""The process's memory for large blocks, such as images."""

from __future__ import annotations

import ctypes

# Parameters of mallopt(3), from glibc's malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGEST = 32 << 20  # bytes of the largest block that is kept: the most that glibc takes
_KEPT = 4 * _LARGEST


def keep_freed_blocks() -> bool:
    """Let freed blocks of up to 32 MiB be used again instead of returned to the system.

    For use before threads are started. Else each image of 6 MB is copied into pages that the system
    has to find first, several times, which takes longer than the copies. At most 128 MiB that are
    free at the end of the heap stay with the process.

    Returns:
        Whether the C library can do it: glibc can.

    """
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)
    # one arena: the others give their memory back after each image
    return mallopt is not None and all(mallopt(name, value) for name, value in (
        (_M_ARENA_MAX, 1), (_M_MMAP_THRESHOLD, _LARGEST), (_M_TRIM_THRESHOLD, _KEPT)))
