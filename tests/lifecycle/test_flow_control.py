"""Flow control in single steps: what each part does, one after the other."""

from datetime import timedelta
from typing import get_args
from uuid import UUID

import pytest
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition, NotWaiting
from stepwell.contract.definition import WorkflowConfig
from stepwell.contract.enums import EventType, OnFailure, RunIf, SkipReason, StepStatus, WaitKind, WorkflowStatus
from stepwell.lifecycle.inputs import Cancel, Decide, Input, Park, Pause, RetryDue, Signal
from stepwell.lifecycle.model import NEVER, StepState, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.steps import ResolvedStep
from stepwell.lifecycle.stored_run import StoredRun
from stepwell.lifecycle.waits import EARLY_SIGNALS_MAX_BYTES
from support.workflows.flow_specs import RepeatSpec, Script, StepSpec, resolved_step_of
from support.workflows.flows import ACTOR, SimulatedFlow, approval, evaluate, flow, run_step
from support.workflows.runs import resolved_steps_of

COMPLETED, FAILED, SKIPPED, PENDING = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED, StepStatus.PENDING
RUNNING, CANCELLED = StepStatus.RUNNING, StepStatus.CANCELLED
FAILS = {0: Script(succeeds=False)}


def reasons(sim: SimulatedFlow) -> list[SkipReason | None]:
    return [step.skip_reason for step in sim.step_rows]


def ordinary(resolved_steps: list[ResolvedStep]) -> Run:
    state = WorkflowState(UUID(int=7), WorkflowStatus.RUNNING, "a workflow", owner=UUID(int=8))
    return Run(
        StoredRun(
            state, WorkflowConfig(), resolved_steps, [StepState(resolved.position) for resolved in resolved_steps]
        )
    )


def test_a_run_has_only_the_parts_that_its_steps_need() -> None:
    run = ordinary(resolved_steps_of([[], [0]]))
    assert (run.parking, run.conditions, run.waits, run.items, run.children) == (None, None, None, None, None)
    conditions = ordinary([resolved_step_of(0, StepSpec(condition=True))])
    assert conditions.parking is not None
    assert conditions.conditions is not None
    assert (conditions.waits, conditions.items, conditions.children) == (None, None, None)
    assert ordinary([resolved_step_of(0, StepSpec(items=1))]).items is not None


def test_each_input_has_one_method() -> None:
    assert set(get_args(Input)) == set(Run.METHODS)


@pytest.mark.parametrize("verb", [Decide(ACTOR, 0, "approve"), Signal(ACTOR, "s0")])
def test_no_step_of_an_ordinary_workflow_waits_for_anything(verb: Decide | Signal) -> None:
    with pytest.raises(NotWaiting, match="No step of the workflow waits for that"):
        ordinary(resolved_steps_of([[]])).apply(verb, flow(StepSpec(condition=True)).now)


# Conditions


def test_a_false_condition_skips_the_step_and_what_depends_on_it() -> None:
    sim = flow(StepSpec(condition=False), StepSpec(depends_on=(0,)), StepSpec(depends_on=(1,)))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert reasons(sim) == [SkipReason.WHEN, SkipReason.DEPENDENCY, SkipReason.DEPENDENCY]


def test_a_failed_expression_fails_the_step() -> None:
    sim = flow(StepSpec(condition="error"))
    assert sim.drive() is WorkflowStatus.FAILED
    assert sim.step_rows[0].error_message == "no such function"
    assert sim.task_rows == {}


def test_a_step_after_a_skipped_one_starts_before_the_other_dependencies_of_that_have_ended() -> None:
    sim = flow(
        StepSpec(optional=True, scripts=FAILS),
        approval(),
        StepSpec(depends_on=(0, 1)),
        StepSpec(depends_on=(2,), run_if=RunIf.ALL_ENDED),
    )
    evaluate(sim, 1)
    run_step(sim, 0)
    assert sim.statuses == [FAILED, RUNNING, SKIPPED, PENDING]
    assert sim.startable() == [3]


