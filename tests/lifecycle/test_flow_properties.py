"""Random definitions with flow control, and random orders of events: each ends as the definition says."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct, json
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition, NotWaiting
from stepwell.contract.definition import RetryPolicy, WorkflowConfig
from stepwell.contract.enums import EventType, OnFailure, RunIf, StepStatus, WaitKind, WorkflowStatus
from stepwell.lifecycle.inputs import (
    Cancel,
    Cleanup,
    DeadlinePassed,
    Decide,
    GiveUp,
    Input,
    Park,
    Pause,
    Resume,
    RetryDue,
    Signal,
)
from support.workflows.flow_specs import Predicted, RepeatSpec, Script, StepSpec, plan_of, predict
from support.workflows.flows import ACTOR, SimulatedFlow

COMPLETED, FAILED, SKIPPED = StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.SKIPPED
_scores = st.sampled_from([None, 0.1, 0.5, 0.5, 0.9])
_scripts = st.builds(Script, st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([True, True, True, False]), _scores)
_repeats = st.builds(RepeatSpec, st.integers(1, 3), st.sampled_from([None, 0, 1, 2]), st.booleans())
_WAITS = (WaitKind.DECISION, WaitKind.SIGNAL, WaitKind.DELAY)


@st.composite
def specs_of(draw: st.DrawFn, depends_on: tuple[int, ...]) -> StepSpec:
    """An ordinary step, a repetition or a wait, perhaps with a condition."""
    waits_for = draw(st.sampled_from([None, None, None, *_WAITS]))
    child = waits_for is None and draw(st.booleans())
    repeat = draw(st.none() | _repeats) if waits_for is None else None
    items = draw(st.none() | st.integers(0, 4)) if waits_for is None else None
    runs = range(3 if repeat else 1)
    keys: list[int | tuple[int, int]] = (
        list(runs) if items is None else [(i, run) for i in range(items) for run in runs]
    )
    return StepSpec(
        depends_on=depends_on,
        run_if=draw(st.sampled_from(RunIf)),
        optional=draw(st.booleans()),
        condition=draw(st.sampled_from([None, None, None, True, True, False, "error"])),
        waits_for=waits_for,
        child=child,
        on_timeout=draw(st.sampled_from(["fail", "continue" if waits_for is WaitKind.SIGNAL else "approve"])),
        answer=draw(st.sampled_from(["decide", "decide", "reject", "early", "timeout"])),
        repeat=repeat,
        items=items,
        collect=draw(st.booleans()),
        concurrency=draw(st.integers(1, 3)),
        scripts={key: draw(_scripts) for key in keys if draw(st.booleans())},
    )


@st.composite
def definitions(draw: st.DrawFn) -> list[StepSpec]:
    """Up to six steps, listed in any order, each after any of those before it in another order."""
    order = draw(st.permutations(range(draw(st.integers(1, 6)))))
    needed: dict[int, list[int]] = {}
    for index, position in enumerate(order):
        before = st.lists(st.sampled_from(order[:index]), unique=True, max_size=3) if index else st.just([])
        needed[position] = draw(before)
    specs = [draw(specs_of(tuple(needed[position]))) for position in range(len(order))]
    if all(plan_of(position, spec).flow is None for position, spec in enumerate(specs)):
        specs[0] = replace(specs[0], condition=True)
    return specs


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


flows = st.builds(Setup, definitions(), st.sampled_from(OnFailure), st.booleans())
timed_flows = st.builds(
    Setup, definitions(), st.sampled_from(OnFailure), st.booleans(), st.sampled_from([None, None, 40.0, 1000.0])
)


class Op(Struct, frozen=True):
    """`pick` chooses among what the operation fits; `crash` says whether, and when, the process dies."""

    kind: str
    pick: int
    crash: str


_KINDS = "admit " * 5 + "end " * 6 + "answer " * 5 + "due " * 2 + "decide " * 3 + "child " * 3 + "follow " * 2
_KINDS += "park park pause resume resume early early late wake wake "
_STOPS = "deadline give_up "
_ENDS = "cancel cleanup "


def scripts_of(kinds: str) -> st.SearchStrategy[list[Op]]:
    crash = st.sampled_from(["", "", "", "after", "instead"])
    ops = st.builds(Op, st.sampled_from(kinds.split()), st.integers(0, 20), crash)
    return st.integers(0, 60).flatmap(lambda size: st.lists(ops, min_size=size, max_size=size))


scripts = scripts_of(_KINDS)
stopping_scripts = scripts_of(_KINDS * 2 + _STOPS)
ending_scripts = scripts_of(_KINDS * 2 + _STOPS + _ENDS)


def input_of(sim: SimulatedFlow, op: Op) -> Input | None:  # noqa: C901, PLR0912 - one case for each operation
    """The input that *op* means now, in memory; None where it means nothing."""

    def pick(positions: Sequence[int]) -> int:
        return positions[op.pick % len(positions)]

    match op.kind:
        case "admit" if startable := sim.startable():
            return sim.admit_input(pick(startable))
        case "end" if sim.live:
            return sim.end_input(pick(sorted(sim.live)))
        case "answer" if sim.questions:
            return sim.answer_input(pick(sorted(sim.questions)))
        case "due" if sleeping := sim.sleeping():
            position = sim.first_due(sleeping)
            sim.now = max(sim.now, sim.wake[position])
            return RetryDue(position)
        case "decide" if undecided := sim.undecided():
            return sim.decide_input(pick(undecided))
        case "child" if ends := sim.child_ends():
            return sim.child_end_input(pick(ends))
        case "follow" if sim.following:
            return sim.follow_input(sorted(sim.following)[op.pick % len(sim.following)])
        case "park":
            return Park()
        case "pause" if sim.status is WorkflowStatus.RUNNING:
            return Pause(ACTOR)
        case "resume" if sim.status in (WorkflowStatus.PAUSED, WorkflowStatus.FAILED):
            return Resume(ACTOR, sim.new_id(), sim.new_id())
        case "deadline" if sim.deadline is not None and not [p for p in sim.sleeping() if sim.wake[p] <= sim.deadline]:
            sim.now = max(sim.now, sim.deadline)
            return DeadlinePassed()
        case "give_up":
            return GiveUp("crashed too often")
        case "cancel":
            return Cancel(ACTOR)
        case "cleanup":
            return Cleanup(ACTOR, cleanup_tasks=False)
        case "early" if early := [p for p in range(len(sim.specs)) if signals_early(sim, p)]:
            return Signal(ACTOR, f"signal {early[0]}")
        case "late":
            position = op.pick % len(sim.specs)
            return None if position in sim.run.waits else Decide(ACTOR, position, "approve")
    return None


def signals_early(sim: SimulatedFlow, position: int) -> bool:
    spec = sim.specs[position]
    is_early = spec.answer == "early" and spec.waits_for is WaitKind.SIGNAL
    return is_early and sim.run.steps[position].status is StepStatus.PENDING


def play(sim: SimulatedFlow, op: Op, *, crashing: bool) -> None:
    """Let the operation happen, and then what an engine does at once."""
    if sim.is_parked:
        play_parked(sim, op)
        return
    input_ = input_of(sim, op)
    try:
        if input_ is not None and crashing and op.crash == "instead":  # what was decided is lost, and comes again
            sim.do_but_crash(input_)
            sim.take_up()
            input_ = None if op.kind in ("due", "deadline") or sim.is_parked else input_of(sim, op)
        if input_ is not None:
            sim.do(input_)
    except (InvalidTransition, NotWaiting):
        pass
    if crashing and op.crash:
        sim.crash()
    sim.admit_if_waiting()
    sim.take_up()


def play_parked(sim: SimulatedFlow, op: Op) -> None:
    match op.kind:
        case "decide" if undecided := sim.undecided():
            sim.decide(undecided[op.pick % len(undecided)])
        case "child":
            sim.child_wakes()
        case "wake" | "due":
            sim.wake_up()
        case "pause" if sim.status is WorkflowStatus.RUNNING:
            sim.load_for_verb()
            sim.do(Pause(ACTOR))
            sim.take_up()
        case "cancel" if sim.status is WorkflowStatus.RUNNING:
            sim.load_for_verb()
            sim.do(Cancel(ACTOR))
        case "cleanup" if sim.status is WorkflowStatus.PAUSED:
            sim.load_for_verb()
            sim.do(Cleanup(ACTOR, cleanup_tasks=False))
        case "resume" if sim.status is WorkflowStatus.PAUSED:
            sim.resume()


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
    items = [row for _, row in sorted(sim.item_rows.items()) if row.place.step == position]
    assert [row.status for row in items] == end.items
    if None in end.runs:
        assert sim.result(position) == {"run": end.runs[None]}
    for row in items:
        if row.status is COMPLETED:
            assert json.decode(row.result or b"") == {"run": end.runs[row.place.item]}


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
    kept_items = {(row.place.step, row.place.item) for row in sim.item_rows.values() if row.status is COMPLETED}
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
