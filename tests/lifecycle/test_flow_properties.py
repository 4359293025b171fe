"""Random definitions with flow control, and random orders of events: each ends as the definition says."""

from collections.abc import Sequence
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, json
from msgspec.structs import replace

from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import EventType, OnFailure, RunIf, SkipReason, StepStatus, WorkflowStatus
from stepwell.lifecycle.model import StepState
from support.workflows.flow_scripts import BY_HAND, ENDING, GIVEN, STOPPING, USUAL, Op, play, random_ops, random_specs
from support.workflows.flow_specs import Predicted, StepSpec, predict
from support.workflows.flows import ACTOR, SimulatedFlow

COMPLETED, FAILED, SKIPPED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED


class Setup(Struct, frozen=True):
    """A definition, and how it runs. `room`: a process that gets a decision has room for the workflow."""

    specs: list[StepSpec]
    on_failure: OnFailure
    room: bool
    timeout: float | None = None

    def __call__(self) -> SimulatedFlow:
        config = WorkflowConfig(
            on_failure=self.on_failure, workflow_timeout_s=self.timeout, retry=RetryPolicy(base_s=4)
        )
        return SimulatedFlow(self.specs, config, unpark=self.room)


definitions = st.randoms(use_true_random=False).map(random_specs)
flows = st.builds(Setup, definitions, st.sampled_from(OnFailure), st.booleans())
timed_flows = st.builds(
    Setup, definitions, st.sampled_from(OnFailure), st.booleans(), st.sampled_from([None, None, 40.0, 1000.0])
)


def scripts_of(kinds: Sequence[str]) -> st.SearchStrategy[list[Op]]:
    return st.randoms(use_true_random=False).map(partial(random_ops, kinds=kinds))


scripts, stopping_scripts, ending_scripts, by_hand_scripts = map(scripts_of, (USUAL, STOPPING, ENDING, BY_HAND))


def check_as_predicted(sim: SimulatedFlow, predicted: list[Predicted]) -> None:
    """The workflow has ended as its definition says, and each step with it."""
    stops = any(p.status is FAILED and not s.optional for p, s in zip(predicted, sim.specs, strict=True))
    exact = sim.config.on_failure is OnFailure.CONTINUE or not stops
    assert sim.status is (WorkflowStatus.FAILED if stops else WorkflowStatus.COMPLETED)
    for position, (step, end) in enumerate(zip(sim.step_rows, predicted, strict=True)):
        if exact or step.status not in (StepStatus.PENDING, StepStatus.CANCELLED):
            assert step.status is end.status, (position, step, end)
        if step.status is SKIPPED:
            assert step.skip_reason in end.reasons
        if step.status is COMPLETED:
            check_results(sim, position, end)


def check_results(sim: SimulatedFlow, position: int, end: Predicted) -> None:
    """The items of a COMPLETED step have ended as its definition says, and the results are of the runs that count."""
    items = [row for _, row in sorted(sim.item_rows.items()) if row.item_key.step == position]
    assert [row.status for row in items] == end.items
    if None in end.runs:
        assert sim.result(position) == {"run": end.runs[None]}
    for row in items:
        if row.status is COMPLETED:
            assert json.decode(row.result or b"") == {"run": end.runs[row.item_key.item]}


def check_money(sim: SimulatedFlow) -> None:
    """No run that has succeeded was repeated, and nothing ran after its step was COMPLETED."""
    assert all(number == 1 for number in sim.done.values())
    completed = set[tuple[str | None, object]]()
    for event in sim.events:
        key = (event.step_id, event.data.get("item"))
        if event.type in (EventType.STEP_STARTED, EventType.STEP_WAITING, EventType.STEP_COMPLETED):
            assert key not in completed
            assert (event.step_id, None) not in completed
        if event.type is EventType.STEP_COMPLETED:
            completed.add(key)


@given(flows, scripts)
def test_each_flow_ends_as_its_definition_says(make: Setup, script: list[Op]) -> None:
    sim = make()
    predicted = predict(sim.specs)
    for op in script:
        play(sim, op, crashing=True)
    sim.drive()
    check_as_predicted(sim, predicted)
    check_money(sim)


@given(timed_flows, ending_scripts)
def test_a_crash_anywhere_changes_nothing_that_can_be_seen(make: Setup, script: list[Op]) -> None:
    steady, crashing = make(), make()
    for op in script:
        play(steady, op, crashing=False)
        play(crashing, op, crashing=True)
        assert_equal(crashing.outcome(), steady.outcome())
    assert steady.drive() is crashing.drive()
    assert_equal(crashing.outcome(), steady.outcome())


