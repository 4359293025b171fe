"""What one client has yet to be sent, bounded; and the way in which it gets that: from the table, then as it happens.

What must hold:
- Who offers never waits, and keeps no more for a client than `MOST_EVENTS` and `MOST_BYTES`.
- A client that reads too slowly for that is cut off. It can come back, for the table has all; and one that isn't slow,
  only behind, has what doesn't fit read from the table.
- Everything is sent once and in its order, whichever way it comes: the client is in the books before the table is read,
  and what it has been sent already is dropped.
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
_AGAIN_S = 1.0


class QueuedEvent(Struct, Generic[P], frozen=True):
    """An event on its way: where it stands in the order, and `status`, where it is known, the workflow's after it."""

    place: P
    frame: bytes
    status: WorkflowStatus | None = None


class SendBuffer(Generic[P]):
    """`unsure`: only the table knows what comes next. `farewell`: why it has ended, in words for the client."""

    def __init__(self) -> None:
        self.unsure = True
        self.sending = False  # the client has yet to take what it was given last
        self.farewell: str | None = None
        self.on_end: Callable[[], object] = lambda: None
        self._items: deque[QueuedEvent[P]] = deque()
        self._size = 0
        self._stirred = asyncio.Event()

    @property
    def idle(self) -> bool:
        """All that it was offered has been taken."""
        return not self.unsure and not self._items

    def offer(self, item: QueuedEvent[P]) -> None:
        if self.farewell is not None or self.unsure:
            return  # it is in the table already, which has yet to be read
        if len(self._items) < MOST_EVENTS and self._size + len(item.frame) <= MOST_BYTES:
            self._items.append(item)
            self._size += len(item.frame)
            self._stirred.set()
        elif self.sending:
            self.end(TOO_SLOW)
        else:
            self.look()

    def look(self) -> None:
        """What is to come must be read from the table, and so need not be kept."""
        self.unsure = True
        self._drop()
        self._stirred.set()

    def end(self, farewell: str) -> None:
        if self.farewell is None:
            self.farewell = farewell
            self._drop()
            self._stirred.set()
            self.on_end()

    def take(self) -> Sequence[QueuedEvent[P]]:
        items = list(self._items)
        self._drop()
        return items

    async def wait(self, until: float) -> bool:
        """Whether anything is new by *until*, in the loop's time."""
        try:
            async with asyncio.timeout_at(until):
                await self._stirred.wait()
        except TimeoutError:
            return False
        self._stirred.clear()
        return True

    def _drop(self) -> None:
        self._items.clear()
        self._size = 0


class EventStream(ABC, Generic[P]):
    """What a client is sent, through *outlet*, into which the events that happen are put meanwhile."""

    def __init__(self, outlet: SendBuffer[P]) -> None:
        self._outlet = outlet
        self._first: bytes | None = None
        self.over = False  # all there is has been sent, and nothing will follow

    @property
    def farewell(self) -> str | None:
        return self._outlet.farewell

    @property
    def finished(self) -> bool:
        """After `open`: there is nothing to send."""
        return self.over and not self._first

    @property
    def position(self) -> str | None:
        """Where to go on from, where the last event doesn't tell."""
        return None

    def on_end(self, call: Callable[[], object], /) -> None:
        """*call* is called once it has been ended, or at once if it has."""
        self._outlet.on_end = call
        if self._outlet.farewell is not None:
            call()

    async def open(self) -> None:
        """Read the first part. Raises `Unavailable`, and what `read` raises."""
        self._first = await self._from_table()

    async def next(self, within_s: float) -> bytes | None:
        """More of it, whole events; empty if there is nothing new in that time, null at the end. What it gave last has
        been sent when it is called again.
        """
        outlet, until = self._outlet, asyncio.get_running_loop().time() + within_s
        outlet.sending = False
        try:
            while outlet.farewell is None:
                if part := self._first:
                    self._first = None
                    return part
                if outlet.unsure:
                    part = await self._retrying()
                    if part is None:
                        return b""
                else:
                    part = self.sorted(outlet.take())
                if part:
                    return part
                if outlet.unsure or outlet.farewell is not None:
                    continue
                if self.over:
                    return None
                if not await outlet.wait(until):
                    return b""
            return None
        finally:
            outlet.sending = True

    async def _retrying(self) -> bytes | None:
        """Null in an outage, after a while."""
        try:
            return await self._from_table()
        except Unavailable:
            await self._outlet.wait(asyncio.get_running_loop().time() + _AGAIN_S)
            return None

    async def _from_table(self) -> bytes:
        self._outlet.unsure = False  # before it is read: what happens from now on may not be in there
        try:
            part, more = await self.read()
        except BaseException:
            self._outlet.unsure = True
            raise
        if more:
            self._outlet.look()
        return part

    @abstractmethod
    async def read(self) -> tuple[bytes, bool]:
        """What comes next in the table, and whether there is more there."""

    @abstractmethod
    def sorted(self, items: Sequence[QueuedEvent[P]]) -> bytes:
        """Of what has happened, what is to be sent; `SendBuffer.look` where something is missing in between."""
