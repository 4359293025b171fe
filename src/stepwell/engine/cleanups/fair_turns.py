"""Turns of lanes under round-robin: after a turn, a lane goes behind all other lanes that wait."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class FairTurns:
    """Up to *total* turns at once, up to *per_lane* of them of one lane. A lane's callers get theirs in order."""

    def __init__(self, total: int, per_lane: int) -> None:
        self._free, self._per_lane = total, per_lane
        self._active: Counter[str] = Counter()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}  # the lane that is next comes first

    @asynccontextmanager
    async def turn(self, lane: str) -> AsyncIterator[None]:
        """Wait for a turn of *lane*, and hold it within the context."""
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(lane, deque()).append(granted)
        self._grant()
        try:
            await granted
            yield
        finally:
            if granted.done() and not granted.cancelled():
                self._free += 1
                self._active[lane] -= 1
                if not self._active[lane]:
                    del self._active[lane]
            self._grant()

    def _grant(self) -> None:
        for lane, queue in list(self._waiting.items()):
            while queue and queue[0].cancelled():
                del queue[0]
            if queue and self._free and self._active[lane] < self._per_lane:
                queue.popleft().set_result(None)
                self._free -= 1
                self._active[lane] += 1
                del self._waiting[lane]
                self._waiting[lane] = queue
            if not queue:
                del self._waiting[lane]
