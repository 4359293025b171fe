"""Stores or resumes the sub-workflow of an attempt, and stops the one of an abandoned attempt."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from uuid import UUID

from anyio import CancelScope, fail_after
from msgspec import Struct

from stepwell.basics.errors import AttemptError, Unavailable, UploadsGone
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.basics.workflow_limits import RootLimits
from stepwell.contract.enums import TERMINAL_STATUSES, CancelReceipt, WorkflowStatus
from stepwell.engine.attempts.attempt_control import AttemptControl, AttemptSuperseded
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.engine.execution.children.child_builder import ChildBuilder
from stepwell.engine.execution.children.stored_children import StoredChildren
from stepwell.engine.execution.new_workflow import NewWorkflowBundle
from stepwell.engine.execution.open_children import ChildCheck, OpenChildren
from stepwell.engine.execution.workflow_queue import WorkflowQueue
from stepwell.lifecycle.child_records import ChildInsertion, ParentAttempt
from stepwell.lifecycle.inputs import ExceedBudget, FollowUpEnded, GiveUp, Sending, Submitted
from stepwell.lifecycle.model import Sent, Task
from stepwell.ports.clock import Clock
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.outages import until_available

LIMITS: Final = RootLimits()
_STATEMENT_S: Final = 30.0


class _NotStored(Exception):
    def __init__(self, insertion: ChildInsertion) -> None:
        self.insertion = insertion


class ChildAttempts(Struct, eq=False, kw_only=True):
    """The attempts whose job is a sub-workflow. A new sub-workflow waits for admission.

    *workflows* are those in memory. *owner* is this process.
    """

    workflows: Mapping[UUID, ActiveWorkflow]
    children: StoredChildren
    builder: ChildBuilder
    open_children: OpenChildren
    store: WorkflowStore
    queue: WorkflowQueue
    bus: EventBus
    owner: UUID
    clock: Clock

    async def create(self, parent_id: UUID, task: Task, inputs: Mapping[str, Any], control: AttemptControl) -> None:
        parent = self._parent(parent_id)
        child_id, bundle = _child_of(parent, task), None
        if not await self._is_stored(child_id, task):
            bundle = await self.builder.build(parent, child_id, task, inputs)
        if task.sent is None:
            control.report(Sending(task.position, task.id, Sent("", "", self.clock.now())))
            await control.flushed()
        is_new, check = False, ChildCheck(task.position, task.id)
        if bundle is not None:
            self.open_children.add(parent, child_id, check)  # it may end before this process knows that it is stored
            is_new = await self.insert(bundle, task.id)
        if not is_new and child_id != task.id:
            await self._continue(child_id, task.id)  # watched only then: before, it has an earlier end
        control.report(Submitted(task.position, task.id, str(child_id), {}))
        if not is_new:
            self.open_children.add(parent, child_id, check)
            self.open_children.check(parent, child_id, check)

    async def insert(self, bundle: NewWorkflowBundle, task_id: UUID) -> bool:
        """Store the sub-workflow of the attempt *task_id*. Return False if it is stored already.

        Repeats that while the database is away. Raises `AttemptError` if its root may have no more, and
        `AttemptSuperseded` if this process has lost the parent, or the attempt has ended.
        """
        insertion = await until_available(partial(self._insert_once, bundle, task_id))
        if insertion is ChildInsertion.LOST:
            raise AttemptSuperseded
        if (limit := _limit(insertion)) is not None:
            message = f"the sub-workflow can't be created: all those of one root have at most {limit}"
            raise AttemptError(message, retryable=False, provider_fault=False)
        if insertion is ChildInsertion.STORED:
            # By a statement whose result was lost, so nobody has counted the sub-workflow as waiting.
            self.queue.others_changed()
        return insertion is ChildInsertion.NEW

    async def _insert_once(self, bundle: NewWorkflowBundle, task_id: UUID) -> ChildInsertion:
        try:
            # Shielded: if the attempt is cancelled, its follow-up must know whether the sub-workflow exists.
            with CancelScope(shield=True), fail_after(_STATEMENT_S), self.queue.storing(bundle.new.record.tenant):
                await self._insert_new(bundle, task_id)
        except _NotStored as error:
            return error.insertion
        except UploadsGone as error:
            ids = ", ".join(sorted(map(str, error.upload_ids)))
            message = f"the sub-workflow can't be created: it names uploads that are being deleted: {ids}"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        except TimeoutError as error:
            raise Unavailable("the database doesn't respond", 1) from error
        self.bus.publish(bundle.committed)
        return ChildInsertion.NEW

    async def _insert_new(self, bundle: NewWorkflowBundle, task_id: UUID) -> None:
        attempt = ParentAttempt(self.owner, task_id)
        insertion = await self.store.insert_child(EVERY_TENANT, bundle.new, attempt, LIMITS)
        if insertion is not ChildInsertion.NEW:
            raise _NotStored(insertion)

    async def exceed_budget(self, root_id: UUID, verb: ExceedBudget) -> None:
        while not await self.children.send(root_id, verb):
            pass

    async def stop(self, parent_id: UUID, task: Task) -> FollowUpEnded:
        parent, receipt = self._parent(parent_id), CancelReceipt.NEVER_STARTED
        child_id = _child_of(parent, task)
        while True:
            status = await self.children.status(child_id)
            if status is None or status in TERMINAL_STATUSES:
                if status is not None and receipt is CancelReceipt.NEVER_STARTED:
                    receipt = await self._receipt_of_ended(parent, child_id)
                return FollowUpEnded(task.position, task.id, receipt)
            receipt = CancelReceipt.PROVIDER_CANCELLED
            cancelled = parent.run.state.status is WorkflowStatus.CANCELLED
            reason = f"{_stopped_by(parent)} {parent.run.state.status}"
            await self.children.send(child_id, GiveUp(reason, cancelled))

    async def _receipt_of_ended(self, parent: ActiveWorkflow, child_id: UUID) -> CancelReceipt:
        """Return the receipt of a sub-workflow that had ended already.

        An earlier process may have stopped it, which died before it recorded that.
        """
        child = await self.children.record(child_id)
        if child is None or child.state.status is WorkflowStatus.CANCELLED:
            return CancelReceipt.PROVIDER_CANCELLED
        given_up = (child.state.failure or "").startswith(_stopped_by(parent))
        return CancelReceipt.PROVIDER_CANCELLED if given_up else CancelReceipt.FINISHED_TOO_LATE

    def _parent(self, parent_id: UUID) -> ActiveWorkflow:
        if (parent := self.workflows.get(parent_id)) is None:
            raise AttemptSuperseded
        return parent

    async def _is_stored(self, child_id: UUID, task: Task) -> bool:
        """Return whether an earlier attempt or process has stored the sub-workflow.

        Then the attempt continues it, even if this process would refuse its definition: otherwise it would run without
        a parent that watches it.
        """
        return (task.sent is not None or child_id != task.id) and await self.children.status(child_id) is not None

    async def _continue(self, child_id: UUID, task_id: UUID) -> None:
        """Resume a sub-workflow that failed in an earlier attempt. What it completed is kept.

        Its new execution has the id of the attempt, so the attempt resumes it once, whatever process runs it.
        """
        while (
            (child := await self.children.record(child_id)) is not None
            and (child.state.status, child.state.deleted_at) == (WorkflowStatus.FAILED, None)
            and child.state.execution_id != task_id
        ):
            await self.children.resume(child_id, task_id)


def _limit(insertion: ChildInsertion) -> str | None:
    """Return the limit of the root that the sub-workflow would exceed; None for another result."""
    match insertion:
        case ChildInsertion.TOO_MANY:
            return f"{LIMITS.sub_workflows:,} sub-workflows in all depths"
        case ChildInsertion.TOO_MANY_STEPS:
            return f"{LIMITS.steps:,} steps together"
        case ChildInsertion.TOO_LARGE:
            return f"{LIMITS.definition_bytes:,} bytes of definitions together"
        case _:
            return None


def _child_of(parent: ActiveWorkflow, task: Task) -> UUID:
    """Return the id of the sub-workflow: that of the first attempt at it."""
    flow = parent.run.units[task.position].flow
    assert flow is not None
    assert flow.child is not None
    return flow.child


def _stopped_by(parent: ActiveWorkflow) -> str:
    """Return how the failure of a sub-workflow begins that was stopped because of its parent."""
    return f"the workflow {parent.workflow_id} that runs this one was"
