"""Timeouts, giving up, inputs that come too late, recovery from the recorded rows, decisions written as one."""

from datetime import timedelta
from uuid import UUID

import pytest
from msgspec.structs import replace

from stepwell.contract.enums import StepStatus, WorkflowStatus
from stepwell.lifecycle.effects import DeadlineAt, StartAttempt, WakeAt
from stepwell.lifecycle.inputs import (
    SERVICE,
    AttemptFailed,
    DeadlinePassed,
    Dispatched,
    GiveUp,
    RetryDue,
    Succeeded,
)
from support.workflows.runs import CHAIN3, EPOCH, SimulatedRun, config_of

_, _, PAUSED, COMPLETED, FAILED, CANCELLED = WorkflowStatus
S = StepStatus
NOBODY = UUID(int=404)


def test_the_timeout_cancels_running_and_waiting_steps_and_resume_restarts_it() -> None:
    sim = SimulatedRun(((), (), (), (0,)), config_of(timeout=10))
    assert sim.deadline == EPOCH + timedelta(seconds=10)
    sim.dispatch(0, 1, 2)
    sim.fail(1, retryable=True, jitter=0.9)
    sim.fail(2, retryable=True, jitter=0.0)
    sim.due(2)
    decision = sim.timeout()
    assert sim.statuses == [S.CANCELLED, S.CANCELLED, S.CANCELLED, S.PENDING]
    assert decision.workflow.failure == "workflow: timed out after 10 s"
    assert decision.events[-1].data == {"reason": "workflow: timed out after 10 s"}
    assert (decision.events[-1].type, decision.events[-1].actor) == ("workflow.failed", SERVICE)
    assert decision.effects[-1] == DeadlineAt(None)
    sim.later(100)
    sim.resume()
    assert sim.deadline == sim.now + timedelta(seconds=10)
    assert sim.drive() is COMPLETED
    assert (sim.workflow.failure, sim.workflow.deadline_at) == (None, None)


def test_the_timeout_does_not_count_while_paused() -> None:
    sim = SimulatedRun(((), ()), config_of(timeout=10))
    sim.dispatch(0)
    sim.later(4)
    sim.pause()
    assert sim.deadline is None
    sim.later(1000)
    sim.do(DeadlinePassed())
    assert sim.status is PAUSED
    sim.resume()
    assert sim.deadline == sim.now + timedelta(seconds=6)
    sim.pause()
    sim.fail(0)
    sim.resume()  # from FAILED: the whole time again
    assert sim.deadline == sim.now + timedelta(seconds=10)


def test_a_deadline_that_comes_early_is_requested_again() -> None:
    sim = SimulatedRun(config=config_of(timeout=10))
    assert sim.do(DeadlinePassed()).effects == [DeadlineAt(EPOCH + timedelta(seconds=10))]
    sim.later(11)
    sim.pause()
    sim.resume()  # nothing is left of it, not less than nothing
    assert sim.deadline == sim.now


@pytest.mark.parametrize(("timeout", "said"), [(0.5, "0.5"), (86400, "86400"), (2592000, "2592000")])
def test_the_timeout_is_reported_as_a_person_writes_it(timeout: float, said: str) -> None:
    sim = SimulatedRun(config=config_of(timeout=timeout))
    sim.timeout()
    assert sim.workflow.failure == f"workflow: timed out after {said} s"


def test_giving_up_ends_open_workflows_only() -> None:
    sim = SimulatedRun(CHAIN3)
    sim.dispatch(0)
    sim.do(GiveUp("killed 20 processes"))
    assert (sim.status, sim.workflow.failure, sim.live) == (FAILED, "killed 20 processes", {})
    sim.resume()
    sim.pause()
    sim.do(GiveUp("its parent has failed"))
    assert (sim.status, sim.workflow.failure) == (FAILED, "its parent has failed")
    assert not sim.do(GiveUp("late")).has_rows
    assert SimulatedRun(started=False).do(GiveUp("late")).events == []


