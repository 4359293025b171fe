"""Optional steps and `run_if`: which steps run, are skipped or wait after others have ended, and what resume does."""

import random
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from stepwell.contract.enums import OnFailure, RunIf, SkipReason, StepStatus, WorkflowStatus
from stepwell.lifecycle.inputs import Resume
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.resume import steps_to_leave
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.run_if import skip_reason
from stepwell.lifecycle.stored_run import StoredRun
from support.workflows.runs import ACTOR, EPOCH, OWNER, SimulatedRun, config_of, resolved_steps_of

PENDING, RUNNING, CANCELLED = StepStatus.PENDING, StepStatus.RUNNING, StepStatus.CANCELLED
COMPLETED, FAILED, SKIPPED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED
ALL, ANY, ENDED = RunIf.ALL_COMPLETED, RunIf.ANY_COMPLETED, RunIf.ALL_ENDED
DEPENDENCY, FAILURE = SkipReason.DEPENDENCY, SkipReason.FAILURE

LETTERS = {"c": COMPLETED, "f": FAILED, "s": SKIPPED, "d": SKIPPED, "p": PENDING, "r": RUNNING, "x": CANCELLED}
REASONS = {"s": FAILURE, "d": DEPENDENCY}


def states(letters: str) -> list[StepState]:
    """Steps by letters: completed, failed, pending, running, x for cancelled; skipped for a failure, or d if not."""
    return [StepState(n, LETTERS[each], skip_reason=REASONS.get(each)) for n, each in enumerate(letters)]


@pytest.mark.parametrize(
    ("run_if", "dependencies", "reason"),
    [
        # The last dependency is the one that has just ended. p has not ended.
        (ALL, "cf", FAILURE),
        (ALL, "pf", FAILURE),
        (ALL, "cs", FAILURE),
        (ALL, "cd", DEPENDENCY),
        (ALL, "fd", DEPENDENCY),
        (ANY, "cf", None),
        (ANY, "cs", None),
        (ANY, "ff", FAILURE),
        (ANY, "ss", FAILURE),
        (ANY, "dd", DEPENDENCY),
        (ANY, "df", FAILURE),
        (ANY, "sd", FAILURE),
        (ENDED, "ff", None),
        (ENDED, "sd", None),
    ],
)
def test_why_a_step_is_skipped(run_if: RunIf, dependencies: str, reason: SkipReason | None) -> None:
    needed = len(dependencies)
    resolved = resolved_steps_of([*[()] * needed, range(needed)], run_if={needed: run_if})[-1]
    steps = states(dependencies)
    assert skip_reason(resolved, steps, steps[-1]) is reason


@pytest.mark.parametrize(
    ("dag", "letters", "run_if", "optional", "from_paused", "kept"),
    [
        # An optional FAILED step stays only if the workflow was PAUSED, and with it what depends on it.
        ([(), (0,), (1,)], "fss", {}, {0}, True, {0, 1, 2}),
        ([(), (0,), (1,)], "fss", {}, {0}, False, set()),
        ([(), (0,), (1,)], "fss", {}, set(), True, set()),
        # A step that was skipped for a condition stays, and so does what it forbids.
        ([(), (0,)], "dd", {}, set(), False, {0, 1}),
        ([(), (), (0, 1)], "dfd", {}, set(), False, {0, 2}),
        ([(), (), (0, 1)], "dfd", {2: ANY}, set(), False, {0}),
        ([(), (), (0, 1)], "dcd", {2: ANY}, set(), False, {0, 2}),
        # A PENDING or CANCELLED dependency returns, a RUNNING one goes on.
        ([(), (), (0, 1)], "fps", {}, set(), True, set()),
        ([(), (), (0, 1)], "fxs", {2: ANY}, {0}, True, {0}),
        ([(), (), (0, 1)], "frs", {}, {0}, True, {0, 2}),
        ([(), (), (0, 1)], "frs", {2: ANY}, {0}, True, {0, 2}),
        # Listed in the opposite order.
        ([(1,), (2,), ()], "ssf", {}, {2}, True, {0, 1, 2}),
    ],
)
def test_which_steps_resume_leaves_as_they_are(
    dag: Sequence[Sequence[int]],
    letters: str,
    run_if: dict[int, RunIf],
    optional: set[int],
    *,
    from_paused: bool,
    kept: set[int],
) -> None:
    def dependants(position: int) -> list[int]:
        return [other for other, needed in enumerate(dag) if position in needed]

    resolved_steps = resolved_steps_of(dag, run_if=run_if, optional=optional)
    assert steps_to_leave(resolved_steps, states(letters), dependants, from_paused=from_paused) == kept


def reasons(sim: SimulatedRun) -> list[SkipReason | None]:
    return [step.skip_reason for step in sim.step_rows]


