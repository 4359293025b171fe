"""Decisions about waits and parked workflows, made by hand, for tests of the stores alone."""

from datetime import datetime, timedelta
from uuid import UUID, uuid4

from stepwell.contract.enums import EventType, StepStatus, WaitKind, WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.decision import Decision, copy_of
from stepwell.lifecycle.feature_level import BASE_LEVEL
from stepwell.lifecycle.inputs import Start
from stepwell.lifecycle.model import FlowState, ShownWait, StoredSignal, Wait
from support.database.stored_workflows import CHAIN, ME, Workflows

SOON = timedelta(hours=1)


def decision_of(handle: ActiveWorkflow) -> Decision:
    """An empty decision, whose rows the caller adds."""
    return Decision.of(handle.run.state)


def close(handle: ActiveWorkflow, decision: Decision) -> Decision:
    """The decision with the workflow's row as it is now."""
    decision.workflow = copy_of(handle.run.state)
    return decision


def begin_wait(
    handle: ActiveWorkflow, now: datetime, *, position: int = 0, kind: WaitKind = WaitKind.DECISION, wait_id: UUID
) -> Decision:
    decision, step = decision_of(handle), handle.run.steps[position]
    step.status, step.started_at = StepStatus.RUNNING, now
    step.flow = FlowState(Wait(wait_id, kind, now, now + SOON, ("yes", "no")))
    decision.record(step, now)
    decision.waits[position] = ShownWait("Which one?", b'{"image": "media/x.png"}')
    decision.emit(handle.run.state, now, EventType.STEP_WAITING, "stepwell", step_id="a")
    return close(handle, decision)


def end_wait(handle: ActiveWorkflow, now: datetime, result: bytes, position: int = 0) -> Decision:
    decision, step = decision_of(handle), handle.run.steps[position]
    assert step.flow is not None
    step.status, step.completed_at, step.result, step.flow = StepStatus.COMPLETED, now, result, None
    decision.record(step, now)
    decision.waits[position], decision.has_flow_steps = None, True
    decision.emit(handle.run.state, now, EventType.STEP_COMPLETED, "stepwell", step_id="a")
    return close(handle, decision)


def signals(handle: ActiveWorkflow, now: datetime, stored: dict[str, StoredSignal | None]) -> Decision:
    decision = decision_of(handle)
    decision.signals |= stored
    decision.emit(handle.run.state, now, EventType.WORKFLOW_UPDATED, "stepwell")
    return close(handle, decision)


def park(handle: ActiveWorkflow, wake_at: datetime) -> Decision:
    decision = decision_of(handle)
    decision.parking_changes, handle.run.state.owner, handle.run.state.wake_at = True, None, wake_at
    return close(handle, decision)


def pause_parked(handle: ActiveWorkflow, now: datetime, wake_at: datetime) -> Decision:
    decision = decision_of(handle)
    decision.parking_changes, handle.run.state.status, handle.run.state.wake_at = True, WorkflowStatus.PAUSED, wake_at
    decision.emit(handle.run.state, now, EventType.WORKFLOW_PAUSED, "alice")
    return close(handle, decision)


async def make_parked(
    stored: Workflows,
    wake_at: datetime,
    *,
    tenant: str | None = "t",
    paused: bool = False,
    feature_level: int = BASE_LEVEL,
    owner: UUID = ME,
) -> ActiveWorkflow:
    """A workflow that waits for a time, and that *owner* has parked."""
    handle = await stored.make(CHAIN, tenant=tenant, owner=None, feature_level=feature_level, has_flow=True)
    await stored.write(handle, Start("alice", uuid4(), owner))
    now = stored.clock.now()
    decision = begin_wait(handle, now, kind=WaitKind.DELAY, wait_id=uuid4())
    decision.merge(park(handle, wake_at))
    if paused:
        decision.merge(pause_parked(handle, now, wake_at))
    assert await stored.workflow_store.write([decision]) == set()
    return handle
