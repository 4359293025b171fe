"""The check whether the service can serve requests and accept changes now.

What must hold:
- A service that starts or shuts down isn't ready, so that a load balancer sends it no requests. It starts until it has
  claimed workflows for the first time: before that, it leaves new workflows to other processes.
- A change is refused at once while the service shuts down or the database is away.
"""

import asyncio

from stepwell.basics.errors import Unavailable
from stepwell.engine.execution.checkpointer import Checkpointer
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.explain.write_monitor import WriteMonitor, WriteTarget
from stepwell.ports.storage import WorkflowReader

_FIRST_CLAIM_S = 1.0


class Availability:
    """Checks whether the service is available.

    `booted`: this process has its first lease. `draining`: the service shuts down and accepts no changes any more.
    """

    def __init__(
        self, checkpointer: Checkpointer, writes: WriteMonitor, store: WorkflowReader, recovery: Recovery
    ) -> None:
        self._checkpointer, self._writes, self._store, self._recovery = checkpointer, writes, store, recovery
        self.booted = self.draining = False

    async def check_ready(self) -> None:
        """Raise `Unavailable` unless requests can be served now."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if not self.booted:
            raise Unavailable("the service is starting")
        self._writes.check()
        if self._checkpointer.outage:
            raise Unavailable("the database is away")
        await self._store.ping()
        try:
            async with asyncio.timeout(_FIRST_CLAIM_S):
                await self._recovery.claimed.wait()
        except TimeoutError:
            raise Unavailable("the service is starting") from None

    def check_open(self) -> None:
        """Raise `Unavailable` unless changes are accepted now."""
        if self.draining:
            raise Unavailable("the service is shutting down")
        if self._checkpointer.outage:
            raise self.outage()

    def outage(self) -> Unavailable:
        """Return the error that says why nothing can be written."""
        return self._writes.refusal(WriteTarget.DATABASE) or Unavailable("the database is away")