def test_an_optional_failure_skips_its_dependants_and_lets_the_workflow_complete() -> None:
    sim = SimulatedRun([(), (0,), (1,), (0, 2)], optional={0}, run_if={3: ENDED})
    sim.dispatch(0)
    failed = sim.fail(0)
    assert [(event.step_id, event.data) for event in failed.events] == [
        ("s0", {"error": "no", "optional": True}),
        ("s1", {"reason": "failure"}),
        ("s2", {"reason": "failure"}),
    ]
    assert failed.ready == [3]
    sim.dispatch(3)
    sim.succeed(3)
    assert (sim.status, sim.statuses) == (WorkflowStatus.COMPLETED, [FAILED, SKIPPED, SKIPPED, COMPLETED])
    assert (sim.workflow.completed_steps, reasons(sim)) == (1, [None, FAILURE, FAILURE, None])


def test_an_optional_step_is_retried_like_any_other() -> None:
    sim = SimulatedRun(optional={0}, max_retries=1)
    sim.dispatch(0)
    sim.fail(0, retryable=True)
    sim.due(0)
    sim.dispatch(0)
    sim.fail(0, retryable=True)
    assert (sim.status, sim.statuses, sim.step_rows[0].attempt) == (WorkflowStatus.COMPLETED, [FAILED], 2)


def test_a_step_behind_a_skipped_one_starts_before_the_other_dependencies_of_that_have_ended() -> None:
    sim = SimulatedRun([(), (), (0, 1), (2,)], optional={0}, run_if={3: ENDED})
    sim.dispatch(0, 1)
    assert sim.fail(0).ready == [3]
    sim.crash()
    assert (sim.statuses, sim.waiting) == ([FAILED, RUNNING, SKIPPED, PENDING], [3])
    sim.take_up()
    assert sim.succeed(1).ready == []


def test_any_completed_waits_for_all_and_needs_one() -> None:
    sim = SimulatedRun([(), (), (0, 1), (1,)], optional={1}, run_if={2: ANY, 3: ANY})
    sim.dispatch(0, 1)
    assert sim.succeed(0).ready == []
    assert sim.fail(1).ready == [2]
    assert sim.drive() is WorkflowStatus.COMPLETED
    assert sim.statuses == [COMPLETED, FAILED, COMPLETED, SKIPPED]


@pytest.mark.parametrize(("policy", "status"), [("drain", PENDING), ("cancel", PENDING), ("continue", RUNNING)])
def test_a_failure_that_stops_the_workflow_ends_nothing_for_its_dependants(policy: str, status: StepStatus) -> None:
    sim = SimulatedRun([(), (0,)], config_of(policy), run_if={1: ENDED})
    sim.dispatch(0)
    sim.fail(0)
    for position in sim.waiting:
        sim.dispatch(position)
    assert sim.statuses == [FAILED, status]


def test_an_optional_failure_while_the_workflow_drains_still_skips_its_dependants() -> None:
    sim = SimulatedRun([(), (), (1,)], optional={1})
    sim.dispatch(0, 1)
    sim.fail(0)
    sim.fail(1)
    assert (sim.status, sim.statuses) == (WorkflowStatus.FAILED, [FAILED, FAILED, SKIPPED])
    sim.resume()
    assert (sim.statuses, sim.events[-1].data) == ([PENDING, PENDING, PENDING], {})


def test_an_optional_step_that_failed_stays_failed_when_a_paused_workflow_is_resumed() -> None:
    sim = SimulatedRun([(), (0,), ()], optional={0})
    sim.dispatch(0, 2)
    sim.fail(0)
    sim.pause()
    sim.resume()
    assert sim.statuses == [FAILED, SKIPPED, RUNNING]
    assert sim.events[-1].data == {"still_skipped": ["s1"], "still_failed": ["s0"]}
    sim.succeed(2)
    assert sim.status is WorkflowStatus.COMPLETED


def test_an_optional_failure_without_dependants_stays_at_resume_too() -> None:
    sim = SimulatedRun([(), ()], optional={0})
    sim.dispatch(0, 1)
    sim.fail(0)
    sim.pause()
    sim.resume()
    assert (sim.statuses, sim.events[-1].data) == ([FAILED, RUNNING], {"still_failed": ["s0"]})


def test_a_step_that_no_failure_has_skipped_stays_skipped_at_resume() -> None:
    resolved_steps = resolved_steps_of([(), (0,), ()])
    state = WorkflowState(UUID(int=7), WorkflowStatus.FAILED, "a workflow")
    run = Run(StoredRun(state, config_of(), resolved_steps, states("ddf")))
    resumed = run.apply(Resume(ACTOR, UUID(int=2), OWNER), EPOCH)
    assert [step.status for step in run.steps] == [SKIPPED, SKIPPED, PENDING]
    assert (resumed.events[0].data, resumed.ready) == ({"still_skipped": ["s0", "s1"]}, [2])


