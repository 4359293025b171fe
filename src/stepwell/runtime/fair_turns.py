"""Turns under round-robin: the tenant that has waited longest comes next, and after a turn it goes behind the others.

What must hold:
- At most `total` turns are held at once. Those of one tenant weigh at most `per_tenant` together, or it holds a single
  heavier one.
- The turns of a tenant begin in the order in which they were requested. A tenant that waits because of its own bound
  holds up no other.
- A turn that may begin does so at once, without an iteration of the event loop.
- A caller that is cancelled while it waits gets no turn.
"""

import asyncio
import math
from collections import deque
from collections.abc import Hashable


class FairTurns:
    """The turns that are held, and those that wait. *total* and *per_tenant* are the bounds; None means no bound."""

    def __init__(self, total: int | None = None, per_tenant: int | None = None) -> None:
        self._free = math.inf if total is None else total
        self._per_tenant = math.inf if per_tenant is None else per_tenant
        self._weights: dict[Hashable, int] = {}  # of the turns that each tenant holds
        # By tenant, each waiting turn: its weight, and the future that grants it. The next tenant is the first key.
        self._queues: dict[Hashable, deque[tuple[int, asyncio.Future[None]]]] = {}

    @property
    def waiting(self) -> int:
        """The number of turns that wait."""
        return sum(not turn.done() for queue in self._queues.values() for _, turn in queue)

    def turn(self, tenant: Hashable, weight: int = 1) -> "FairTurn":
        """Return the context of a turn of *tenant*. It weighs at least 1."""
        return FairTurn(self, tenant, max(weight, 1))

    async def begin(self, tenant: Hashable, weight: int = 1) -> None:
        """Wait until a turn of *tenant* begins. `end` ends it."""
        if tenant not in self._queues and self._may_begin(tenant, weight):
            self._take(tenant, weight)
            return
        turn = asyncio.get_running_loop().create_future()
        self._queues.setdefault(tenant, deque()).append((weight, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._begin_waiting()  # a lighter turn behind this one may begin
            else:  # this turn began just before the cancellation, so the tenant is the next one again
                if tenant in self._queues:
                    self._queues = {tenant: self._queues.pop(tenant), **self._queues}
                self.end(tenant, weight)
            raise

    def end(self, tenant: Hashable, weight: int = 1) -> None:
        """End a turn of that *weight*."""
        self._free += 1
        rest = self._weights.pop(tenant) - weight
        if rest:
            self._weights[tenant] = rest
        self._begin_waiting()

    def _may_begin(self, tenant: Hashable, weight: int) -> bool:
        held = self._weights.get(tenant, 0)
        return self._free > 0 and (not held or held + weight <= self._per_tenant)

    def _take(self, tenant: Hashable, weight: int) -> None:
        self._free -= 1
        self._weights[tenant] = self._weights.get(tenant, 0) + weight

    def _begin_waiting(self) -> None:
        """Begin the turns that may begin now, one of each tenant after the other."""
        has_begun = True
        while has_begun and self._free and self._queues:
            has_begun = False
            for tenant in list(self._queues):
                has_begun |= self._begin_first(tenant)

    def _begin_first(self, tenant: Hashable) -> bool:
        """Begin the first turn that *tenant* waits for, if its bound allows it. Return whether it has begun."""
        queue = self._queues[tenant]
        while queue and queue[0][1].cancelled():
            queue.popleft()
        if queue and not self._may_begin(tenant, queue[0][0]):
            return False
        del self._queues[tenant]
        if not queue:
            return False
        weight, turn = queue.popleft()
        if queue:
            self._queues[tenant] = queue  # behind the others
        self._take(tenant, weight)
        turn.set_result(None)
        return True


class FairTurn:
    """A turn as a context: entering it waits for the turn, leaving it ends the turn.

    Hot path: `asynccontextmanager` would make each create slower.
    """

    __slots__ = ("_tenant", "_turns", "_weight")

    def __init__(self, turns: FairTurns, tenant: Hashable, weight: int) -> None:
        self._turns, self._tenant, self._weight = turns, tenant, weight

    async def __aenter__(self) -> None:
        await self._turns.begin(self._tenant, self._weight)

    async def __aexit__(self, *_error: object) -> None:
        self._turns.end(self._tenant, self._weight)
