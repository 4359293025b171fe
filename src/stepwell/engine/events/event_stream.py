"""A bounded send buffer for one subscriber, and the stream that fills it: first stored events, then live ones.

What must hold:
- `push` never waits, and a buffer never holds more than `MOST_EVENTS` events and `MOST_BYTES` bytes.
- A client whose buffer is full while it is still receiving is cut off as too slow. It can reconnect, because the
  database has all events. If the client isn't receiving, its buffer is invalidated instead, and the stream reads the
  database.
- Every event is sent once and in order, from whichever source: the buffer collects live events before the database is
  read, and the stream drops what it has already sent.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from msgspec import Struct

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.errors import Unavailable

P = TypeVar("P")

MOST_EVENTS, MOST_BYTES = 1_000, 1024 * 1024
TOO_SLOW = "cut off: events came faster than they were read"
STOPPING = "the service is stopping"
FAILED = "the events can't be read"
_RETRY_S = 1.0


class QueuedEvent(Struct, Generic[P], frozen=True):
    """An encoded event in a send buffer. `place` is its position in the order of the stream. `status` is the workflow's
    status after the event, if it is known.
    """

    place: P
    frame: bytes
    status: WorkflowStatus | None = None


class SendBuffer(Generic[P]):
    """A bounded buffer of live events for one client.

    `needs_reload`: the next events must be read from the database. `close_reason`: why the stream has ended, in words
    for the client; None while it is open.
    """

    def __init__(self) -> None:
        self.needs_reload = True
        self.sending = False  # the client is still receiving the last part
        self.close_reason: str | None = None
        self.on_end: Callable[[], object] = lambda: None
        self._queued: deque[QueuedEvent[P]] = deque()
        self._size = 0
        self._changed = asyncio.Event()

    @property
    def idle(self) -> bool:
        """True if everything that was pushed has been taken, and nothing must be read from the database."""
        return not self.needs_reload and not self._queued

    def push(self, event: QueuedEvent[P]) -> None:
        if self.close_reason is not None or self.needs_reload:
            return  # the database has it, and will be read
        if len(self._queued) < MOST_EVENTS and self._size + len(event.frame) <= MOST_BYTES:
            self._queued.append(event)
            self._size += len(event.frame)
            self._changed.set()
        elif self.sending:
            self.end(TOO_SLOW)
        else:
            self.invalidate()

    def invalidate(self) -> None:
        """Drop all queued events: the next events are read from the database."""
        self.needs_reload = True
        self._drop()
        self._changed.set()

    def end(self, reason: str) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self._drop()
            self._changed.set()
            self.on_end()

    def take(self) -> Sequence[QueuedEvent[P]]:
        """Remove and return all queued events."""
        queued = list(self._queued)
        self._drop()
        return queued

    async def wait(self, until: float) -> bool:
        """Wait for a change until *until*, in the loop's time. Return whether there was one."""
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            return False
        self._changed.clear()
        return True

    def _drop(self) -> None:
        self._queued.clear()
        self._size = 0


class EventStream(ABC, Generic[P]):
    """A stream of encoded events for one client. *buffer* collects live events while stored ones are read."""

    def __init__(self, buffer: SendBuffer[P]) -> None:
        self._buffer = buffer
        self._first: bytes | None = None
        self.over = False  # everything has been sent, and nothing will follow

    @property
    def close_reason(self) -> str | None:
        return self._buffer.close_reason

    @property
    def finished(self) -> bool:
        """After `open`: True if there is nothing to send."""
        return self.over and not self._first

    @property
    def position(self) -> str | None:
        """The cursor from which a client can go on, if the last event doesn't contain it."""
        return None

    def on_end(self, call: Callable[[], object], /) -> None:
        """Call *call* when the stream is ended from the outside, or at once if it has been."""
        self._buffer.on_end = call
        if self._buffer.close_reason is not None:
            call()

    async def open(self) -> None:
        """Read the first part. Raises `Unavailable`, and what `read` raises."""
        self._first = await self._from_database()

    async def next(self, within_s: float) -> bytes | None:
        """Return the next part: whole events, b"" if there is nothing new within *within_s*, None at the end.

        The caller has sent the last part when it calls this again.
        """
        buffer, until = self._buffer, asyncio.get_running_loop().time() + within_s
        buffer.sending = False
        try:
            while buffer.close_reason is None:
                if part := self._first:
                    self._first = None
                    return part
                if buffer.needs_reload:
                    part = await self._from_database_or_wait()
                    if part is None:
                        return b""
                else:
                    part = self.merge_live(buffer.take())
                if part:
                    return part
                if buffer.needs_reload or buffer.close_reason is not None:
                    continue
                if self.over:
                    return None
                if not await buffer.wait(until):
                    return b""
            return None
        finally:
            buffer.sending = True

    async def _from_database_or_wait(self) -> bytes | None:
        """Read the database. In an outage wait for `_RETRY_S` and return None."""
        try:
            return await self._from_database()
        except Unavailable:
            await self._buffer.wait(asyncio.get_running_loop().time() + _RETRY_S)
            return None

    async def _from_database(self) -> bytes:
        self._buffer.needs_reload = False  # before the read: later events may not be in its result
        try:
            part, more = await self.read()
        except BaseException:
            self._buffer.needs_reload = True
            raise
        if more:
            self._buffer.invalidate()
        return part

    @abstractmethod
    async def read(self) -> tuple[bytes, bool]:
        """Read the next events from the database. Return them, and whether there are more."""

    @abstractmethod
    def merge_live(self, queued: Sequence[QueuedEvent[P]]) -> bytes:
        """Return the live events that haven't been sent. Invalidate the buffer if one in between is missing."""
