"""Whatever the snapshot of a workflow, each step that has not ended has exactly one reason why it doesn't move."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st
from msgspec import json

from stepwell.contract.definition import WorkflowStepDefinition
from stepwell.contract.enums import (
    TERMINAL_STATUSES,
    OnFailure,
    ProviderType,
    RunIf,
    StepStatus,
    TaskPhase,
    TaskType,
    WorkflowStatus,
)
from stepwell.contract.reasons import (
    BreakerOpen,
    DatabaseAway,
    DiskIsFull,
    FollowsUp,
    HasFailed,
    IsDeleted,
    IsPaused,
    NotStarted,
    OtherProcess,
    RateLimited,
    WaitsForSlot,
    WaitsForSteps,
)
from stepwell.lifecycle.model import Sent, StepState, Task, WorkflowState
from stepwell.lifecycle.records import StepRecord
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.rules.diagnostics.explain import AttemptObservation, Process, WorkflowSnapshot, explain

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GOING = (StepStatus.PENDING, StepStatus.RUNNING)
times = st.floats(-3600, 3600).map(lambda seconds: NOW + timedelta(seconds=seconds))
providers = st.sampled_from(ProviderType)
texts = st.sampled_from(["", "busy", "no"])
waits = st.one_of(
    st.builds(WaitsForSlot, detail=st.just("waits"), provider=st.none() | providers),
    st.builds(RateLimited, detail=st.just("waits"), until=times),
    st.builds(BreakerOpen, detail=st.just("waits"), until=st.none() | times),
)
observations = st.builds(
    AttemptObservation,
    st.booleans(),
    st.none() | texts,
    st.none() | times,
    st.none() | st.floats(0, 1),
    st.none() | texts,
    st.booleans(),
    st.booleans(),
)


@st.composite
def step_records(draw: st.DrawFn, position: int) -> StepRecord:
    name = f"s{position}"
    resolved = ResolvedStep(
        position=position,
        step_id=name,
        task_type=TaskType.GENERATION,
        depends_on=tuple(sorted(draw(st.sets(st.integers(0, position - 1), max_size=3)))) if position else (),
        provider=draw(st.none() | providers),
        fallback=draw(st.none() | providers),
        run_if=draw(st.sampled_from(RunIf)),
        optional=draw(st.booleans()),
    )
    state = StepState(
        position,
        draw(st.sampled_from(StepStatus)),
        attempt=draw(st.integers(0, 5)),
        provider_attempts=draw(st.integers(0, 5)),
        on_fallback=draw(st.booleans()),
        next_attempt_at=draw(st.none() | times),
        error_message=draw(st.none() | texts),
    )
    return StepRecord(
        UUID(int=position), resolved, WorkflowStepDefinition(id=name, task_type=resolved.task_type), state, NOW
    )


@st.composite
def tasks(draw: st.DrawFn, position: int, number: int) -> Task:
    sent = draw(st.none() | st.builds(Sent, model=texts, digest=texts, at=times))
    return Task(
        UUID(int=1000 * number + position),
        position,
        number,
        draw(st.none() | providers),
        phase=draw(st.sampled_from(TaskPhase)),
        sent=sent,
        remote_id=None if sent is None else draw(st.none() | st.just("job-1")),
        outcome_unknown=draw(st.booleans()),
        follow_up_until=draw(st.none() | times),
        started_at=draw(st.none() | times),
    )


@st.composite
def snapshots(draw: st.DrawFn) -> WorkflowSnapshot:
    count = draw(st.integers(1, 6))
    positions = range(count)
    found = [draw(tasks(position, number)) for position in positions for number in (1, 2) if draw(st.booleans())]
    status = draw(st.sampled_from(WorkflowStatus))
    state = WorkflowState(
        UUID(int=7),
        status,
        "n",
        failure=draw(st.none() | st.just("workflow: timed out")),
        deleted_at=draw(st.none() | st.just(NOW)) if status in TERMINAL_STATUSES else None,  # cleanup ends the others
    )
    return WorkflowSnapshot(
        state=state,
        on_failure=draw(st.sampled_from(OnFailure)),
        steps=[draw(step_records(position)) for position in positions],
        tasks=found,
        now=NOW,
        elsewhere=draw(st.none() | st.builds(Process, st.just(UUID(int=9)), st.none() | times, st.booleans())),
        paused=draw(st.tuples(st.none() | st.just("alice"), st.none() | times)),
        database_down=draw(st.booleans()),
        disk_full=draw(st.booleans()),
        draining=draw(st.booleans()),
        waits=draw(st.dictionaries(st.sampled_from(positions), waits)),
        observations={task.id: draw(observations) for task in found if draw(st.booleans())},
        in_process_providers=frozenset(draw(st.sets(providers))),
    )


@given(snapshots())
def test_each_step_that_has_not_ended_has_exactly_one_reason_with_a_code(snapshot: WorkflowSnapshot) -> None:
    explained = explain(snapshot)
    names = [step.step_id for step in explained.steps]
    followed_up = {task.position for task in snapshot.tasks if task.follow_up_until is not None}
    continuable = snapshot.state.status not in (WorkflowStatus.PENDING, *TERMINAL_STATUSES - {WorkflowStatus.FAILED})
    shows_failed = continuable and snapshot.state.deleted_at is None
    failed = {
        step.resolved.position
        for step in snapshot.steps
        if shows_failed and step.state.status is StepStatus.FAILED and not step.resolved.optional
    }
    expected = [
        step.resolved.step_id
        for step in snapshot.steps
        if step.state.status in GOING or step.resolved.position in followed_up | failed
    ]
    assert names == expected
    statuses = {step.resolved.step_id: step.state.status for step in snapshot.steps}
    for step in explained.steps:
        assert step.status is statuses[step.step_id]
        assert isinstance(step.reason, FollowsUp | HasFailed) == (step.status not in GOING)
        assert step.reason.detail
    assert (explained.workflow_id, explained.status) == (snapshot.state.id, snapshot.state.status)
    read: dict[str, Any] = json.decode(json.encode(explained))
    assert all(step["reason"]["code"] for step in read["steps"])


@given(snapshots())
def test_a_step_with_unfinished_dependencies_waits_for_them(snapshot: WorkflowSnapshot) -> None:
    ended = [
        step.state.status in (StepStatus.COMPLETED, StepStatus.SKIPPED)
        or (
            step.state.status is StepStatus.FAILED
            and (step.resolved.optional or snapshot.on_failure is OnFailure.CONTINUE)
        )
        for step in snapshot.steps
    ]
    reasons = {step.step_id: step.reason for step in explain(snapshot).steps}
    for step in snapshot.steps:
        if step.state.status is not StepStatus.PENDING:
            continue
        reason = reasons[step.resolved.step_id]
        unfinished = [f"s{at}" for at in step.resolved.depends_on if not ended[at]]
        if snapshot.state.status is WorkflowStatus.PENDING:
            assert isinstance(reason, NotStarted)
        elif snapshot.state.deleted_at is not None:
            assert isinstance(reason, IsDeleted)
        elif unfinished:
            assert isinstance(reason, WaitsForSteps)
            assert (reason.steps, reason.unfinished) == (unfinished, len(unfinished))
            assert set(reason.stuck) <= set(unfinished)
        elif snapshot.state.status is WorkflowStatus.PAUSED:
            assert isinstance(reason, IsPaused)


@given(snapshots())
def test_the_reason_of_the_workflow_is_what_holds_up_all_of_it(snapshot: WorkflowSnapshot) -> None:
    reason = explain(snapshot).reason
    assert isinstance(reason, DiskIsFull) == snapshot.disk_full
    if not snapshot.disk_full:
        assert isinstance(reason, DatabaseAway) == snapshot.database_down
        if not snapshot.database_down:
            alive = snapshot.elsewhere is not None and snapshot.elsewhere.alive
            assert isinstance(reason, OtherProcess) == alive


@given(snapshots())
def test_the_reasons_name_resume_only_if_the_workflow_can_be_resumed(snapshot: WorkflowSnapshot) -> None:
    explained = explain(snapshot)
    details = [step.reason.detail for step in explained.steps]
    if explained.reason is not None:
        details.append(explained.reason.detail)
    if snapshot.state.status not in (WorkflowStatus.FAILED, WorkflowStatus.PAUSED) or snapshot.state.deleted_at:
        assert not [detail for detail in details if "resume" in detail.lower()]


@given(snapshots())
def test_a_failed_workflow_repeats_the_error_of_its_first_failed_step(snapshot: WorkflowSnapshot) -> None:
    reason = explain(snapshot).reason
    if not isinstance(reason, HasFailed):
        return
    failed = [step for step in snapshot.steps if step.state.status is StepStatus.FAILED and not step.resolved.optional]
    assert reason.steps == [step.resolved.step_id for step in failed]
    assert reason.error == (failed[0].state.error_message if failed else None)
    assert (reason.failure or reason.error or "") in reason.detail