def test_a_paused_workflow_completes_if_its_last_step_is_optional_and_fails() -> None:
    sim = SimulatedRun(optional={0})
    sim.dispatch(0)
    sim.pause()
    sim.fail(0)
    assert sim.status is WorkflowStatus.COMPLETED


def test_a_running_step_goes_on_although_resume_runs_its_dependency_again() -> None:
    sim = SimulatedRun([(), (0,)], config_of("continue"), run_if={1: ENDED})
    sim.dispatch(0)
    sim.fail(0)
    sim.dispatch(1)
    sim.pause()
    sim.resume()
    sim.crash()
    assert (sim.statuses, sorted(sim.queue)) == ([PENDING, RUNNING], [0, 1])
    assert sim.drive() is WorkflowStatus.COMPLETED


def test_an_attempt_begins_after_its_dependencies_have_ended_although_the_clock_was_set_back() -> None:
    sim = SimulatedRun([(), (), (0, 1)], optional={1}, run_if={2: ANY})
    sim.dispatch(0, 1)
    sim.succeed(0)
    sim.fail(1)
    ended_at = sim.now
    sim.crash()
    sim.now -= timedelta(hours=1)
    sim.take_up()
    task = sim.dispatch(2).tasks.popitem()[1]
    assert task.started_at == ended_at


def test_cancel_ends_skipped_and_failed_steps_as_cancelled() -> None:
    sim = SimulatedRun([(), (0,), ()], optional={0})
    sim.dispatch(0)
    sim.fail(0)
    sim.cancel()
    assert (sim.statuses, reasons(sim)) == ([CANCELLED] * 3, [None] * 3)


class Spec(Struct, frozen=True):
    """A random definition, and which of its steps fail."""

    dag: list[list[int]]
    run_if: dict[int, RunIf]
    optional: set[int]
    failing: set[int]


@st.composite
def specs(draw: st.DrawFn) -> Spec:
    order = draw(st.permutations(range(draw(st.integers(1, 8)))))
    dag: list[list[int]] = [[] for _ in order]
    for index, position in enumerate(order):
        dag[position] = draw(st.lists(st.sampled_from(order[:index]), unique=True, max_size=3)) if index else []
    some = st.sets(st.sampled_from(range(len(dag))))
    return Spec(
        dag, draw(st.dictionaries(st.sampled_from(range(len(dag))), st.sampled_from(RunIf))), draw(some), draw(some)
    )


def predicted(spec: Spec) -> list[StepStatus]:
    """How each step ends if no failure stops the workflow, by the words of the manual."""
    ends: dict[int, StepStatus] = {}

    def end_of(position: int) -> StepStatus:
        if position not in ends:
            needed = [end_of(other) for other in spec.dag[position]]
            enough = {
                ALL: all(end is COMPLETED for end in needed),
                ANY: not needed or COMPLETED in needed,
                ENDED: True,
            }[spec.run_if.get(position, ALL)]
            ends[position] = SKIPPED if not enough else FAILED if position in spec.failing else COMPLETED
        return ends[position]

    return [end_of(position) for position in range(len(spec.dag))]


@given(specs(), st.sampled_from(OnFailure), st.randoms(use_true_random=False))
def test_random_workflows_end_as_predicted_in_any_order_with_crashes(
    spec: Spec, policy: OnFailure, order: random.Random
) -> None:
    sim = SimulatedRun(spec.dag, config_of(policy), max_retries=0, run_if=spec.run_if, optional=spec.optional)
    while sim.status is WorkflowStatus.RUNNING:
        position = order.choice([*sim.waiting, *sim.live])
        if position not in sim.live:
            sim.dispatch(position)
        elif position in spec.failing:
            sim.fail(position)
        else:
            sim.succeed(position)
        if order.random() < 0.2:
            sim.crash()
            sim.take_up()
    ends = predicted(spec)
    fails = any(end is FAILED and position not in spec.optional for position, end in enumerate(ends))
    assert sim.status is (WorkflowStatus.FAILED if fails else WorkflowStatus.COMPLETED)
    if not fails or policy is OnFailure.CONTINUE:
        assert sim.statuses == ends
        assert reasons(sim) == [FAILURE if end is SKIPPED else None for end in ends]
    if fails:
        sim.resume()
        assert {FAILED, SKIPPED}.isdisjoint(sim.statuses)
        assert sim.drive() is WorkflowStatus.COMPLETED
        assert set(sim.statuses) == {COMPLETED}