def test_a_result_that_comes_while_the_workflow_is_paused_is_ignored_and_asked_for_again() -> None:
    sim = flow(StepSpec(condition=True), StepSpec())
    sim.do(sim.dispatch_input(1))  # so that it stays in memory
    late = sim.evaluated(0)
    sim.do(Pause(ACTOR))
    assert not sim.do(late).has_rows
    sim.resume()
    assert not sim.do(late).has_rows
    assert sim.startable() == []
    evaluate(sim, 0)
    assert sim.startable() == [0]


def test_a_step_whose_condition_was_true_before_a_pause_is_asked_again() -> None:
    sim = flow(StepSpec(condition=True), StepSpec())
    sim.do(sim.dispatch_input(1))
    evaluate(sim, 0)
    sim.do(Pause(ACTOR))
    sim.resume()
    assert sim.startable() == []
    assert list(sim.evaluations) == [0]


def test_a_step_that_a_condition_has_skipped_stays_skipped_at_resume() -> None:
    sim = flow(StepSpec(condition=False), StepSpec(scripts=FAILS), StepSpec(depends_on=(0, 1)))
    evaluate(sim, 0)
    assert sim.drive() is WorkflowStatus.FAILED
    sim.resume()
    assert sim.statuses == [SKIPPED, PENDING, SKIPPED]
    assert sim.events[-1].data == {"still_skipped": ["s0", "s2"]}
    assert sim.evaluations == {}


def test_a_retry_does_not_ask_again() -> None:
    sim = flow(StepSpec(condition=True, scripts={0: Script(flaky=1)}))
    evaluate(sim, 0)
    run_step(sim, 0)
    sim.now += timedelta(hours=1)
    sim.do(RetryDue(0))
    assert sim.startable() == [0]
    assert sim.evaluations == {}


# Repetitions


@pytest.mark.parametrize(
    ("repeat", "scores", "run"),
    [
        (RepeatSpec(3, 1, has_best=True), [0.9, 0.1, 0.5], 1),
        (RepeatSpec(3, None, has_best=True), [0.1, 0.9, 0.5], 1),
        (RepeatSpec(3, None, has_best=True), [0.5, 0.5, None], 0),
        (RepeatSpec(3, None, has_best=True), [None, None, 0.1], 2),
        (RepeatSpec(3, None, has_best=False), [0.9, 0.1, 0.5], 2),
    ],
)
def test_the_result_of_a_repetition(repeat: RepeatSpec, scores: list[float | None], run: int) -> None:
    scripts = {number: Script(score=score) for number, score in enumerate(scores)}
    sim = flow(StepSpec(repeat=repeat, scripts=scripts))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sim.result(0) == {"run": run}


def test_each_run_has_its_own_retries() -> None:
    scripts = {run: Script(flaky=2) for run in range(3)}
    sim = flow(StepSpec(repeat=RepeatSpec(3, None, has_best=False), scripts=scripts))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sim.step_rows[0].attempt == 9


def test_the_best_run_counts_if_a_later_one_fails() -> None:
    scripts = {0: Script(score=0.3), 1: Script(succeeds=False)}
    sim = flow(StepSpec(repeat=RepeatSpec(3, None, has_best=True), scripts=scripts))
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sim.result(0) == {"run": 0}
    assert sim.step_rows[0].error_message is None
    assert sim.run_number(0) == 2


