"""The lease of this process. While it holds, no other process on the database claims this one's workflows.

A lease that has run out is not noticed here. Another process may then claim a workflow, which raises the epoch of the
workflow's row. The next write of this process finds the other epoch, and the checkpointer reports the workflow as lost.

What must hold:
- No workflow, webhook or idempotency key gets this process as its owner before the lease has some time left.
- A process that has nothing to do renews nothing.
- After `release` the lease is never renewed again.
"""

import asyncio
from collections.abc import Callable
from uuid import UUID

from stepwell.ports.clock import Clock
from stepwell.ports.storage import LeaseStore


class Lease:
    """The lease of the process *owner*, for *seconds* from each renewal.

    `seconds` is None if no other process can live on this database. Then the lease never ends, and is never renewed.
    `Recovery.run` renews the lease while this process has work.
    """

    def __init__(self, store: LeaseStore, clock: Clock, owner: UUID, seconds: float | None) -> None:
        self._store, self._clock = store, clock
        self.owner, self.seconds = owner, seconds
        self._renewed_at = -float(
            "inf"
        )  # monotonic; the time before the statement, because the lease may count from then
        self._renewing = asyncio.Lock()
        self._listeners: list[Callable[[], None]] = []
        self.released = False  # for good

    def listen(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever the lease was renewed, or work has begun that needs it. It must not raise."""
        self._listeners.append(listener)

    async def acquire(self) -> None:
        """Get the first lease. Raises `Unavailable`."""
        await self._renew()

    async def ensure(self, *, busy: bool = False) -> None:
        """Make sure that the lease has at least three quarters of its time left. Raises `Unavailable`.

        *busy*: the caller has begun work that needs the lease until its end, so the lease must be kept from now on.
        """
        renewed = False
        if self.seconds is not None and self._is_aged(self.seconds):
            async with self._renewing:
                if self._is_aged(self.seconds) and not self.released:
                    await self._renew()
                    renewed = True
        if renewed or busy:
            for listener in self._listeners:
                listener()

    async def release(self) -> None:
        """End the lease in order, for good: other processes may claim this one's workflows at once."""
        self.released = True
        async with self._renewing:
            await self._store.release(self.owner)

    async def next_expiry_s(self) -> float | None:
        """Return the seconds until this process may have to take over work of another one; None if nobody can know.

        See `LeaseStore.next_expiry`. Raises `Unavailable`.
        """
        return None if self.seconds is None else await self._store.next_expiry(self.owner)

    async def expire_others(self) -> None:
        """End the leases of all other processes, because this process knows that none of them is alive."""
        await self._store.expire_others(self.owner)

    def _is_aged(self, seconds: float) -> bool:
        return self._clock.monotonic() - self._renewed_at > seconds / 4

    async def _renew(self) -> None:
        started = self._clock.monotonic()
        await self._store.renew(self.owner, self.seconds)
        self._renewed_at = started
