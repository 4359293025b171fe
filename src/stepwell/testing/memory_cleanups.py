"""`ports.deletions.Cleanups` in memory."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.lifecycle.cleanup_records import CleanupCounts, DueCleanup, TaskToClean
from stepwell.rules.list_records import TaskPlace
from stepwell.testing.memory_tables import CleanupRow, MemoryAdapter, TaskRow, WorkflowRow, task_record


class MemoryCleanups(MemoryAdapter):
    async def request(self, owner: UUID, workflow_id: UUID) -> UUID | None:
        workflow, now = self._tables.workflows.get(workflow_id), self._tables.clock.now()
        if workflow is None or workflow.record.state.deleted_at is None:
            return None
        repeated = any(event.type is EventType.WORKFLOW_FILES_DELETED for event in workflow.events)
        if repeated and all(task.deleted_at is not None for task in workflow.tasks.values()):
            return None
        row = self._tables.cleanups.setdefault(workflow_id, CleanupRow(owner, now, repeated=repeated))
        row.next_at = min(row.next_at, now)
        row.owner = row.owner if self._tables.is_alive(row.owner) else owner
        return row.owner

    async def take_over(self, owner: UUID) -> float | None:
        now = self._tables.clock.now()
        for workflow_id, row in self._tables.cleanups.items():
            if self._tables.may_take_over(workflow_id) and self._tables.is_orphan(row.owner, row.next_at):
                row.owner = owner
        own = [row.next_at for row in self._tables.cleanups.values() if row.owner == owner]
        return max((min(own) - now).total_seconds(), 0.0) if own else None

    async def due(
        self, owner: UUID, except_for: Collection[UUID], per_lane: int
    ) -> tuple[Sequence[DueCleanup], float | None]:
        now, of_lane, cleanups = self._tables.clock.now(), Counter[str](), []
        own = sorted(
            (row.next_at, workflow_id, row) for workflow_id, row in self._tables.cleanups.items() if row.owner == owner
        )
        for next_at, workflow_id, row in own:
            lane = "" if row.purge else self._tables.workflows[workflow_id].record.tenant or ""
            if next_at <= now and workflow_id not in except_for and of_lane[lane] < per_lane:
                of_lane[lane] += 1
                cleanups.append(
                    DueCleanup(workflow_id, lane, row.tries, row.purge, row.purge and row.purged_by is None)
                )
        later = [(next_at - now).total_seconds() for next_at, *_ in own if next_at > now]
        return cleanups, min(later, default=None)

    async def next_tasks(self, owner: UUID, workflow_id: UUID, after: TaskPlace, limit: int) -> Sequence[TaskToClean]:
        cleanup = self._own(owner, workflow_id)
        if cleanup is None or workflow_id not in self._tables.workflows:
            return []
        workflow, begun = self._tables.workflows[workflow_id], cleanup.begun
        rows = [row for row in workflow.tasks.values() if row.deleted_at is None and TaskPlace.of(row.task) > after]
        page = sorted(rows, key=lambda row: TaskPlace.of(row.task))[:limit]
        if page:
            cleanup.begun = max(begun, TaskPlace.of(page[-1].task))
        return [self._to_clean(workflow, row, begun) for row in page]

    async def children(self, workflow_id: UUID, limit: int) -> dict[UUID, WorkflowStatus]:
        states = [row.record.state for row in self._tables.workflows.values()]
        children = {each.id: each.status for each in states if each.parent_id == workflow_id and not each.deleted_at}
        return dict(sorted(children.items(), key=lambda child: child[0].int)[:limit])

    async def settle(self, owner: UUID, workflow_id: UUID, task_ids: Sequence[UUID], deleted: int, gone: int) -> None:
        if (cleanup := self._own(owner, workflow_id)) is None:
            return
        cleanup.deleted, cleanup.gone = cleanup.deleted + deleted, cleanup.gone + gone
        for task_id in task_ids:
            row = self._tables.workflows[workflow_id].tasks[task_id]
            row.deleted_at = row.deleted_at or self._tables.clock.now()

    async def postpone(self, owner: UUID, workflow_id: UUID, seconds: float) -> None:
        if (cleanup := self._own(owner, workflow_id)) is not None:
            cleanup.next_at, cleanup.tries = self._tables.clock.now() + timedelta(seconds=seconds), cleanup.tries + 1

    async def counts(self, owner: UUID, workflow_id: UUID) -> CleanupCounts | None:
        row = self._own(owner, workflow_id)
        return None if row is None or row.purge else CleanupCounts(row.deleted, row.gone, row.repeated)

    async def end(self, owner: UUID, workflow_id: UUID) -> None:
        if (row := self._own(owner, workflow_id)) is not None and not row.purge:
            del self._tables.cleanups[workflow_id]

    def _own(self, owner: UUID, workflow_id: UUID) -> CleanupRow | None:
        row = self._tables.cleanups.get(workflow_id)
        return row if row is not None and row.owner == owner else None

    def _to_clean(self, workflow: WorkflowRow, row: TaskRow, begun: TaskPlace) -> TaskToClean:
        record, task = workflow.record, row.task
        readers = self._tables.readers_of(task.id, TenantScope(record.tenant), record.id)
        return TaskToClean(task_record(workflow, row), next(iter(readers), None), TaskPlace.of(task) <= begun)
