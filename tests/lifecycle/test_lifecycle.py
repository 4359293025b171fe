"""The table of verbs, the failure policies, pauses, cancel, cleanup and resume."""

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.enums import OnFailure, StepStatus, TaskStatus, WorkflowStatus
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import CancelAttempt, StartAttempt
from stepwell.lifecycle.inputs import Update
from support.workflows.runs import ACTOR, CHAIN3, DIAMOND, EPOCH, OTHER_OWNER, OWNER, SimulatedRun, config_of

PENDING, RUNNING, PAUSED, COMPLETED, FAILED, CANCELLED = WorkflowStatus
S = StepStatus

VERBS: dict[str, tuple[Callable[[SimulatedRun], Decision], tuple[WorkflowStatus, ...]]] = {
    "start": (SimulatedRun.start, (PENDING,)),
    "pause": (SimulatedRun.pause, (RUNNING,)),
    "resume": (SimulatedRun.resume, (FAILED, PAUSED)),
    "cancel": (SimulatedRun.cancel, (PENDING, RUNNING)),
    "cleanup": (SimulatedRun.cleanup, (PENDING, PAUSED, COMPLETED, FAILED, CANCELLED)),
    "update": (lambda sim: sim.do(Update(ACTOR, WorkflowUpdate(name="new"))), tuple(WorkflowStatus)),
}


def sim_in(status: WorkflowStatus) -> SimulatedRun:
    """A chain of three, brought to *status* by inputs alone."""
    sim = SimulatedRun(CHAIN3, started=status is not PENDING)
    if status in (RUNNING, PAUSED, CANCELLED, FAILED):
        sim.dispatch(0)
        sim.succeed(0)
        sim.dispatch(1)
    if status is PAUSED:
        sim.pause()
    if status is CANCELLED:
        sim.cancel()
    if status is FAILED:
        sim.fail(1)
    if status is COMPLETED:
        sim.drive()
    assert sim.status is status
    return sim


@pytest.mark.parametrize("deleted", [False, True])
@pytest.mark.parametrize("status", WorkflowStatus)
@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_applies_only_where_allowed(verb: str, status: WorkflowStatus, deleted: bool) -> None:  # noqa: FBT001
    do, allowed = VERBS[verb]
    sim = sim_in(status)
    if deleted:
        sim.run.state.deleted_at = sim.workflow.deleted_at = sim.now
    after = {"start": RUNNING, "pause": PAUSED, "resume": RUNNING, "cancel": CANCELLED}.get(verb, status)
    if verb == "cleanup" and status in (PENDING, PAUSED):
        after = CANCELLED
    if deleted and verb == "cleanup":
        before = sim.picture()
        assert not do(sim).has_rows
        assert sim.picture() == before
    elif deleted or status not in allowed:
        with pytest.raises(InvalidTransition) as refused:  # that nothing changed, Sim.do sees to
            do(sim)
        assert (refused.value.verb, refused.value.current, refused.value.allowed) == (verb, status, allowed)
        assert ("deleted" in str(refused.value)) == deleted
        assert ("Cleanup" in str(refused.value)) == (verb == "cancel" and status is PAUSED and not deleted)
    else:
        assert do(sim).has_rows
        assert sim.status is after
        assert (sim.workflow.deleted_at is not None) == (verb == "cleanup")
        assert sim.events[-1].type == "workflow." + {
            "start": "started",
            "pause": "paused",
            "resume": "resumed",
            "cancel": "cancelled",
            "cleanup": "cleaned",
            "update": "updated",
        }.get(verb, "")
        assert sim.events[-1].actor == ACTOR


def test_update_keeps_what_is_absent_and_clears_null() -> None:
    sim = SimulatedRun()
    sim.do(Update(ACTOR, WorkflowUpdate(description="d", webhook_url="https://h")))
    decision = sim.do(Update(ACTOR, WorkflowUpdate(name="n", description=None, webhook_url=UNSET)))
    assert (sim.workflow.name, sim.workflow.description, sim.workflow.webhook_url) == ("n", None, "https://h")
    assert decision.events[0].data == {"changed": ["name", "description"]}


