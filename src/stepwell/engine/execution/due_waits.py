"""Ends the waits of PAUSED workflows when their time has come.

Such a workflow starts nothing, so it needs no slot and no owner. It comes into memory as for a verb. One with
sub-workflows has an owner until all of them were looked at.

What must hold:
- A wait whose time has come is ended in any case: if this process dies or the database is away, the workflow is due
  again a while later (`ports.storage.POSTPONED_S`).
"""

import asyncio
from uuid import UUID

import structlog

from stepwell.basics.errors import NotFound, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.execution.checkpointer import NotWritten
from stepwell.engine.execution.workflow_access import COMMIT_S, WorkflowAccess
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.lifecycle.inputs import RetryDue, Unpark
from stepwell.ports.clock import Clock

log = structlog.get_logger()

_AT_ONCE = 100  # waits that end in one iteration of the event loop


class DueWaits:
    """Ends the waits that are over, of the PAUSED workflows that are due, one workflow after the other."""

    def __init__(self, access: WorkflowAccess, queue: WorkflowQueue, clock: Clock) -> None:
        self._access, self._queue, self._clock = access, queue, clock

    async def run(self) -> None:
        """Work until cancelled."""
        while True:
            workflow_id = await self._queue.next_due_paused()
            try:
                await self._end_waits(workflow_id)
            except (NotFound, NotWritten, Unavailable, TimeoutError) as error:
                log.warning("waits.not_ended", action="end waits", workflow_id=str(workflow_id), error=repr(error))

    async def _end_waits(self, workflow_id: UUID) -> None:
        scheduler = self._access.scheduler
        async with self._access.pinned(EVERY_TENANT, workflow_id) as workflow:
            run = workflow.run
            if run.has_children and run.state.owner is None:  # one of them may have ended, or may be reached
                scheduler.apply(workflow, Unpark(self._access.lease.owner))
            over = () if run.waits is None else run.waits.over(self._clock.now())
            for number, position in enumerate(over, 1):
                scheduler.apply(workflow, RetryDue(position))
                if not number % _AT_ONCE:
                    await asyncio.sleep(0)
            async with asyncio.timeout(COMMIT_S):
                await scheduler.checkpointer.flushed(workflow_id)
