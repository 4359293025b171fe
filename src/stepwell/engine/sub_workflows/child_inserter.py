"""Stores new sub-workflows."""

from functools import partial
from typing import Final

from anyio import CancelScope, fail_after

from stepwell.domain.errors import Unavailable
from stepwell.domain.records import ChildInsertion
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.engine.events.bus import EventBus
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.new_workflow import NewWorkflowBundle
from stepwell.engine.sub_workflows.stored_children import until_available
from stepwell.ports.storage import WorkflowStore

MAX_SUB_WORKFLOWS: Final = 10_000  # of a root, in all
_STATEMENT_S: Final = 30.0


class _NotStored(Exception):
    """Raised when a sub-workflow wasn't stored as a new one."""

    def __init__(self, insertion: ChildInsertion) -> None:
        self.insertion = insertion


class ChildInserter:
    """Inserts sub-workflows of this process's parents, and lets them wait for their admission."""

    def __init__(self, store: WorkflowStore, admission: WorkflowAdmission, bus: EventBus, lease: Lease) -> None:
        self._store, self._admission, self._bus, self._lease = store, admission, bus, lease

    async def insert(self, bundle: NewWorkflowBundle) -> ChildInsertion:
        """Store the sub-workflow once. Repeats that while the database is away."""
        insertion = await until_available(partial(self._insert_once, bundle))
        if insertion is ChildInsertion.STORED:  # by a statement whose answer was lost: nobody knows that it waits
            self._admission.others_changed()
        return insertion

    async def _insert_once(self, bundle: NewWorkflowBundle) -> ChildInsertion:
        try:
            # Shielded: if the attempt is cancelled, its follow-up must know whether the sub-workflow exists.
            with CancelScope(shield=True), fail_after(_STATEMENT_S), self._admission.storing(bundle.new.record.tenant):
                await self._insert_new(bundle)
        except _NotStored as error:
            return error.insertion
        except TimeoutError as error:
            raise Unavailable("the database doesn't answer", 1) from error
        self._bus.publish(bundle.committed)
        return ChildInsertion.NEW

    async def _insert_new(self, bundle: NewWorkflowBundle) -> None:
        owner = self._lease.owner
        insertion = await self._store.insert_child(EVERY_TENANT, bundle.new, owner, MAX_SUB_WORKFLOWS)
        if insertion is not ChildInsertion.NEW:
            raise _NotStored(insertion)
