"""The two implementations of `ports.processes.Coordination`, on the ports of a database."""

import asyncio
import math
from uuid import UUID

from stepwell.ports.processes import LeaseStore, OtherProcesses


class SharedCoordination:
    """The coordination with other living processes."""

    poll_s = 5.0

    def __init__(self, owner: UUID, lease_s: float, leases: LeaseStore, others: OtherProcesses) -> None:
        self.owner, self.lease_s, self._leases, self._others = owner, lease_s, leases, others

    async def renew_lease(self) -> None:
        await self._leases.renew(self.owner, self.lease_s)

    async def release_lease(self) -> None:
        await self._leases.release(self.owner)

    async def next_expiry_s(self) -> float:
        seconds = await self._leases.next_expiry(self.owner)
        return math.inf if seconds is None else seconds

    async def other_processes(self) -> OtherProcesses:
        return self._others


class ExclusiveCoordination:
    """The coordination of a process that knows that no other one is alive."""

    lease_s = poll_s = math.inf

    def __init__(self, owner: UUID, leases: LeaseStore) -> None:
        self.owner, self._leases = owner, leases

    async def renew_lease(self) -> None:
        """Get a lease without end, and end the leases that dead processes left, so that their work can be claimed."""
        await self._leases.renew(self.owner, None)
        await self._leases.expire_others(self.owner)

    async def release_lease(self) -> None:
        await self._leases.release(self.owner)

    async def next_expiry_s(self) -> float:
        return math.inf

    async def other_processes(self) -> OtherProcesses:
        others: asyncio.Future[OtherProcesses] = asyncio.get_running_loop().create_future()
        return await others  # nobody sets it