def test_a_diamond_runs_in_order_and_emits_its_events() -> None:
    sim = SimulatedRun(DIAMOND)
    assert sim.queue == {0}
    started = sim.dispatch(0)
    task = started.effects[0]
    assert isinstance(task, StartAttempt)
    assert (task.task.status, task.task.attempt, task.task.seed) == (TaskStatus.RUNNING, 1, 1)
    assert sim.succeed(0).ready == [1, 2]
    sim.dispatch(1, 2)
    assert sim.succeed(2).ready == []
    assert sim.succeed(1).ready == [3]
    sim.dispatch(3)
    sim.later(5)
    sim.succeed(3, result=b'{"a":1}')
    assert sim.status is COMPLETED
    assert sim.workflow.completed_at == EPOCH + timedelta(seconds=5)
    assert sim.step_rows[3].result == b'{"a":1}'
    assert sim.run.steps[3].result is None  # nothing reads it; it is in the database
    assert sim.short_history() == [
        *("workflow.created", "workflow.started", "step.started s0", "step.completed s0"),
        *("step.started s1", "step.started s2", "step.completed s2", "step.completed s1"),
        *("step.started s3", "step.completed s3", "workflow.completed"),
    ]


def test_results_stay_in_memory_while_a_mapping_may_read_them() -> None:
    sim = SimulatedRun(CHAIN3, sources=[(), (0,), (0, 0)])
    sim.dispatch(0)
    sim.succeed(0, result=b"zero")
    for position in (1, 2):
        assert sim.run.steps[0].result == b"zero"
        sim.dispatch(position)
        sim.succeed(position)
    assert sim.run.steps[0].result is None
    assert sim.step_rows[0].result == b"zero"


def fail_amid(policy: str) -> SimulatedRun:
    """Of s0, s1, s2 (and s3 after s0, s4 after s1, s5 after s4 and s2) s0 fails, s1 runs, s2 waits for its retry."""
    sim = SimulatedRun(((), (), (), (0,), (1,), (4, 2)), config_of(policy))
    sim.dispatch(0, 1, 2)
    sim.fail(2, retryable=True)
    sim.fail(0, error="broken")
    return sim


def test_drain_lets_running_steps_end_and_holds_back_retries() -> None:
    sim = fail_amid("drain")
    assert sim.statuses == [S.FAILED, S.RUNNING, S.PENDING, S.PENDING, S.PENDING, S.PENDING]
    assert sim.events[-1].data == {"error": "broken", "held_back": ["s2"]}
    assert not sim.dispatch(2).has_rows
    decision = sim.succeed(1)
    assert decision.ready == []
    assert (sim.short_history()[-1], sim.status) == ("workflow.failed", FAILED)
    assert sim.statuses == [S.FAILED, S.COMPLETED, S.PENDING, S.PENDING, S.PENDING, S.PENDING]
    assert sim.resume().ready == [0, 2, 4]
    assert sim.drive() is COMPLETED


def test_drain_also_holds_back_a_retry_that_waits_for_a_slot() -> None:
    sim = SimulatedRun(((), ()))
    sim.dispatch(0, 1)
    sim.fail(1, retryable=True)
    sim.due(1)
    sim.fail(0)
    assert sim.statuses == [S.FAILED, S.PENDING]
    sim.resume()
    assert sim.drive() is COMPLETED


def test_on_failure_cancel_cancels_running_steps() -> None:
    sim = fail_amid("cancel")
    assert sim.status is FAILED
    assert sim.statuses == [S.FAILED, S.CANCELLED, S.PENDING, S.PENDING, S.PENDING, S.PENDING]
    assert sim.short_history()[-3:] == ["step.failed s0", "step.cancelled s1", "workflow.failed"]
    assert sim.live == {}
    assert sim.task_rows[UUID(int=2001)].status is TaskStatus.CANCELLED
    assert sim.resume().ready == [0, 1, 2]
    assert sim.drive() is COMPLETED


def test_on_failure_continue_runs_steps_that_do_not_depend_on_the_failed_one() -> None:
    sim = fail_amid("continue")
    assert sim.statuses == [S.FAILED, S.RUNNING, S.RUNNING, S.SKIPPED, S.PENDING, S.PENDING]
    assert sim.drive() is FAILED
    assert sim.statuses == [S.FAILED, S.COMPLETED, S.COMPLETED, S.SKIPPED, S.COMPLETED, S.COMPLETED]
    assert sim.resume().ready == [0]
    assert sim.drive() is COMPLETED


def test_on_failure_continue_skips_each_transitive_dependant_once() -> None:
    sim = SimulatedRun(((), (), (0,), (2,), (3, 1)), config_of("continue"))
    sim.dispatch(0, 1)
    sim.fail(0)
    sim.fail(1)
    assert sim.statuses == [S.FAILED, S.FAILED, S.SKIPPED, S.SKIPPED, S.SKIPPED]
    assert sim.short_history()[-6:] == [
        *("step.failed s0", "step.skipped s2", "step.skipped s3", "step.skipped s4"),
        *("step.failed s1", "workflow.failed"),
    ]


