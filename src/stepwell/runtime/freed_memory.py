"""Frees memory: how often garbage is collected, and when freed memory goes back to the operating system.

The C library keeps freed memory for later requests, and returns only what is free at the end of its heap. So a few
small objects that were allocated last can keep hundreds of megabytes resident. glibc has a function that returns every
free page. Other C libraries (musl, macOS) have none, and there nothing happens.
"""

import asyncio
import ctypes
import gc
from collections.abc import Callable

from anyio import to_thread

_PAUSE_S = 5.0  # freed memory may soon be needed again, and other threads can't allocate while pages are returned


def trim_heap() -> None:
    """Return all free pages of the heap to the operating system, if the C library can."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def return_freed_memory(
    large_release: asyncio.Event, trim: Callable[[], object] = trim_heap, pause_s: float = _PAUSE_S
) -> None:
    """Return freed memory each time that *large_release* is set, but at most once in *pause_s* seconds.

    Runs until it is cancelled.
    """
    while True:
        await large_release.wait()
        await asyncio.sleep(pause_s)
        large_release.clear()
        await to_thread.run_sync(trim)


def tune_gc() -> None:
    """Let the garbage collector run rarely.

    A full collection blocks the loop while it visits all objects, and one page of long workflows caused several. Small
    collections cost a tenth of a step, and a sixth of the start. Cyclic garbage is mostly young, so rare collections
    suffice.
    """
    gc.set_threshold(10_000, 50, 1_000)