def test_a_repetition_goes_on_after_a_pause_with_the_run_at_which_it_was() -> None:
    sim = flow(StepSpec(repeat=RepeatSpec(3, None, has_best=False)), StepSpec())
    sim.do(sim.dispatch_input(1))
    run_step(sim, 0)
    sim.do(Pause(ACTOR))
    assert (sim.statuses[0], sim.run_number(0)) == (PENDING, 1)
    sim.resume()
    assert sim.startable() == [0]
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sim.result(0) == {"run": 2}
    assert sorted(sim.done) == [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_results_of_earlier_runs_have_no_part_in_the_bound() -> None:
    sim = flow(StepSpec(repeat=RepeatSpec(20, None, has_best=False)))
    sim.drive()
    assert sim.run.output_budget.result_bytes == len(b'{"run":19}')


def test_the_best_result_so_far_counts_after_a_restart() -> None:
    sim = flow(StepSpec(repeat=RepeatSpec(3, None, has_best=True)))
    run_step(sim, 0)
    before = sim.run.output_budget.result_bytes
    sim.crash()
    assert sim.run.output_budget.result_bytes == before == len(b'{"run":0}')


def test_the_best_result_so_far_is_stored_although_the_next_attempt_begins_in_the_same_transaction() -> None:
    sim = flow(StepSpec(repeat=RepeatSpec(2, None, has_best=True), scripts={1: Script(succeeds=False)}))
    sim.do(sim.dispatch_input(0))
    sim.do(sim.end_input(0), sim.dispatch_input(0))
    sim.do(sim.end_input(0))
    assert (sim.status, sim.result(0)) == (WorkflowStatus.COMPLETED, {"run": 0})


# Waits


def test_a_decision_is_the_result_of_the_step() -> None:
    sim = flow(approval())
    evaluate(sim, 0)
    sim.do(Decide(ACTOR, 0, "approve", note="fine", data=b'{"pick":3}'))
    assert sim.result(0) == {
        "choice": "approve",
        "approved": True,
        "note": "fine",
        "data": {"pick": 3},
        "by": ACTOR,
        "at": "2026-01-01T00:00:00Z",
    }
    told = [(event.type, event.actor) for event in sim.events if event.step_id == "s0"]
    assert told == [(EventType.STEP_WAITING, "stepwell"), (EventType.STEP_COMPLETED, ACTOR)]


def test_a_rejection_fails_the_step_and_names_who_rejected() -> None:
    sim = flow(approval())
    evaluate(sim, 0)
    sim.do(Decide(ACTOR, 0, "reject", note="too dark"))
    assert (sim.status, sim.step_rows[0].error_message) == (WorkflowStatus.FAILED, "rejected by alice: too dark")


def test_a_choice_that_the_step_does_not_have_is_refused() -> None:
    sim = flow(approval())
    evaluate(sim, 0)
    with pytest.raises(NotWaiting, match="The choices are approve, reject, other"):
        sim.run.apply(Decide(ACTOR, 0, "Approve"), sim.now)


def test_a_second_decision_is_refused() -> None:
    sim = flow(approval(), StepSpec())
    evaluate(sim, 0)
    sim.do(Decide(ACTOR, 0, "approve"))
    with pytest.raises(NotWaiting):
        sim.run.apply(Decide("bob", 0, "reject"), sim.now)


def test_a_decision_is_late_at_its_time_although_the_timer_has_not_fired() -> None:
    sim = flow(approval(answer="timeout", on_timeout="approve"))
    evaluate(sim, 0)
    sim.now += timedelta(seconds=50)
    with pytest.raises(NotWaiting, match="The time for the decision has passed"):
        sim.run.apply(Decide(ACTOR, 0, "reject"), sim.now)
    sim.do(RetryDue(0))
    assert (sim.result(0)["choice"], sim.result(0)["by"]) == ("approve", "stepwell")


def test_a_timer_that_fires_early_is_set_again() -> None:
    sim = flow(approval(answer="timeout", on_timeout="approve"))
    evaluate(sim, 0)
    until = sim.wake[0]
    assert not sim.do(RetryDue(0)).has_rows
    assert sim.wake == {0: until}


@pytest.mark.parametrize("on_timeout", ["fail", "reject"])
def test_a_wait_that_nobody_ends_fails_the_step_in_words_that_name_the_time(on_timeout: str) -> None:
    sim = flow(approval(answer="timeout", on_timeout=on_timeout))
    assert sim.drive() is WorkflowStatus.FAILED
    assert sim.step_rows[0].error_message == "no decision within 50 s"


def test_a_link_to_an_earlier_wait_decides_nothing() -> None:
    sim = flow(approval(answer="reject"))
    evaluate(sim, 0)
    old = sim.open_waits[0].id
    sim.do(Decide(ACTOR, 0, "reject", wait_id=old))
    assert sim.status is WorkflowStatus.FAILED
    sim.resume()
    evaluate(sim, 0)
    with pytest.raises(NotWaiting):
        sim.run.apply(Decide(ACTOR, 0, "approve", wait_id=old), sim.now)


@pytest.mark.parametrize("policy", [OnFailure.DRAIN, OnFailure.CANCEL])
def test_a_failure_that_stops_the_workflow_cancels_waits(policy: OnFailure) -> None:
    sim = flow(StepSpec(scripts=FAILS), approval(), policy=policy)
    evaluate(sim, 1)
    run_step(sim, 0)
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [FAILED, CANCELLED])


