"""The C library's allocator, told to keep what is freed: the next step asks for the same again.

Law: sets the allocator's switches, and nothing else.
"""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
"""Numbers of glibc's malloc.h (man 3 mallopt)."""


def keep_freed() -> bool:
    """Once per process that trains on the CPU and has room: a fifth of a step would go to pages made anew.

    By default glibc gives every large tensor back to the kernel, which zeroes the same pages for the next one. What is
    free stays with the process after this; it takes a tenth more at its peak.

    Returns:
        Whether this C library can: glibc alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))
