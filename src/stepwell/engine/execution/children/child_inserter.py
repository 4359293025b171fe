"""Stores new sub-workflows."""

from functools import partial
from typing import Final
from uuid import UUID

from anyio import CancelScope, fail_after

from stepwell.basics.errors import AttemptError, Unavailable, UploadsGone
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.basics.workflow_limits import RootLimits
from stepwell.engine.attempts.attempt_control import AttemptSuperseded
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.new_workflow import NewWorkflowBundle
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.lifecycle.child_records import ChildInsertion, ParentAttempt
from stepwell.ports.storage import WorkflowStore
from stepwell.runtime.outages import until_available

LIMITS: Final = RootLimits()
_STATEMENT_S: Final = 30.0


class _NotStored(Exception):
    """Raised when a sub-workflow wasn't stored as a new one."""

    def __init__(self, insertion: ChildInsertion) -> None:
        self.insertion = insertion


class ChildInserter:
    """Stores new sub-workflows of the parents that this process runs. They then wait for admission."""

    def __init__(self, store: WorkflowStore, admission: WorkflowAdmission, bus: EventBus, lease: Lease) -> None:
        self._store, self._admission, self._bus, self._lease = store, admission, bus, lease

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
            # By a statement whose answer was lost, so nobody has counted the sub-workflow as waiting.
            self._admission.others_changed()
        return insertion is ChildInsertion.NEW

    async def _insert_once(self, bundle: NewWorkflowBundle, task_id: UUID) -> ChildInsertion:
        try:
            # Shielded: if the attempt is cancelled, its follow-up must know whether the sub-workflow exists.
            with CancelScope(shield=True), fail_after(_STATEMENT_S), self._admission.storing(bundle.new.record.tenant):
                await self._insert_new(bundle, task_id)
        except _NotStored as error:
            return error.insertion
        except UploadsGone as error:
            gone = ", ".join(sorted(map(str, error.upload_ids)))
            message = f"the sub-workflow can't be created: it names uploads that are being deleted: {gone}"
            raise AttemptError(message, retryable=False, provider_fault=False) from error
        except TimeoutError as error:
            raise Unavailable("the database doesn't answer", 1) from error
        self._bus.publish(bundle.committed)
        return ChildInsertion.NEW

    async def _insert_new(self, bundle: NewWorkflowBundle, task_id: UUID) -> None:
        attempt = ParentAttempt(self._lease.owner, task_id)
        insertion = await self._store.insert_child(EVERY_TENANT, bundle.new, attempt, LIMITS)
        if insertion is not ChildInsertion.NEW:
            raise _NotStored(insertion)


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
