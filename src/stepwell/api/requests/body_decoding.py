"""Decodes big bodies one at a time, tenant after tenant.

Decoding holds the interpreter's lock, in a thread as well: up to 0.2 s for a million values. So while a big body is
decoded, everything else waits, and two at once would only double that.

What must hold:
- Only one body is decoded at a time. After it, twice the time passes that it took, at most 1 s. So others get most of
  the process, however many big bodies there are.
- The tenant that waits longest comes next, with its oldest body.
- A body reserves its memory before it waits for a turn, here or for its tenant's turn to create. So a request that has
  a turn never waits for memory.
- An `asyncio.Task` that is cancelled while it waits gets no turn.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from stepwell.basics.errors import StepwellError, TooManyValues, Unavailable
from stepwell.basics.strict_json.size import MAX_MEMBERS, MAX_VALUES, count_values, most_members, most_values
from stepwell.runtime.fair_turns import FairTurns
from stepwell.runtime.memory import MemoryReservation

T = TypeVar("T")
WAIT_S = 30.0
_BUSY = "Too many big bodies are being read."
_REST, _LONGEST_REST_S = 2, 1.0
_VALUE_BYTES = 100  # of a decoded value, with the reference to it in a list or an object
# A list of 500,000 objects with one member has so many commas and brackets.
_MOST_MARKS = MAX_VALUES + MAX_VALUES // 2


class BigBodyDecoder:
    """Decodes big bodies in turns. `most_at_once` is the most that were decoded at any time."""

    def __init__(self) -> None:
        self.at_once = self.most_at_once = 0
        self._turns = FairTurns(1)
        self._counting = CapacityLimiter(1)

    @property
    def waiting(self) -> int:
        """The number of bodies that wait for their turn."""
        return self._turns.waiting

    async def reserve(self, data: bytes, memory: MemoryReservation) -> int:
        """Reserve the memory that *data* takes once it is decoded. Return the number of bytes.

        Raises `TooManyValues`, `NeverFits`, and `Unavailable` if that much isn't free within some seconds.
        """
        needed = await self._count(data) * _VALUE_BYTES
        try:
            async with asyncio.timeout(WAIT_S):
                await memory.grow(needed)
        except TimeoutError:
            raise Unavailable(_BUSY) from None
        return needed

    async def run(self, tenant: Hashable, work: Callable[[], T]) -> T:
        """Return the result of *work*, which decodes a body whose memory is reserved, in a thread.

        Raises what *work* raises, and `Unavailable` if it takes too long until its turn.
        """
        try:
            async with asyncio.timeout(WAIT_S) as deadline, self._turn(tenant):
                deadline.reschedule(None)
                result = await to_thread.run_sync(_without_frames, work)
        except TimeoutError:
            raise Unavailable(_BUSY) from None
        if isinstance(result, StepwellError):
            try:
                raise result
            finally:
                del result  # this frame would be in a cycle with the error, and hold the body until it is collected
        return result

    async def _count(self, data: bytes) -> int:
        """Return a number that the JSON values of *data* don't exceed. Raises `TooManyValues`."""
        marks = await to_thread.run_sync(most_values, data, limiter=self._counting)
        colons = await to_thread.run_sync(most_members, data, limiter=self._counting)
        if marks > MAX_VALUES or colons > MAX_MEMBERS:
            counts = await to_thread.run_sync(count_values, data, limiter=self._counting)
            if counts.values > MAX_VALUES:
                raise TooManyValues(MAX_VALUES, "JSON values")
            if counts.members > MAX_MEMBERS:
                raise TooManyValues(MAX_MEMBERS, "members of JSON objects")
        return min(marks, _MOST_MARKS)

    @asynccontextmanager
    async def _turn(self, tenant: Hashable) -> AsyncIterator[None]:
        await self._turns.begin(tenant)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            yield
        finally:
            self.at_once -= 1
            loop.call_later(min((loop.time() - began) * _REST, _LONGEST_REST_S), self._turns.end, tenant)


def _without_frames(work: Callable[[], T]) -> T | StepwellError:
    """Return the result of *work*, or its error without a traceback, whose frames would hold the decoded body."""
    try:
        return work()
    except StepwellError as error:
        error.__context__ = error.__cause__ = None
        return error.with_traceback(None)
