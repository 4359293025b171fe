"""The buffers in which a request's body is collected, as it was sent or inflated from gzip.

What must hold:
- A buffer of more than 64 KiB holds no more bytes than are reserved for it.
- Inflating ends at the first byte that is too many, however little was sent.
- The event loop inflates only the beginning of a body: while less than 64 KiB have arrived, and less than 64 KiB have
  come out. Threads inflate the rest, one slice at a time, so that slices of other bodies come in between.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NoReturn

from anyio import CapacityLimiter, to_thread
from litestar.exceptions import HTTPException

from stepwell.basics.errors import Fault, InvalidRequest, Unavailable
from stepwell.runtime.memory import FREE_BYTES, MemoryReservation

# A larger body takes longer to decode and validate than handing it to a thread costs.
INLINE_BYTES: Final = 64 * 1024
GROWTH: Final = 512 * 1024  # reserved at first; a server hands over less than that at once
_MEMORY_WAIT_S = 10.0
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


class BodyTooLarge(HTTPException):
    """The body has more bytes than the operation accepts."""

    status_code = 413

    def __init__(self, most: int) -> None:
        super().__init__(detail=f"The body is larger than {most:,} bytes.")


class PlainBuffer:
    """Collects a body as it was sent. *length* is its Content-Length, if it has one, and *most* is what it may have."""

    def __init__(self, length: int | None, most: int, memory: Callable[[], Awaitable[MemoryReservation]]) -> None:
        self._length, self._most, self._memory = length, length or most, memory
        self._size = self._reserved = 0
        self._chunks: list[bytes] = []

    async def reserve_next(self) -> float:
        """Reserve the memory for the next part. Return the seconds that this took."""
        if (self._length or self._size) <= FREE_BYTES or not self._size + GROWTH > self._reserved < self._most:
            return 0.0
        self._reserved = min(self._most, max(2 * self._reserved, GROWTH))
        return await reserve_memory(await self._memory(), self._reserved)

    async def add(self, data: bytes) -> float:
        """Append a part. Return the seconds that this took."""
        self._chunks.append(data)
        self._size += len(data)
        return 0.0

    def finish(self) -> bytes:
        """Return the whole body."""
        return self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)


class GzipBuffer:
    """Inflates a gzip body as it comes, to *most* bytes at most. *threads* limits the threads that inflate."""

    def __init__(self, most: int, memory: Callable[[], Awaitable[MemoryReservation]], threads: CapacityLimiter) -> None:
        self._threads = threads
        self._most, self._memory = most, memory
        self._received = self._size = self._reserved = 0
        self._chunks: list[bytes] = []
        self._inflater: zlib._Decompress | None = None  # None until there is something to inflate

    async def reserve_next(self) -> float:
        """Return 0.0, because `add` reserves the memory, when it knows the inflated size."""
        return 0.0

    async def add(self, data: bytes) -> float:
        """Inflate a part. Return the seconds that this took. Raises `BodyTooLarge` and `InvalidRequest`."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for begin in range(0, len(data), INLINE_BYTES):
            part = data[begin : begin + INLINE_BYTES]
            await self._add_slice(part)
            self._received += len(part)
        return loop.time() - began

    def finish(self) -> bytes:
        """Return the whole body. Raises `InvalidRequest` if the gzip data isn't complete."""
        if self._inflater is not None and not self._inflater.eof:
            _refuse("Expected gzip data that is complete")
        return b"".join(self._chunks)

    async def _add_slice(self, data: bytes) -> None:
        if self._inflater is None:
            self._inflater = zlib.decompressobj(_GZIP_FORMAT)
        if self._inflater.eof:
            _refuse("Expected nothing after the end of the gzip data")
        while True:
            # One byte more than allowed shows that the body is too large.
            step = min(GROWTH if self._size >= INLINE_BYTES else INLINE_BYTES, self._most + 1 - self._size)
            await self._reserve(self._size + step)
            inflated = await self._inflate(data, step)
            self._chunks.append(inflated)
            self._size += len(inflated)
            if self._size > self._most:
                raise BodyTooLarge(self._most)
            if self._inflater.unused_data:
                _refuse("Expected nothing after the end of the gzip data")
            data = self._inflater.unconsumed_tail
            if not data and len(inflated) < step:
                return

    async def _inflate(self, data: bytes, most: int) -> bytes:
        assert self._inflater is not None
        try:
            if self._size < INLINE_BYTES and self._received < INLINE_BYTES:
                return self._inflater.decompress(data, most)
            work = partial(self._inflater.decompress, data, most)
            return await to_thread.run_sync(work, limiter=self._threads)
        except zlib.error:
            _refuse("Expected gzip data")

    async def _reserve(self, size: int) -> None:
        if size > max(FREE_BYTES, self._reserved):
            self._reserved = min(self._most + 1, max(2 * self._reserved, GROWTH, size))
            await reserve_memory(await self._memory(), self._reserved)


def _refuse(why: str) -> NoReturn:
    raise InvalidRequest([Fault(("body",), why, "gzip_invalid")])


async def reserve_memory(memory: MemoryReservation, total: int) -> float:
    """Let the reservation grow to *total*. Return the seconds that it waited. Raises `Unavailable` and `NeverFits`."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(_MEMORY_WAIT_S):
            await memory.grow(total - memory.held)
    except TimeoutError:
        raise Unavailable("The service has no memory for the body now.") from None
    return loop.time() - began
