"""Reads how a sub-workflow has ended, and converts that to the end of its parent's attempt."""

from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from msgspec import Raw, json

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.lifecycle.inputs import AttemptFailed, Succeeded
from stepwell.lifecycle.model import Task
from stepwell.lifecycle.records import WorkflowRecord

_MAX_STORED_BYTES: Final = 8 * MAX_RESULT_BYTES  # of a sub-workflow whose results are read


class ChildEnds:
    """Reads the ends of sub-workflows. *completed* returns the end of an attempt whose sub-workflow is COMPLETED."""

    def __init__(
        self,
        children: StoredChildren,
        completed: Callable[[ActiveWorkflow, Task, bytes], Awaitable[Succeeded | AttemptFailed]],
    ) -> None:
        self._children, self._completed = children, completed

    async def read(
        self, parent: ActiveWorkflow, task: Task, child_id: UUID, status: WorkflowStatus
    ) -> Succeeded | AttemptFailed | None:
        """Return the end of the attempt whose sub-workflow has ended; None if that has changed meanwhile."""
        if status is WorkflowStatus.CANCELLED:
            return child_failure(task, f"the sub-workflow {child_id} was CANCELLED", child_lost=True)
        record = await self._children.record(child_id)
        if record is None or record.state.status is not status:
            return None
        if status is WorkflowStatus.FAILED:
            why = "" if record.summary.error_message is None else f": {record.summary.error_message}"
            return child_failure(task, f"the sub-workflow {child_id} has FAILED{why}")
        if (size := await self._children.size(child_id, _MAX_STORED_BYTES)) is None:
            return None
        if size > _MAX_STORED_BYTES:
            return child_failure(task, _too_large(child_id))
        result = await self._result_of(record)
        if len(result) > MAX_RESULT_BYTES:
            return child_failure(task, _too_large(child_id))
        return await self._completed(parent, task, result)

    async def _result_of(self, child: WorkflowRecord) -> bytes:
        """Return the result of the step whose sub-workflow is COMPLETED."""
        stored = await self._children.results(child.id)
        results = {step_id: Raw(result) for step_id, result in stored.items()}
        final = results.get(child.summary.final_step_id)
        whole = {"workflow_id": str(child.id), "status": child.state.status, "results": results, "final": final}
        return json.encode(whole)


def child_failure(task: Task, error: str, *, child_lost: bool = False) -> AttemptFailed:
    """Return the failure of an attempt, which isn't retried."""
    return AttemptFailed(
        task.position, task.id, error, retryable=False, provider_fault=False, jitter=0.0, child_lost=child_lost
    )


def _too_large(child_id: UUID) -> str:
    return f"the results of the sub-workflow {child_id} are over {MAX_RESULT_BYTES:,} bytes together"
