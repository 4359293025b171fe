"""Pauses and resumes sub-workflows with their parents, and reports their ends. It reads their stored statuses."""

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Final, NamedTuple
from uuid import UUID

import structlog
from msgspec import Raw, json
from msgspec.structs import replace

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.contract.enums import TERMINAL_STATUSES, TaskPhase, WorkflowStatus
from stepwell.engine.attempts.runner import AttemptRunner
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.open_children import ChildCheck, ChildrenOfParent, OpenChildren
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.lifecycle.inputs import SERVICE, AttemptFailed, ChildPausedOrResumed, Pause, Succeeded
from stepwell.lifecycle.model import Task
from stepwell.lifecycle.records import WorkflowRecord

log = structlog.get_logger()

_MAX_STORED_BYTES: Final = 8 * MAX_RESULT_BYTES  # of a sub-workflow whose results are read
_PAGE: Final = 200  # sub-workflows whose statuses one statement reads


def _child_failure(task: Task, error: str, *, child_lost: bool = False) -> AttemptFailed:
    """Return the failure of an attempt, which isn't retried."""
    return AttemptFailed(
        task.position, task.id, error, retryable=False, provider_fault=False, jitter=0.0, child_lost=child_lost
    )


def _too_large(child_id: UUID) -> str:
    return f"the results of the sub-workflow {child_id} are over {MAX_RESULT_BYTES:,} bytes together"


class _Page(NamedTuple):
    """Checks of sub-workflows of one parent, with the stored statuses of these and of others that are open.

    `ends` is how many ends were counted in the row of the parent then. `has_all`: no open sub-workflow is left out.
    """

    checks: Mapping[UUID, ChildCheck]
    statuses: Mapping[UUID, WorkflowStatus]
    ends: int
    has_all: bool


