# SPDX-License-Identifier: Apache-2.0
"""What a server that lives long keeps of memory, where the C library is glibc.

By default each thread allocates from a heap of its own, and what frames and ended sessions leave in them
stays: free pages between others in use are given back only when somebody asks for it.
"""

import asyncio
import ctypes
from contextlib import suppress

HEAPS = 2
PAUSE = 20.0  # seconds between two times that a server gives free pages back: a few milliseconds of work
_ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def share_heaps() -> None:
    """Threads share two heaps from now on."""
    with suppress(AttributeError, OSError, TypeError):  # another C library, or system
        ctypes.CDLL(None).mallopt(_ARENA_MAX, HEAPS)


def give_back() -> None:
    """Free pages return to the system."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


async def keep_giving_back() -> None:
    """For as long as the server runs."""
    while True:
        await asyncio.sleep(PAUSE)
        await asyncio.to_thread(give_back)
