"""Freed memory goes back to the operating system after large releases."""

import asyncio
import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stepwell.runtime.freed_memory import return_freed_memory, trim_heap
from stepwell.runtime.memory import LARGE_RELEASE, MemoryGovernor

_HAS_TRIM = hasattr(ctypes.CDLL(None), "malloc_trim")
_BLOCK = 64 * 1024  # below the size from which glibc maps each block on its own
_MANY = 2_000


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _blocks() -> Iterator[bytes]:
    return (bytes([n % 255 + 1]) * _BLOCK for n in range(_MANY))


@pytest.mark.skipif(not _HAS_TRIM, reason="only glibc keeps free pages, and has malloc_trim")
def test_trimming_returns_pages_below_a_block_that_is_in_use() -> None:
    blocks = list(_blocks())
    last = b"x" * _BLOCK
    full = _resident()
    del blocks
    trim_heap()
    assert full - _resident() > _MANY * _BLOCK * 0.9
    assert len(last) == _BLOCK


async def test_memory_is_returned_once_for_many_releases_and_again_for_later_ones() -> None:
    governor = MemoryGovernor(8 * LARGE_RELEASE)
    trimmed = asyncio.Queue[None]()

    async def use(size: int) -> None:
        with governor.reservation("a") as memory:
            await memory.grow(size)

    asyncio_task = asyncio.ensure_future(
        return_freed_memory(governor.large_release, lambda: loop.call_soon_threadsafe(trimmed.put_nowait, None), 0)
    )
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(60):
            await use(LARGE_RELEASE)
            await use(LARGE_RELEASE)
            await trimmed.get()
            assert not governor.large_release.is_set()
            await use(LARGE_RELEASE // 2)
            assert not governor.large_release.is_set()
            await use(LARGE_RELEASE // 2)
            await trimmed.get()
        assert trimmed.empty()
    finally:
        asyncio_task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio_task