def test_waits_go_on_after_a_failure_that_does_not_stop_the_workflow() -> None:
    sim = flow(StepSpec(scripts=FAILS), approval(), policy=OnFailure.CONTINUE)
    evaluate(sim, 1)
    run_step(sim, 0)
    assert (sim.status, sim.statuses) == (WorkflowStatus.RUNNING, [FAILED, RUNNING])
    sim.decide(1)
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [FAILED, COMPLETED])


def test_a_decision_is_recorded_while_the_workflow_is_paused_and_nothing_starts() -> None:
    sim = flow(approval(), StepSpec(depends_on=(0,)))
    evaluate(sim, 0)
    sim.do(Pause(ACTOR))
    assert sim.is_parked
    sim.decide(0)
    assert (sim.status, sim.statuses) == (WorkflowStatus.PAUSED, [COMPLETED, PENDING])
    assert sim.drive() is WorkflowStatus.COMPLETED


def test_a_time_ends_while_the_workflow_is_paused_and_not_in_memory() -> None:
    sim = flow(StepSpec(waits_for=WaitKind.DELAY), StepSpec(depends_on=(0,)))
    evaluate(sim, 0)
    sim.do(Pause(ACTOR))
    assert sim.workflow.wake_at == sim.now + timedelta(seconds=100)
    assert sim.wake_up()
    assert (sim.status, sim.statuses) == (WorkflowStatus.PAUSED, [COMPLETED, PENDING])
    assert sim.workflow.wake_at is None


def test_a_signal_that_comes_early_is_stored_once_and_taken_by_its_step() -> None:
    sim = flow(StepSpec(), StepSpec(depends_on=(0,), waits_for=WaitKind.SIGNAL))
    sim.do(Signal(ACTOR, "signal 1", data=b"[1]"))
    assert (sim.events[-1].type, sim.events[-1].data) == (EventType.WORKFLOW_SIGNALED, {"name": "signal 1"})
    with pytest.raises(NotWaiting, match="has arrived already"):
        sim.run.apply(Signal(ACTOR, "signal 1"), sim.now)
    sim.crash()
    run_step(sim, 0)
    evaluate(sim, 1)
    assert sim.status is WorkflowStatus.COMPLETED
    assert sim.result(1) == {"data": [1], "by": ACTOR, "at": "2026-01-01T00:00:00Z"}
    assert sim.signal_rows == {}


