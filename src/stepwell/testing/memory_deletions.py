"""`ports.deletions.Cleanups` and `ports.deletions.Purges` in memory."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import TERMINAL_STATUSES, EventType, WorkflowStatus
from stepwell.lifecycle.cleanup_records import (
    CleanupCounts,
    DueCleanup,
    ExpiredBatch,
    FileRemoval,
    PurgedRows,
    TaskToClean,
)
from stepwell.ports.deletions import MOST_LOSERS
from stepwell.rules.list_records import TaskCursor
from stepwell.testing.memory_tables import CleanupRow, MemoryAdapter, RemovalRow, TaskRow, WorkflowRow, task_record


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

    async def next_tasks(self, owner: UUID, workflow_id: UUID, after: TaskCursor, limit: int) -> Sequence[TaskToClean]:
        cleanup = self._tables.own_cleanup(owner, workflow_id)
        if cleanup is None or workflow_id not in self._tables.workflows:
            return []
        workflow, begun = self._tables.workflows[workflow_id], cleanup.begun
        rows = [row for row in workflow.tasks.values() if row.deleted_at is None and TaskCursor.of(row.task) > after]
        page = sorted(rows, key=lambda row: TaskCursor.of(row.task))[:limit]
        if page:
            cleanup.begun = max(begun, TaskCursor.of(page[-1].task))
        return [self._to_clean(workflow, row, begun) for row in page]

    async def children(self, workflow_id: UUID, limit: int) -> dict[UUID, WorkflowStatus]:
        states = [row.record.state for row in self._tables.workflows.values()]
        children = {each.id: each.status for each in states if each.parent_id == workflow_id and not each.deleted_at}
        return dict(sorted(children.items(), key=lambda child: child[0].int)[:limit])

    async def settle(
        self,
        owner: UUID,
        workflow_id: UUID,
        task_ids: Sequence[UUID],
        deleted: int,
        gone: int,
        kept: Sequence[UUID] = (),
    ) -> None:
        if (cleanup := self._tables.own_cleanup(owner, workflow_id)) is None:
            return
        cleanup.deleted, cleanup.gone = cleanup.deleted + deleted, cleanup.gone + gone
        for task_id in task_ids:
            row = self._tables.workflows[workflow_id].tasks[task_id]
            row.deleted_at = row.deleted_at or self._tables.clock.now()
        if (workflow := self._tables.workflows.get(workflow_id)) is None:
            return
        for task_id in kept:
            outputs = tuple(workflow.tasks[task_id].task.outputs)
            self._tables.removals.setdefault(task_id, RemovalRow(workflow_id, workflow.record.tenant, outputs))

    async def postpone(self, owner: UUID, workflow_id: UUID, seconds: float) -> None:
        if (cleanup := self._tables.own_cleanup(owner, workflow_id)) is not None:
            cleanup.next_at, cleanup.tries = self._tables.clock.now() + timedelta(seconds=seconds), cleanup.tries + 1

    async def counts(self, owner: UUID, workflow_id: UUID) -> CleanupCounts | None:
        row = self._tables.own_cleanup(owner, workflow_id)
        return None if row is None or row.purge else CleanupCounts(row.deleted, row.gone, row.repeated)

    async def end(self, owner: UUID, workflow_id: UUID) -> None:
        if (row := self._tables.own_cleanup(owner, workflow_id)) is not None and not row.purge:
            del self._tables.cleanups[workflow_id]

    def _to_clean(self, workflow: WorkflowRow, row: TaskRow, begun: TaskCursor) -> TaskToClean:
        record, task = workflow.record, row.task
        readers = self._tables.readers_of(task.id, TenantScope(record.tenant), record.id)
        return TaskToClean(task_record(workflow, row), next(iter(readers), None), TaskCursor.of(task) <= begun)


class MemoryPurges(MemoryAdapter):
    async def is_followed_up(self, workflow_id: UUID) -> bool:
        row = self._tables.workflows.get(workflow_id)
        return row is not None and self._is_family_followed_up(row)

    def _is_family_followed_up(self, row: WorkflowRow) -> bool:
        return _is_followed_up(row) or any(map(self._is_family_followed_up, self._children(row)))

    async def request(self, owner: UUID, workflow_id: UUID, actor: str) -> UUID | None:
        workflow, now = self._tables.workflows.get(workflow_id), self._tables.clock.now()
        cleanup = self._tables.cleanups.get(workflow_id)
        if workflow is None or workflow.record.state.deleted_at is None:
            return cleanup.owner if workflow is None and cleanup is not None else None
        for row in self._family(workflow):
            if row.record.state.deleted_at is None:
                row.record.state.deleted_at, row.record.state.epoch = now, row.record.state.epoch + 1
            cleanup = self._tables.cleanups.setdefault(row.record.id, CleanupRow(owner, now))
            cleanup.purge, cleanup.purged_by = True, cleanup.purged_by or actor
            cleanup.next_at = min(cleanup.next_at, now)
            cleanup.owner = cleanup.owner if self._tables.is_alive(cleanup.owner) else owner
        return self._tables.cleanups[workflow_id].owner

    def _family(self, workflow: WorkflowRow) -> Iterator[WorkflowRow]:
        """Yield the workflow, and those of its sub-workflows that have ended."""
        yield workflow
        for child in self._children(workflow):
            if child.record.state.owner is None and child.record.status in TERMINAL_STATUSES:
                yield from self._family(child)

    def _children(self, workflow: WorkflowRow) -> list[WorkflowRow]:
        rows = self._tables.workflows.values()
        return [row for row in rows if row.record.state.parent_id == workflow.record.id]

    async def losers(self, workflow_id: UUID) -> Sequence[UUID]:
        found = set[UUID]()
        for row in () if (top := self._tables.workflows.get(workflow_id)) is None else self._descendants(top):
            scope = TenantScope(row.record.tenant)
            for task_id in [each for each, task in row.tasks.items() if task.task.outputs and task.deleted_at is None]:
                if not self._tables.readers_of(task_id, scope, reused=False):
                    found.update(filter(partial(self._loses, task_id), self._tables.readers_of(task_id, scope)))
        return sorted(found - {workflow_id}, key=lambda each: each.int)[:MOST_LOSERS]

    def _loses(self, task_id: UUID, reader_id: UUID) -> bool:
        """Return whether the reader has taken over a result of the task, or still may."""
        reader = self._tables.workflows[reader_id]
        flows = [unit.flow for unit in reader.units if unit.flow is not None]
        taken = [flow.reused for flow in flows if flow.reused is not None]
        has_taken = any(str(task_id) in output.path for each in taken for output in each.outputs)
        return has_taken or reader.record.state.status not in TERMINAL_STATUSES

    def _descendants(self, workflow: WorkflowRow) -> Iterator[WorkflowRow]:
        yield workflow
        for child in self._children(workflow):
            yield from self._descendants(child)

    async def with_uploads(self, workflow_ids: Collection[UUID]) -> Collection[UUID]:
        owners = {row.workflow_id for row in self._tables.uploads.values()}
        return [each for each in workflow_ids if each in owners]

    async def delete_rows(self, owner: UUID, workflow_ids: Collection[UUID], limit: int) -> PurgedRows:  # noqa: ARG002
        purged = set()
        for workflow_id in workflow_ids:
            row = self._tables.workflows.get(workflow_id)
            cleanup = self._tables.own_cleanup(owner, workflow_id, purge=True)
            if cleanup is None:
                continue
            if row is not None:
                state = row.record.state
                if state.owner is not None or state.deleted_at is None or _is_followed_up(row):
                    continue
                self._delete(row, cleanup)
                if cleanup.purged_by is not None:
                    self._tables.deletions[workflow_id] = cleanup.purged_by, self._tables.clock.now()
            purged.add(workflow_id)
        return PurgedRows(frozenset(purged))

    async def removals(self, workflow_ids: Collection[UUID], after: UUID, limit: int) -> Sequence[FileRemoval]:
        tables = self._tables.workflows
        cleanups = [row for each in workflow_ids if (row := self._tables.cleanups.get(each)) is not None]
        named = frozenset[str]().union(*(row.named for row in cleanups))
        named |= {name for each in workflow_ids if each in tables for name in tables[each].named}
        wanted = [
            FileRemoval(task_id, row.workflow_id, tuple(output.path for output in row.outputs))
            for task_id, row in self._tables.removals.items()
            if (row.workflow_id in workflow_ids or str(task_id) in named)
            and task_id.int > after.int
            and not self._tables.readers_of(task_id, TenantScope(row.tenant), reused=not row.forced)
        ]
        return sorted(wanted, key=lambda each: each.task_id.int)[:limit]

    async def end_removals(self, task_ids: Collection[UUID]) -> None:
        for task_id in task_ids:
            self._tables.removals.pop(task_id, None)
            if (row := self._tables.task_of_any(task_id)) is not None and row.deleted_at is None:
                row.deleted_at = self._tables.clock.now()

    async def end(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        for workflow_id in workflow_ids:
            if self._tables.own_cleanup(owner, workflow_id, purge=True) is not None:
                del self._tables.cleanups[workflow_id]

    async def expire(self, owner: UUID, retention_s: float, most: int, most_steps: int) -> ExpiredBatch:
        now = self._tables.clock.now()
        before = now - timedelta(seconds=retention_s)
        completed = [
            (at, row) for row in self._tables.workflows.values() if (at := row.record.state.completed_at) is not None
        ]
        completed.sort(key=lambda each: each[0])
        outstanding = [row for row in self._tables.cleanups.values() if row.purge and row.purged_by is None]
        busy = any(row.tries == 0 for row in outstanding)
        batch: list[WorkflowRow] = []
        steps = 0
        for at, row in completed if not busy else ():
            if (
                at <= before
                and row.is_understood
                and self._may_expire(row, before)
                and len(batch) < most
                and steps < most_steps
            ):
                batch.append(row)
                steps += row.record.total_steps
        for row in batch:
            cleanup = CleanupRow(owner, now, purge=True)
            self._delete(row, cleanup)
            if cleanup.named or any(each.workflow_id == row.record.id for each in self._tables.removals.values()):
                self._tables.cleanups[row.record.id] = cleanup
        roots = [at for at, row in completed if row.record.parent is None]
        later = [(at - before).total_seconds() for at in roots if at > before]
        return ExpiredBatch(
            len(batch),
            any(row.record.id in self._tables.cleanups for row in batch),
            busy,
            any(at <= before for at in roots),
            min(later, default=None),
        )

    def _may_expire(self, row: WorkflowRow, before: datetime) -> bool:
        state, link = row.record.state, row.record.parent
        root = None if link is None else self._tables.workflows.get(link.root_id)
        if root is not None:
            ended_at = root.record.state.completed_at
            if ended_at is None or ended_at > before or root.record.state.owner is not None:
                return False
        return not self._children(row) and (
            state.owner is None
            and state.status in TERMINAL_STATUSES
            and not _is_followed_up(row)
            and all(delivery.next_at is None for delivery in row.deliveries.values())
            and state.id not in self._tables.cleanups
        )

    def _delete(self, row: WorkflowRow, cleanup: CleanupRow) -> None:
        """Delete all rows of the workflow, and record its files and the names of those that it needed."""
        tables, workflow_id = self._tables, row.record.id
        cleanup.named = row.named
        for task_id, stored in row.tasks.items():
            if stored.deleted_at is None and stored.task.outputs:
                before, forced = tables.removals.get(task_id), cleanup.purged_by is not None
                forced = forced or (before is not None and before.forced)
                outputs = tuple(stored.task.outputs)
                tables.removals[task_id] = RemovalRow(workflow_id, row.record.tenant, outputs, forced)
            tables.workflow_of_task.pop(task_id, None)
        tables.log = [each for each in tables.log if each[0].workflow != workflow_id.int]
        tables.keys = {
            name: key for name, key in tables.keys.items() if workflow_id not in (key.workflow_id, key.applied_to)
        }
        tables.commands = {
            command_id: command
            for command_id, command in tables.commands.items()
            if command.command.workflow_id != workflow_id
        }
        tables.note_waits(row.record, waits=False)
        del tables.workflows[workflow_id]


def _is_followed_up(row: WorkflowRow) -> bool:
    return any(stored.task.follow_up_until is not None for stored in row.tasks.values())
