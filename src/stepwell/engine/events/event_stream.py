"""A bounded send buffer for one subscriber, and the stream that fills it: first stored events, then live ones.

What must hold:
- `push` never waits, and a buffer never holds more than `MOST_EVENTS` events and `MOST_BYTES` bytes, besides the part
  that is being sent.
- A client whose buffer is full while it is still receiving is cut off as too slow. It can reconnect, because the
  database has all events. If the client isn't receiving, its buffer is invalidated instead, and the stream reads the
  database.
- Every event is sent once and in order, from whichever source: the buffer collects live events before the database is
  read, and the stream drops what it has already sent.
"""

import asyncio
import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from msgspec import Struct

from stepwell.basics.errors import Unavailable
from stepwell.contract.enums import WorkflowStatus
from stepwell.runtime.outages import OUTAGE_RETRY_S

P = TypeVar("P")

MOST_EVENTS, MOST_BYTES = 1_000, 1024 * 1024
TOO_SLOW = "cut off: events came faster than they were read"
STOPPING = "the service is stopping"
FAILED = "the events can't be read"


class QueuedEvent(Struct, Generic[P], frozen=True):
    """An encoded event in a send buffer. `cursor` is its position in the stream. `status` is the workflow's one after
    the event, if it is known.

    With `ends` it stands for several events in their order: `cursor` is that of the last one, and `frame` has them all.
    `ends` are the cursor of each event and the offset in `frame` at which it ends.
    """

    cursor: P
    frame: bytes
    status: WorkflowStatus | None = None
    ends: Sequence[tuple[P, int]] = ()


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
        self._count = self._size = 0
        self._changed = asyncio.Event()
        self._filling = asyncio.Event()  # half of the buffer is used, or there is something else to do than to wait

    @property
    def idle(self) -> bool:
        """True if everything that was pushed has been taken, and nothing must be read from the database."""
        return not self.needs_reload and not self._queued

    def push(self, event: QueuedEvent[P]) -> None:
        if self.close_reason is not None or self.needs_reload:
            return  # the database has it, and will be read
        count, size = self._count + (len(event.ends) or 1), self._size + len(event.frame)
        if count <= MOST_EVENTS and size <= MOST_BYTES:
            self._queued.append(event)
            self._count, self._size = count, size
            self._changed.set()
            if 2 * count >= MOST_EVENTS or 2 * size >= MOST_BYTES:
                self._filling.set()
        elif self.sending:
            self.end(TOO_SLOW)
        else:
            self.invalidate()

    def invalidate(self) -> None:
        """Drop all queued events: the next events are read from the database."""
        self.needs_reload = True
        self._drop()
        self._wake()

    def end(self, reason: str) -> None:
        if self.close_reason is None:
            self.close_reason = reason
            self._drop()
            self._wake()
            self.on_end()

    def take(self) -> Sequence[QueuedEvent[P]]:
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

    async def fill(self, until: float) -> None:
        """Wait until *until*, or until half of the buffer is used, or the next events must be read, or the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(until):
                await self._filling.wait()

    def _wake(self) -> None:
        self._changed.set()
        self._filling.set()

    def _drop(self) -> None:
        self._queued.clear()
        self._count = self._size = 0
        self._filling.clear()


class EventStream(ABC, Generic[P]):
    """A stream of encoded events for one client. *buffer* collects live events while stored ones are read.

    *delay_s*: live events may be sent so many seconds late, several together.
    """

    def __init__(self, buffer: SendBuffer[P], delay_s: float = 0.0) -> None:
        self._buffer, self._delay_s = buffer, delay_s
        self._sent_at = -math.inf
        self._first: bytes | None = None
        self.over = False  # everything has been sent, and nothing more comes

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
        loop, buffer = asyncio.get_running_loop(), self._buffer
        until = loop.time() + within_s
        buffer.sending = False
        try:
            if self._first is None and (wanted := self._sent_at + self._delay_s) > loop.time():
                await buffer.fill(min(until, wanted))
            while buffer.close_reason is None:
                if part := self._first:
                    self._first = None
                    return part
                if buffer.needs_reload:
                    try:
                        part = await self._from_database()
                    except Unavailable:  # an outage
                        await buffer.wait(loop.time() + OUTAGE_RETRY_S)
                        return b""
                else:
                    part = self.merge_live(buffer.take())
                if part:
                    self._sent_at = loop.time()
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
