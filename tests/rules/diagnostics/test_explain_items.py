"""A step whose items run says how they stand, and why the first of them doesn't progress."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import structs

from stepwell.contract.definition import ForEach, WorkflowStepDefinition
from stepwell.contract.enums import OnFailure, ProviderType, StepStatus, TaskPhase, TaskType, WorkflowStatus
from stepwell.contract.reasons import FollowsUp, StepReason, WaitsForItems, WaitsForSlot
from stepwell.lifecycle.model import ItemKey, ItemState, Sent, StepState, Task, WorkflowState
from stepwell.lifecycle.records import StepRecord
from stepwell.lifecycle.steps import FlowControl, ForEachRule, ResolvedStep
from stepwell.lifecycle.units import unit_position
from stepwell.rules.diagnostics.explain import WorkflowSnapshot, explain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DEFINITION = WorkflowStepDefinition(id="a", task_type=TaskType.GENERATION, for_each=ForEach(count=6))
RESOLVED = ResolvedStep(
    position=0,
    step_id="a",
    task_type=TaskType.GENERATION,
    provider=ProviderType.CUSTOM,
    flow=FlowControl(for_each=ForEachRule(collect=True)),
)
SLOT = WaitsForSlot(
    detail="no slot",
    limit="total",
    provider=ProviderType.CUSTOM,
    model=None,
    slots=2,
    used=2,
    position=1,
)


def item(number: int, status: StepStatus, **members: Any) -> ItemState:
    return ItemState(-1, status, item_key=ItemKey(0, number), value=b"0", **members)


def reason_of(
    step: StepStatus,
    items: list[ItemState],
    *tasks: Task,
    waits: dict[int, WaitsForSlot] | None = None,
    resolved: ResolvedStep = RESOLVED,
) -> StepReason:
    snapshot = WorkflowSnapshot(
        state=WorkflowState(UUID(int=7), WorkflowStatus.RUNNING, "n"),
        on_failure=OnFailure.CONTINUE,
        steps=[StepRecord(UUID(int=1), resolved, DEFINITION, StepState(0, step), NOW)],
        items=items,
        tasks=tasks,
        now=NOW,
        waits=waits or {},
    )
    (explained,) = explain(snapshot).steps
    return explained.reason


def task(number: int, **members: Any) -> Task:
    key = ItemKey(0, number)
    sent = Sent("model", "d", NOW)
    return Task(UUID(int=number), 0, 1, ProviderType.CUSTOM, sent=sent, item_key=key, **members)


def test_the_items_of_a_step_are_counted_with_the_reasons_of_those_that_are_under_way() -> None:
    items = [
        item(5, StepStatus.PENDING),
        item(0, StepStatus.COMPLETED),
        item(1, StepStatus.FAILED),
        item(2, StepStatus.RUNNING, next_attempt_at=NOW + timedelta(seconds=9)),
        item(3, StepStatus.RUNNING),
        item(4, StepStatus.PENDING),
    ]
    waits = {unit_position(1, ItemKey(0, 4)): SLOT}
    job = task(3, remote_id="job-1", phase=TaskPhase.SUBMITTED)
    reason = reason_of(StepStatus.RUNNING, items, job, waits=waits)
    assert isinstance(reason, WaitsForItems)
    counts = (reason.total, reason.pending, reason.running, reason.completed, reason.failed)
    assert counts == (6, 2, 2, 1, 1)
    assert reason.reasons == {"retry": 1, "remote_job": 1, "waits_for_slot": 1}
    assert reason.detail == (
        "Of 6 items: 1 completed, 1 failed, 2 running, 1 queued, 1 not started. "
        "Item 2: Attempt 1 of 4 at CUSTOM starts at 2026-01-01T00:00:09Z."
    )


def test_a_step_that_an_item_has_failed_starts_no_further_item() -> None:
    items = [item(0, StepStatus.FAILED), item(1, StepStatus.RUNNING), item(2, StepStatus.PENDING)]
    stops = structs.replace(RESOLVED, flow=FlowControl(for_each=ForEachRule(collect=False)))
    stopped = reason_of(StepStatus.RUNNING, items, task(1), resolved=stops)
    assert "1 not started. No further item starts, because one has failed. Item 1: " in stopped.detail
    assert "No further item" not in reason_of(StepStatus.RUNNING, items, task(1)).detail


def test_the_job_of_an_item_is_followed_up_after_its_step_has_ended() -> None:
    abandoned = task(3, follow_up_until=NOW + timedelta(hours=1))
    items = [item(3, StepStatus.CANCELLED)]
    assert isinstance(reason_of(StepStatus.CANCELLED, items, abandoned), FollowsUp)
