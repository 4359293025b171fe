"""What this process knows about workflows that wait: for admission, or parked until a time.

`WorkflowAdmission` admits them. The scheduler reports here which workflows enter and leave memory, and so do those that
store workflows which wait.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Final
from uuid import UUID

from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.workflow_slots import WorkflowSlots
from stepwell.lifecycle.model import NEVER
from stepwell.ports.clock import Clock, Timer

_LEAST_DUE_S: Final = 0.1  # between two searches for workflows that are due


class WorkflowQueue:
    """Counts the workflows in memory and those that wait, and sets `woken` when some may be admitted.

    - `uncounted`: other workflows than those that are known may wait.
    - `overdue`: parked workflows may be due.
    - `next_due` is when this process next looks for parked workflows that are due. It is None while it looks, and if it
      knows of none.
    - `unannounced` is set when other processes must hear that workflows wait.
    - `due_paused` are PAUSED workflows that are due, for `DueWaits`, which waits for `any_due_paused`.
    - `parked` counts how often a workflow has left memory because it only waits.
    """

    def __init__(self, slots: WorkflowSlots, clock: Clock) -> None:
        self.slots, self._clock = slots, clock
        self.uncounted = self.overdue = True
        self.woken, self.unannounced = asyncio.Event(), asyncio.Event()
        self.next_due: datetime | None = None
        self._due_timer: Timer | None = None
        self.due_paused: dict[UUID, None] = {}
        self.any_due_paused = asyncio.Event()
        self.parked = 0

    @property
    def is_crowded(self) -> bool:
        """True if workflows are known to wait, and this process has no free slot."""
        return bool(self.slots.waiting) and not self.slots.free

    def count_registered(self, workflow: ActiveWorkflow) -> None:
        """Count a workflow that has come into memory."""
        self.slots.take(workflow.tenant, workflow.slots)

    def count_grown(self, workflow: ActiveWorkflow, slots: int) -> None:
        """Count a workflow in memory as so many more active workflows than before."""
        self.slots.take(workflow.tenant, slots)

    def count_unregistered(self, workflow: ActiveWorkflow) -> None:
        """Count a workflow that has left memory. It may wait for admission, or be parked."""
        self.slots.give_back(workflow.tenant, workflow.slots)
        self.slots.forget_next(workflow.tenant)  # another one may be the next by now
        if workflow.run.state.waits_for_admission:  # a verb has used it; it may have waited before
            self.slots.add_waiting(workflow.tenant)
            self.uncounted = True
            self._admit_soon()
        elif self.uncounted or self.slots.waiting:
            self.woken.set()
        if (wake_at := workflow.run.state.wake_at) is not None:
            self.parked += 1
            self.wake_at(wake_at)

    @contextmanager
    def storing(self, tenant: str | None) -> Iterator[None]:
        """Count a workflow that is stored within the context, and then waits."""
        self.slots.begin_storing(tenant)
        try:
            yield
        except BaseException:
            self.slots.end_storing(tenant, waits=False)
            raise
        self.slots.end_storing(tenant, waits=True)
        self._admit_soon()

    def _admit_soon(self) -> None:
        self.woken.set()
        self.unannounced.set()

    def others_changed(self) -> None:
        """Look for workflows that wait or are due, because another process may have stored some."""
        self.uncounted = self.overdue = True
        self.woken.set()

    def look_for_due(self) -> None:
        """Look for parked workflows that are due, because this process may have made one due."""
        self.overdue = True
        self.woken.set()

    def wake_at(self, at: datetime) -> None:
        """Look for parked workflows at that time, unless this process looks earlier."""
        if at == NEVER or (self.next_due is not None and self.next_due <= at):
            return
        if self._due_timer is not None:
            self._due_timer.cancel()
        self.next_due = at
        seconds = max((at - self._clock.now()).total_seconds(), _LEAST_DUE_S)
        self._due_timer = self._clock.call_later(seconds, self._on_due)

    def _on_due(self) -> None:
        self.next_due = None
        self.look_for_due()

    def add_due_paused(self, workflow_ids: Iterable[UUID]) -> None:
        """Add PAUSED workflows that are due. One that is due again before its turn is added only once."""
        self.due_paused.update(dict.fromkeys(workflow_ids))
        self.any_due_paused.set()

    async def next_due_paused(self) -> UUID:
        """Wait for a PAUSED workflow that is due. Remove and return it, the oldest first."""
        while not self.due_paused:
            self.any_due_paused.clear()
            await self.any_due_paused.wait()
        workflow_id = next(iter(self.due_paused))
        del self.due_paused[workflow_id]
        return workflow_id