@given(timed_flows, stopping_scripts)
def test_resume_runs_only_what_did_not_complete(make: Setup, script: list[Op]) -> None:
    sim = make()
    for op in script:
        play(sim, op, crashing=True)
    if sim.drive() is not WorkflowStatus.FAILED:
        return
    kept = {position: row.result for position, row in enumerate(sim.step_rows) if row.status is COMPLETED}
    kept_items = {(row.item_key.step, row.item_key.item) for row in sim.item_rows.values() if row.status is COMPLETED}
    runs = [sim.run_number(position) for position in range(len(sim.specs))]
    sim.specs, sim.config = [healed(spec) for spec in sim.specs], replace(sim.config, workflow_timeout_s=None)
    before = len(sim.events)
    sim.forget_process()
    sim.resume()
    assert sim.drive() is WorkflowStatus.COMPLETED
    for event in sim.events[before:]:
        if event.step_id is not None:
            position = int(event.step_id[1:])
            assert position not in kept
            assert (position, event.data.get("item")) not in kept_items
    for position, result in kept.items():
        assert sim.step_rows[position].result == result
    for position, run in enumerate(runs):
        assert sim.run_number(position) >= run
    check_money(sim)


def healed(spec: StepSpec) -> StepSpec:
    """Return the step as one in which nothing fails any more."""
    condition = True if spec.condition == "error" else spec.condition
    answer = "decide" if spec.answer in ("reject", "timeout") else spec.answer
    well = {run: replace(script, succeeds=True) for run, script in spec.scripts.items()}
    return replace(spec, condition=condition, answer=answer, scripts=well)


def assert_equal(one: tuple[object, ...], other: tuple[object, ...]) -> None:
    for left, right in zip(one, other, strict=True):
        assert left == right, (left, right)


# Ends by hand


@given(timed_flows, by_hand_scripts)
def test_a_crash_anywhere_changes_nothing_of_what_was_ended_by_hand(make: Setup, script: list[Op]) -> None:
    steady, crashing = make(), make()
    for op in script:
        play(steady, op, crashing=False)
        play(crashing, op, crashing=True)
        assert_equal(crashing.outcome(), steady.outcome())
    assert steady.drive() is crashing.drive()
    assert_equal(crashing.outcome(), steady.outcome())


@given(flows, by_hand_scripts)
def test_what_was_ended_by_hand_stays_and_the_rest_ends_as_the_definition_says(make: Setup, script: list[Op]) -> None:
    sim = make()
    for op in script:
        play(sim, op, crashing=True)
    sim.specs = [healed(spec) for spec in sim.specs]
    given_rows = [row for row in rows_of(sim) if row.status is COMPLETED and row.flow and row.flow.given_by]
    skipped = [row.position for row in rows_of(sim) if row.skip_reason is SkipReason.MANUAL]
    sim.forget_process()
    if sim.workflow.owner is not None:
        sim.claim()
    elif sim.status is WorkflowStatus.FAILED:
        sim.resume()
    while sim.drive() is WorkflowStatus.FAILED:
        sim.resume()
    assert sim.status is WorkflowStatus.COMPLETED
    for row in given_rows:
        now = sim.row(row.position)
        assert (now.status, now.result, now.task_id) == (COMPLETED, GIVEN, None)
        assert now.flow is not None
        assert now.flow.given_by == ACTOR
    for position in skipped:
        row = sim.row(position)
        assert row.skip_reason is SkipReason.MANUAL or was_given(row)
    for position, step in enumerate(sim.step_rows):
        check_skip(sim, position, step)
    check_money(sim)


def rows_of(sim: SimulatedFlow) -> list[StepState]:
    return [*sim.step_rows, *sim.item_rows.values()]


def was_given(row: StepState) -> bool:
    return row.flow is not None and row.flow.given_by is not None


def check_skip(sim: SimulatedFlow, position: int, step: StepState) -> None:
    """A step is skipped because of its dependencies only if they are as its `run_if` says."""
    if step.status is not SKIPPED or step.skip_reason in (SkipReason.WHEN, SkipReason.MANUAL):
        return
    spec = sim.specs[position]
    needed = [sim.step_rows[each] for each in spec.depends_on]
    completed = [each.status is COMPLETED for each in needed]
    assert spec.run_if is not RunIf.ALL_ENDED
    assert not (any(completed) if spec.run_if is RunIf.ANY_COMPLETED else all(completed))
    by_failure = any(each.status is FAILED or each.skip_reason is SkipReason.FAILURE for each in needed)
    assert (step.skip_reason is SkipReason.FAILURE) <= by_failure


@given(timed_flows, by_hand_scripts)
def test_nothing_starts_because_of_an_end_by_hand(make: Setup, script: list[Op]) -> None:
    sim = make()
    for op in script:
        before, live = len(sim.events), len(sim.live)
        play(sim, op, crashing=False)
        if op.kind in ("give", "leave_out"):
            assert len(sim.live) <= live
            kinds = {event.type for event in sim.events[before:]}
            assert not kinds & {EventType.STEP_STARTED, EventType.STEP_WAITING, EventType.WORKFLOW_FAILED}
