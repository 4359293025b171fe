"""Reads stored sub-workflows and changes them, for the process of their parents. Waits while the database is away."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from anyio import sleep

from stepwell.basics.errors import InvalidTransition, NotFound, TooManyRequests, Unavailable
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.basics.workflow_limits import RootLimits
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.engine.execution.runnable_definitions import definition_of_step
from stepwell.lifecycle.child_records import ChildStatuses
from stepwell.lifecycle.inputs import SERVICE, Resume
from stepwell.lifecycle.peer_commands import ClientVerb
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.lifecycle.records import WHOLE, WorkflowRecord
from stepwell.ports.clock import Clock, NewId
from stepwell.ports.storage import WorkflowReader, WorkflowStore
from stepwell.runtime.outages import OUTAGE_RETRY_S, until_available

log = structlog.get_logger()


class StoredChildren:
    """The sub-workflows in the database."""

    def __init__(self, store: WorkflowStore, reader: WorkflowReader, clock: Clock, new_id: NewId) -> None:
        self._store, self._reader, self._clock, self._new_id = store, reader, clock, new_id
        self._change: Callable[[UUID, ClientVerb, Preconditions], Awaitable[object]]

    def use(self, change: Callable[[UUID, ClientVerb, Preconditions], Awaitable[object]]) -> None:
        """Apply verbs to sub-workflows by *change*, in whichever process runs them. Called before anything runs.

        *change* needs the scheduler, which needs the attempts, and these send verbs to their sub-workflows.
        """
        self._change = change

    async def statuses_below(self, parent_id: UUID, ids: Sequence[UUID]) -> ChildStatuses:
        """Return the statuses of sub-workflows of the parent, and how many ends are counted there."""
        return await until_available(partial(self._store.child_statuses, EVERY_TENANT, parent_id, ids))

    async def status(self, child_id: UUID) -> WorkflowStatus | None:
        """Return the status; None if it doesn't exist or is deleted."""
        return (await until_available(partial(self._store.statuses, EVERY_TENANT, [child_id]))).get(child_id)

    async def record(self, workflow_id: UUID) -> WorkflowRecord | None:
        """Return the record of a sub-workflow or of its parent, without steps; None if it doesn't exist."""
        return await until_available(partial(self._reader.get, EVERY_TENANT, workflow_id))

    async def of_run(self, tenant: str | None, workflow_id: UUID) -> dict[tuple[str, int | None], list[UUID]]:
        """Return the sub-workflows of a run of *tenant*, by step and item, in the order in which they were created."""
        read = partial(self._reader.children, TenantScope(tenant), workflow_id, RootLimits().sub_workflows)
        found: dict[tuple[str, int | None], list[UUID]] = {}
        for child in (await until_available(read)).first:
            found.setdefault((child.step_id, child.item), []).append(child.id)
        return found

    async def definition(
        self, root_id: UUID, config: Mapping[str, Any]
    ) -> tuple[Mapping[str, Any], DefinitionReference | None]:
        """Return the definition of a sub-workflow below the root, as `definition_of_step`."""
        return await until_available(partial(definition_of_step, self._reader, EVERY_TENANT, root_id, config))

    async def size(self, child_id: UUID, stop_at: int) -> int | None:
        """Return the size of the whole sub-workflow, or more than *stop_at*; None if it doesn't exist."""
        read = partial(self._reader.size, EVERY_TENANT, [child_id], WHOLE, stop_at)
        size = await until_available(read)
        return None if size is None else size.total

    async def results(self, child_id: UUID) -> dict[str, bytes]:
        """Return the stored results of the steps that have COMPLETED, by step id."""
        loaded = await until_available(partial(self._store.load, EVERY_TENANT, child_id))
        names = {
            step.resolved.position: step.resolved.step_id
            for step in (() if loaded is None else loaded.steps)
            if step.state.status is StepStatus.COMPLETED
        }
        read = partial(self._store.results, EVERY_TENANT, {child_id: list(names)})
        stored = (await until_available(read)).get(child_id, {})
        return {names[position]: result for position, result in stored.items()}

    async def is_paused_by_others(self, child_id: UUID, execution_id: UUID) -> bool:
        """Return whether somebody has paused it since this execution of its parent began, and not the parent."""
        ownership = await until_available(partial(self._reader.ownership, EVERY_TENANT, child_id))
        if ownership is None or ownership.paused_at is None or ownership.paused_by == SERVICE:
            return False
        return self._new_id(ownership.paused_at).int > execution_id.int  # ids sort by their times

    async def resume(self, child_id: UUID, execution_id: UUID | None = None) -> None:
        """Resume a sub-workflow, as `send` does. Its execution has the id *execution_id*, or a new one."""
        await self.send(child_id, Resume(SERVICE, execution_id or self._new_id(self._clock.now()), None))

    async def send(self, child_id: UUID, verb: ClientVerb) -> bool:
        """Apply a verb to a sub-workflow. Return False if that must be repeated.

        Otherwise its next status shows whether that had an effect.
        """
        try:
            await self._change(child_id, verb, NO_PRECONDITIONS)
        except (InvalidTransition, NotFound):
            pass  # it has changed meanwhile
        except (Unavailable, TooManyRequests) as error:
            log.warning("sub_workflow.not_changed", action="pause", workflow_id=str(child_id), error=repr(error))
            await sleep(OUTAGE_RETRY_S)
            return False
        return True
