"""Sub-workflows in a database without a service, made and ended through the workflow store alone."""

from typing import Any
from uuid import UUID

from msgspec import structs

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.basics.workflow_limits import RootLimits
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ChildInsertion, ParentAttempt, ParentLink
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Cancel
from stepwell.lifecycle.records import NewWorkflow
from support.database.stored_workflows import CHAIN, ME, Workflows, dispatched

LIMITS = RootLimits(sub_workflows=100)


def draft_child(
    stored: Workflows,
    parent: ActiveWorkflow,
    definition: dict[str, Any] = CHAIN,
    *,
    owner: UUID | None = ME,
    tenant: str | None = "t",
    link: ParentLink | None = None,
    has_flow: bool = False,
    child_id: UUID | None = None,
) -> tuple[ActiveWorkflow, NewWorkflow]:
    """A sub-workflow that isn't stored yet. *child_id* is that of the attempt that creates it, for reads of that."""
    handle, new = stored.draft(definition, tenant, owner)
    handle.workflow_id = handle.run.state.id = child_id or handle.workflow_id
    depth = parent.run.state.depth
    root = parent.run.state.parent_id or parent.workflow_id  # of up to two levels; deeper ones need a *link*
    place = link or ParentLink(parent.workflow_id, "a", None, root, depth + 1)
    handle.run.state.parent_id, handle.run.state.depth = place.workflow_id, place.depth
    state = structs.replace(new.record.state, id=handle.workflow_id, parent_id=place.workflow_id, depth=place.depth)
    record = structs.replace(new.record, state=state, parent=place)
    return handle, structs.replace(new, record=record, has_flow=has_flow)


async def make_child(
    stored: Workflows, parent: ActiveWorkflow, *, child_id: UUID | None = None, **more: Any
) -> ActiveWorkflow:
    """A RUNNING sub-workflow of *parent*."""
    handle, new = draft_child(stored, parent, child_id=child_id, **more)
    owner = parent.run.state.owner
    assert owner is not None
    attempt = ParentAttempt(owner, child_id or await attempt_of(stored, parent))
    assert await stored.workflow_store.insert_child(EVERY_TENANT, new, attempt, LIMITS) is ChildInsertion.NEW
    return handle


async def attempt_of(stored: Workflows, parent: ActiveWorkflow) -> UUID:
    """Return the id of the attempt at the first step of *parent*. It begins unless there is one."""
    if (task := parent.run.open_task(0)) is None:
        await stored.write(parent, dispatched())
        task = parent.run.open_task(0)
        assert task is not None
    return task.id


def end(stored: Workflows, child: ActiveWorkflow) -> Decision:
    """The decision that ends the sub-workflow."""
    decision = stored.decide(child, Cancel("alice"))
    assert decision.ended_child_of is not None
    return decision
