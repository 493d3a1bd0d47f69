# SPDX-License-Identifier: Apache-2.0
"""What a server that lives long keeps of memory, where the C library is glibc.

By default each thread allocates from a heap of its own, and what ended sessions leave in them stays.
"""

import ctypes
from contextlib import suppress

HEAPS = 2
_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def share_heaps() -> None:
    """Threads share two heaps from now on."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or system
        ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Free pages return to the system."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)