class ChildChecker:
    """Makes the checks of sub-workflows that `OpenChildren` has, one asyncio task for each parent."""

    def __init__(
        self, scheduler: Scheduler, open_children: OpenChildren, children: StoredChildren, runner: AttemptRunner
    ) -> None:
        self._scheduler, self._open_children, self._children, self._runner = scheduler, open_children, children, runner

    async def run(self) -> None:
        """Make checks until cancelled. Raises if one breaks."""
        async with asyncio.TaskGroup() as group:
            while True:
                children = await self._open_children.to_check.get()
                children.queued = False
                if children.to_do and not self._scheduler.stopping:
                    name = f"sub-workflows of {children.parent.workflow_id}"
                    children.asyncio_task = group.create_task(self._run(children), name=name)
                    children.asyncio_task.add_done_callback(partial(self._task_ended, children))

    async def _run(self, children: ChildrenOfParent) -> None:
        parent = children.parent
        while children.to_do:
            page = await self._read_page(parent, children)
            ended = {child_id for child_id, status in page.statuses.items() if status in TERMINAL_STATUSES}
            self._add_ended(parent, children, ended - page.checks.keys())
            for child_id, check in page.checks.items():
                input_ = await self._safe_input(parent, child_id, check, page.statuses.get(child_id))
                if input_ is None:
                    children.to_do.setdefault(child_id, check)
                elif self._scheduler.stopping:
                    return
                else:
                    if not isinstance(input_, ChildPausedOrResumed):
                        children.open.pop(child_id, None)
                    self._scheduler.apply(parent, input_)
                    await asyncio.sleep(0)
            if page.has_all and not children.to_do and parent.run.children is not None:
                parent.run.children.note_handled_ends(page.ends)

    async def _read_page(self, parent: ActiveWorkflow, children: ChildrenOfParent) -> _Page:
        """Take the next checks from `to_do`, and read the statuses that they need.

        Open sub-workflows that need no check are read as well: with all of them, all ends are known. One that isn't
        stored yet has no status, but isn't deleted, so that its check is left out.
        """
        taken = {child_id: children.to_do.pop(child_id) for child_id in list(children.to_do)[:_PAGE]}
        existing = {child_id for child_id, check in taken.items() if _is_stored(parent, check)}  # before the read
        child_ids = list(dict.fromkeys([*taken, *children.open]))[:_PAGE]
        read = await self._children.statuses_below(parent.workflow_id, child_ids)
        existing |= read.statuses.keys()
        checks = {child_id: check for child_id, check in taken.items() if child_id in existing}
        # The sub-workflow of an attempt that runs here may not be open yet.
        has_all = not parent.attempts and children.open.keys() <= set(child_ids)
        return _Page(checks, read.statuses, read.ends, has_all)

    def _add_ended(self, parent: ActiveWorkflow, children: ChildrenOfParent, ended: Iterable[UUID]) -> None:
        """Add checks of sub-workflows that have *ended*. Forget those whose attempts were abandoned."""
        for child_id in ended:
            if (check := children.open.get(child_id)) is None:
                continue
            task = parent.run.open_task(check.position)
            if task is None or task.id != check.task_id:
                del children.open[child_id]
            elif task.phase is TaskPhase.SUBMITTED:
                children.to_do.setdefault(child_id, check.without_change())

    def _task_ended(self, children: ChildrenOfParent, asyncio_task: asyncio.Task[None]) -> None:
        children.asyncio_task = None
        if not asyncio_task.cancelled():
            self._open_children.enqueue(children)  # checks may have been added while the asyncio task ended

    async def _safe_input(
        self, parent: ActiveWorkflow, child_id: UUID, check: ChildCheck, status: WorkflowStatus | None
    ) -> ChildPausedOrResumed | Succeeded | AttemptFailed | None:
        """Return `_input`. A bug there fails the attempt and nothing else, as in `AttemptRunner`."""
        task = parent.run.open_task(check.position)
        if task is None or task.id != check.task_id:
            return ChildPausedOrResumed(check.position, check.task_id, check.paused or False)  # the run ignores it
        try:
            return await self._input(parent, task, child_id, check, status)
        except Exception as error:
            log.exception("sub_workflow.check_crashed", action="check", workflow_id=str(child_id))
            return replace(_child_failure(task, f"internal error: {type(error).__name__}"), broken=True)

    async def _input(
        self, parent: ActiveWorkflow, task: Task, child_id: UUID, check: ChildCheck, status: WorkflowStatus | None
    ) -> ChildPausedOrResumed | Succeeded | AttemptFailed | None:
        """Return the input that a check leads to; None if the check must be repeated."""
        if status is None:
            return _child_failure(task, f"the sub-workflow {child_id} was deleted", child_lost=True)
        if status in TERMINAL_STATUSES:
            return await self._read_end(parent, task, child_id, status)
        if check.paused is None or check.paused is (status is WorkflowStatus.PAUSED):
            return ChildPausedOrResumed(task.position, task.id, check.paused or False)
        if check.paused:
            await self._children.send(child_id, Pause(SERVICE))
            return None
        execution_id = parent.run.state.execution_id
        if execution_id is not None and await self._children.is_paused_by_others(child_id, execution_id):
            return ChildPausedOrResumed(task.position, task.id, paused=False)
        await self._children.resume(child_id)
        return None

    async def _read_end(
        self, parent: ActiveWorkflow, task: Task, child_id: UUID, status: WorkflowStatus
    ) -> Succeeded | AttemptFailed | None:
        """Return the end of the attempt whose sub-workflow has ended; None if that has changed meanwhile."""
        if status is WorkflowStatus.CANCELLED:
            return _child_failure(task, f"the sub-workflow {child_id} was CANCELLED", child_lost=True)
        record = await self._children.record(child_id)
        if record is None or record.state.status is not status:
            return None
        if status is WorkflowStatus.FAILED:
            why = "" if record.summary.error_message is None else f": {record.summary.error_message}"
            return _child_failure(task, f"the sub-workflow {child_id} has FAILED{why}")
        if (size := await self._children.size(child_id, _MAX_STORED_BYTES)) is None:
            return None
        if size > _MAX_STORED_BYTES:
            return _child_failure(task, _too_large(child_id))
        result = await self._result_of(record)
        if len(result) > MAX_RESULT_BYTES:
            return _child_failure(task, _too_large(child_id))
        return await self._runner.child_completed(parent, task, result)

    async def _result_of(self, child: WorkflowRecord) -> bytes:
        """Return the result of the step whose sub-workflow is COMPLETED."""
        stored = await self._children.results(child.id)
        results = {step_id: Raw(result) for step_id, result in stored.items()}
        final = results.get(child.summary.final_step_id)
        whole = {"workflow_id": str(child.id), "status": child.state.status, "results": results, "final": final}
        return json.encode(whole)


def _is_stored(parent: ActiveWorkflow, check: ChildCheck) -> bool:
    """Return whether the parent knows that the sub-workflow has been stored."""
    task = parent.run.open_task(check.position)
    return task is None or task.id != check.task_id or task.phase is TaskPhase.SUBMITTED