@pytest.mark.parametrize("paused", [False, True])
def test_giving_up_cancels_a_workflow_whose_parent_was_cancelled(*, paused: bool) -> None:
    sim = SimulatedRun(CHAIN3)
    sim.dispatch(0)
    if paused:
        sim.pause()
    sim.do(GiveUp("its parent was CANCELLED", cancels=True))
    assert (sim.status, sim.workflow.failure, sim.live) == (CANCELLED, None, {})
    assert not sim.do(GiveUp("late", cancels=True)).has_rows


@pytest.mark.parametrize("ender", ["cancel", "timeout", "policy", "cleanup"])
def test_an_input_that_comes_too_late_changes_nothing(ender: str) -> None:
    sim = SimulatedRun(((), (), ()), config_of("cancel", timeout=10))
    sim.dispatch(0, 1)
    task = sim.live[0].id
    match ender:
        case "cancel":
            sim.cancel()
        case "timeout":
            sim.timeout()
        case "policy":
            sim.fail(1)
        case _:
            sim.pause()
            sim.cleanup()
    for late in (
        *(Succeeded(0, task, b"{}"), AttemptFailed(0, task, "x", True, True, 0.5)),  # noqa: FBT003
        *(Succeeded(2, NOBODY, b"{}"), Succeeded(99, NOBODY, b"{}"), Dispatched(99, NOBODY, 1), RetryDue(99)),
        *(Dispatched(0, NOBODY, 1), Dispatched(2, NOBODY, 1), RetryDue(0), DeadlinePassed(), GiveUp("late")),
    ):
        before = sim.picture()
        decision = sim.do(late)
        assert sim.picture() == before
        assert (decision.has_rows, decision.ready, decision.effects) == (False, [], [])


def test_the_result_of_another_attempt_changes_nothing() -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    for late in (Succeeded(0, NOBODY, b"{}"), AttemptFailed(0, NOBODY, "x", True, True, 0.5), RetryDue(0)):  # noqa: FBT003
        before = sim.picture()
        assert not sim.do(late).has_rows
        assert sim.picture() == before
    assert not sim.do(Dispatched(0, NOBODY, 1)).effects


def test_a_new_process_continues_the_open_attempts() -> None:
    sim = SimulatedRun(((), (), (), (0,)), config_of(timeout=10))
    sim.dispatch(0, 1)
    sim.fail(1, retryable=True)
    task, at = sim.live[0], sim.step_rows[1].next_attempt_at
    assert at is not None
    sim.crash()
    assert (sim.queue, sim.wake, sim.deadline) == ({0, 2}, {1: at}, EPOCH + timedelta(seconds=10))
    again = sim.dispatch(0)
    assert again.effects == [StartAttempt(task)]
    assert not again.has_rows
    sim.pause()
    sim.crash()
    assert (sim.queue, sim.wake, sim.deadline) == ({0}, {}, None)
    assert sim.dispatch(0).effects == [StartAttempt(task)]  # a running step ends, also while PAUSED
    sim.succeed(0)
    assert sim.status is PAUSED


def test_a_decision_can_be_merged_with_the_next() -> None:
    sim = SimulatedRun(started=False)
    first = sim.run.apply(sim.start_input(), sim.now)
    second = sim.run.apply(sim.dispatch_input(0), sim.now)
    idle = sim.run.apply(RetryDue(0), sim.now)
    first.merge(second)
    first.merge(idle)
    written = replace(first.workflow)
    sim.run.apply(Succeeded(0, second.steps[0].task_id or NOBODY, b"{}"), sim.now)
    assert first.workflow == written  # later inputs don't reach into it
    assert [e.id for e in first.events] == [2, 3]
    assert (first.last_event, first.workflow.last_event, first.ready) == (1, 3, [0])
    assert not any(isinstance(effect, WakeAt) for effect in first.effects)
