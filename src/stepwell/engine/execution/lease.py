"""The lease of this process. While it holds, no other process on the database claims this one's workflows.

A lease that has run out is not noticed here. Another process may then claim a workflow, which raises the epoch of the
workflow's row. The next write of this process finds the other epoch, and the checkpointer reports the workflow as lost.

What must hold:
- No workflow, webhook or idempotency key gets this process as its owner before the lease has some time left.
- A process that has nothing to do renews nothing.
- After `release` the lease is never renewed again.
"""

import asyncio
import math

from stepwell.engine.execution.claim_requests import ClaimRequests
from stepwell.ports.clock import Clock
from stepwell.ports.processes import Coordination


class Lease:
    """The lease of the process `owner`. It lasts for `seconds` from each renewal.

    `Ownership.run` renews the lease while this process has work. An infinite lease is never renewed.
    """

    def __init__(self, coordination: Coordination, clock: Clock, claims: ClaimRequests) -> None:
        self._coordination, self._clock, self._claims = coordination, clock, claims
        self.owner, self.seconds = coordination.owner, coordination.lease_s
        # Monotonic. It is the time before the statement, because the lease may count from then.
        self._renewed_at = -math.inf
        self._renewing = asyncio.Lock()
        self.released = False  # for good
        self.term = 0  # changes with each lease that doesn't continue the one before

    @property
    def holds(self) -> bool:
        """True until the lease has ended. It may have ended already for a process that was stopped for long."""
        return self._clock.monotonic() < self._renewed_at + self.seconds and not self.released

    async def acquire(self) -> None:
        """Get the first lease, or renew it. Raises `Unavailable`."""
        started = self._clock.monotonic()
        await self._coordination.renew_lease()
        if not self.holds:  # others may have found this process dead in between
            self.term += 1
        self._renewed_at = started

    async def ensure(self, *, busy: bool = False) -> None:
        """Make sure that the lease has at least three quarters of its time left. Raises `Unavailable`.

        *busy*: the caller has begun work that needs the lease until its end, so the lease must be kept from now on.
        """
        renewed = False
        if self._is_aged():
            async with self._renewing:
                if self._is_aged() and not self.released:
                    await self.acquire()
                    renewed = True
        if renewed or busy:
            self._claims.wake_if_idle()

    async def release(self) -> None:
        """End the lease in order, for good: other processes may claim this one's workflows at once."""
        self.released = True
        async with self._renewing:
            await self._coordination.release_lease()

    def _is_aged(self) -> bool:
        return self._clock.monotonic() - self._renewed_at > self.seconds / 4