def test_the_signals_that_wait_for_their_steps_are_bounded_together() -> None:
    early, half = StepSpec(depends_on=(0,), waits_for=WaitKind.SIGNAL), b"1" * (EARLY_SIGNALS_MAX_BYTES // 2)
    sim = flow(StepSpec(), early, early, early)
    for position in (1, 2):
        sim.do(Signal(ACTOR, f"signal {position}", data=half))
    sim.crash()
    with pytest.raises(NotWaiting, match="over 1,048,576 bytes together: send this one once its step waits"):
        sim.run.apply(Signal(ACTOR, "signal 3", data=b"1"), sim.now)
    run_step(sim, 0)
    evaluate(sim, 1, 2, 3)
    sim.do(Signal(ACTOR, "signal 3", data=b"1"))
    assert sim.status is WorkflowStatus.COMPLETED


def test_a_signal_after_its_step_has_completed_is_refused() -> None:
    sim = flow(StepSpec(waits_for=WaitKind.SIGNAL), StepSpec())
    evaluate(sim, 0)
    sim.do(Signal(ACTOR, "signal 0"))
    with pytest.raises(NotWaiting, match="doesn't wait for the signal any more"):
        sim.run.apply(Signal(ACTOR, "signal 0"), sim.now)


def test_a_signal_can_come_before_the_workflow_starts() -> None:
    sim = SimulatedFlow([StepSpec(waits_for=WaitKind.SIGNAL)], WorkflowConfig(), started=False)
    sim.do(Signal(ACTOR, "signal 0"))
    assert sim.drive() is WorkflowStatus.PENDING
    assert list(sim.signal_rows) == ["signal 0"]


@pytest.mark.parametrize("verb", [Decide(ACTOR, 0, "approve"), Signal(ACTOR, "signal 0")])
def test_nothing_is_decided_after_the_end(verb: Decide | Signal) -> None:
    sim = flow(approval(), StepSpec(waits_for=WaitKind.SIGNAL))
    evaluate(sim, 0)
    sim.do(Cancel(ACTOR))
    assert sim.statuses == [CANCELLED, CANCELLED]
    with pytest.raises(InvalidTransition):
        sim.run.apply(verb, sim.now)


# Parking


def test_a_workflow_that_waits_for_a_decision_is_parked_without_a_time() -> None:
    sim = flow(approval())
    evaluate(sim, 0)
    before = sim.workflow
    decision = sim.do(Park())
    assert sim.is_parked
    assert (sim.workflow.owner, sim.workflow.wake_at) == (None, NEVER)
    assert (sim.workflow.last_event, sim.workflow.updated_at) == (before.last_event, before.updated_at)
    assert decision.events == []


def test_a_parked_workflow_is_due_at_the_earliest_of_its_times() -> None:
    sim = flow(approval(answer="timeout"), StepSpec(waits_for=WaitKind.DELAY))
    evaluate(sim, 0, 1)
    sim.do(Park())
    assert sim.workflow.wake_at == sim.now + timedelta(seconds=50)


def test_a_workflow_whose_next_time_comes_soon_is_not_parked() -> None:
    sim = flow(approval(answer="timeout"))
    evaluate(sim, 0)
    sim.now += timedelta(seconds=21)
    assert not sim.do(Park()).has_rows


def test_a_workflow_that_has_something_to_do_is_not_parked() -> None:
    sim = flow(approval(), StepSpec())
    evaluate(sim, 0)
    assert not sim.do(Park()).has_rows


def test_a_workflow_with_an_open_question_is_not_parked() -> None:
    sim = flow(approval(), StepSpec(condition=True))
    evaluate(sim, 0)
    assert not sim.do(Park()).has_rows


@pytest.mark.parametrize("room", [True, False])
def test_a_decision_brings_a_parked_workflow_back_or_makes_it_wait_for_admission(*, room: bool) -> None:
    sim = flow(approval(), StepSpec(depends_on=(0,)), room=room)
    evaluate(sim, 0)
    sim.do(Park())
    sim.load_for_verb()
    sim.do(Decide(ACTOR, 0, "approve"))
    assert sim.workflow.waits_for_admission is not room
    assert (sim.workflow.owner is not None, sim.workflow.wake_at) == (room, None)
    assert sim.drive() is WorkflowStatus.COMPLETED


@pytest.mark.parametrize("room", [True, False])
@pytest.mark.parametrize(("choice", "run_if"), [("approve", RunIf.ALL_COMPLETED), ("reject", RunIf.ALL_ENDED)])
def test_a_parked_workflow_that_continues_after_failures_goes_on_after_a_decision(
    choice: str, run_if: RunIf, *, room: bool
) -> None:
    steps = (StepSpec(scripts=FAILS), approval(), StepSpec(depends_on=(1,), run_if=run_if))
    sim = flow(*steps, policy=OnFailure.CONTINUE, room=room)
    evaluate(sim, 1)
    run_step(sim, 0)
    sim.do(Park())
    sim.load_for_verb()
    sim.do(Decide(ACTOR, 1, choice))
    assert sim.status is WorkflowStatus.RUNNING
    sim.drive()
    assert sim.statuses == [FAILED, COMPLETED if choice == "approve" else FAILED, COMPLETED]


def test_a_rejection_that_does_not_stop_a_parked_workflow_leaves_the_times_of_its_retries() -> None:
    sim = flow(StepSpec(scripts={0: Script(flaky=1)}), approval(optional=True))
    evaluate(sim, 1)
    sim.do(sim.dispatch_input(0))
    sim.do(replace(sim.end_input(0), retry_after_s=3600.0))
    sim.do(Park())
    sim.load_for_verb()
    sim.do(Decide(ACTOR, 1, "reject"))
    assert sim.is_parked
    assert (sim.workflow.wake_at, sim.statuses) == (sim.now + timedelta(hours=1), [RUNNING, FAILED])
