"""A bound on the work that each tenant has in progress, by weight.

What must hold:
- Together, the work of one tenant in progress weighs at most the bound, or it is a single heavier work.
- The works of a tenant begin in the order in which they came. Tenants don't wait for each other.
- Work that has room begins at once, without a turn of the event loop.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from stepwell.domain.tenancy import TenantScope


@dataclass
class _Queue:
    in_progress: int = 0  # the weight
    waiting: deque[tuple[int, asyncio.Future[None]]] = field(default_factory=deque)


class TenantTurns:
    """Lets each tenant have work of the weight *most* in progress."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._queues: defaultdict[TenantScope, _Queue] = defaultdict(_Queue)

    @asynccontextmanager
    async def turn(self, scope: TenantScope, weight: int) -> AsyncIterator[None]:
        """Wait for the turn of a work of that weight, which is done within the context. It weighs at least 1."""
        queue, weight = self._queues[scope], max(weight, 1)
        if queue.waiting or not self._has_room(queue, weight):
            await self._wait(queue, weight)
        else:
            queue.in_progress += weight
        try:
            yield
        finally:
            self._leave(scope, queue, weight)

    def _has_room(self, queue: _Queue, weight: int) -> bool:
        return not queue.in_progress or queue.in_progress + weight <= self._most

    async def _wait(self, queue: _Queue, weight: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.waiting.append((weight, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                queue.in_progress -= weight  # it got its turn at this moment
            self._begin_next(queue)
            raise

    def _leave(self, scope: TenantScope, queue: _Queue, weight: int) -> None:
        queue.in_progress -= weight
        self._begin_next(queue)
        if not queue.in_progress and not queue.waiting:
            del self._queues[scope]

    def _begin_next(self, queue: _Queue) -> None:
        while queue.waiting:
            weight, turn = queue.waiting[0]
            if not turn.done():
                if not self._has_room(queue, weight):
                    return
                queue.in_progress += weight
                turn.set_result(None)
            queue.waiting.popleft()