@pytest.mark.parametrize("policy", OnFailure)
def test_a_paused_workflow_with_a_failed_step_ends_when_nothing_runs(policy: str) -> None:
    for outcome, status in (("ok", PAUSED), ("failed", FAILED)):
        sim = SimulatedRun(((), (), (1,)), config_of(policy))
        sim.dispatch(0, 1)
        assert sim.pause().workflow.owner == OWNER
        sim.succeed(0)
        assert sim.short_history()[-1] == "step.completed s0"
        decision = sim.succeed(1) if outcome == "ok" else sim.fail(1)
        assert (sim.status, sim.workflow.owner, decision.ready) == (status, None, [])
        sim.resume()
        assert sim.drive() is COMPLETED


def test_a_paused_workflow_completes_with_its_last_running_step() -> None:
    sim = SimulatedRun()
    sim.dispatch(0)
    sim.pause()
    sim.succeed(0)
    assert sim.status is COMPLETED


def test_a_workflow_paused_with_a_failed_step_and_none_running_fails() -> None:
    sim = SimulatedRun(((), ()), config_of("continue"))
    sim.dispatch(0)
    sim.fail(0)
    sim.pause()
    assert sim.short_history()[-2:] == ["workflow.paused", "workflow.failed"]
    assert sim.statuses == [S.FAILED, S.PENDING]


def test_cancel_cancels_every_step_that_is_not_completed() -> None:
    sim = SimulatedRun(((), (), (), (), (1,)))
    sim.dispatch(0, 1, 2, 3)
    sim.succeed(0)
    sim.fail(2, retryable=True)
    sim.fail(3)  # s2 is held back
    cancelled = sim.cancel()
    assert sim.statuses == [S.COMPLETED, S.CANCELLED, S.CANCELLED, S.CANCELLED, S.CANCELLED]
    assert cancelled.effects == [CancelAttempt(1, UUID(int=2001))]
    assert cancelled.events[-1].type == "workflow.cancelled"
    assert {e.actor for e in cancelled.events} == {ACTOR}


@pytest.mark.parametrize("status", [PENDING, PAUSED])
def test_cleanup_cancels_a_pending_or_paused_workflow_first(status: WorkflowStatus) -> None:
    sim = sim_in(status)
    cleaned = sim.cleanup(cleanup_tasks=True)
    assert [e.type for e in cleaned.events][-2:] == ["workflow.cancelled", "workflow.cleaned"]
    assert cleaned.events[-1].data == {"cleanup_tasks": True}
    assert (sim.status, sim.live, sim.workflow.deleted_at) == (CANCELLED, {}, sim.now)


@pytest.mark.parametrize("status", [COMPLETED, FAILED, CANCELLED])
def test_cleanup_of_an_ended_workflow_only_marks_it(status: WorkflowStatus) -> None:
    sim = sim_in(status)
    before = sim.step_rows.copy()
    assert [e.type for e in sim.cleanup().events] == ["workflow.cleaned"]
    assert (sim.status, sim.step_rows) == (status, before)


def test_resume_keeps_what_is_completed_and_names_a_new_execution() -> None:
    sim = sim_in(FAILED)
    done, first, ended = replace(sim.step_rows[0]), sim.workflow.execution_id, sim.workflow.completed_at
    sim.later(9)
    resumed = sim.resume()
    assert (sim.workflow.execution_id, sim.workflow.completed_at) != (first, ended)
    assert (sim.workflow.completed_at, sim.workflow.started_at) == (None, EPOCH)
    assert [*resumed.steps] == [1]
    assert (sim.step_rows[1].error_message, sim.step_rows[1].started_at) == (None, None)
    assert sim.drive() is COMPLETED
    assert sim.step_rows[0] == done
    assert sim.short_history().count("step.started s0") == 1


def test_resume_of_a_paused_workflow_lets_a_live_attempt_continue() -> None:
    sim = sim_in(PAUSED)
    resumed = sim.resume()
    assert (resumed.ready, resumed.effects, resumed.steps) == ([], [], {})
    assert sim.drive() is COMPLETED
    assert [sim.short_history().count(f"step.started s{p}") for p in range(3)] == [1, 1, 1]


def test_only_a_change_of_owner_increases_the_epoch() -> None:
    sim = SimulatedRun(CHAIN3)
    assert (sim.workflow.owner, sim.workflow.epoch) == (OWNER, 1)
    sim.dispatch(0)
    sim.pause()
    sim.resume()
    assert (sim.workflow.owner, sim.workflow.epoch) == (OWNER, 1)
    sim.pause()
    before = sim.live.pop(0)
    taken = sim.run.apply(replace(sim.resume_input(), owner=OTHER_OWNER), sim.now)
    assert (taken.owner, taken.epoch) == (OWNER, 1)
    assert (taken.workflow.owner, taken.workflow.epoch) == (OTHER_OWNER, 2)
    assert before.status is TaskStatus.RUNNING
