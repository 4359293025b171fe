"""Whatever happens, in whatever order, and wherever the process dies: what must hold of every workflow."""

import gc
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any, TypeVar
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition
from stepwell.contract.definition import RetryPolicy, WorkflowConfig, WorkflowUpdate
from stepwell.contract.enums import EventType, OnFailure, ProviderType, RunIf, StepStatus, WorkflowStatus
from stepwell.contract.tasks import Cost
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.effects import StartAttempt
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    Cancel,
    Cleanup,
    Computed,
    DeadlinePassed,
    Dispatched,
    GiveUp,
    Input,
    Pause,
    Resume,
    RetryDue,
    Start,
    Succeeded,
    Update,
)
from stepwell.lifecycle.model import StepState, WorkflowState
from stepwell.lifecycle.run import Run
from stepwell.lifecycle.stored_run import StoredRun
from support.examples import examples
from support.workflows.runs import ACTOR, EPOCH, OWNER, SimulatedRun, resolved_steps_of

T = TypeVar("T")
PRICE = Cost(0.1, "USD", "settings")
_ENDS = {EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED}


class Op(Struct, frozen=True):
    """`pick` chooses among the steps that the operation fits; `crash` says whether, and when, the process dies."""

    kind: str
    pick: int
    flags: int
    crash: str


_KINDS = (
    "dispatch " * 6
    + "compute " * 3
    + "succeed " * 2
    + "fail " * 4
    + "due " * 4
    + "pause "
    + "resume " * 3
    + "late " * 2
)
kinds = st.sampled_from((_KINDS + "later deadline cancel cleanup start update give_up").split())
ops = st.builds(Op, kinds, st.integers(0, 20), st.integers(0, 15), st.sampled_from(["", "", "", "after", "instead"]))
scripts = st.integers(0, 60).flatmap(lambda size: st.lists(ops, min_size=size, max_size=size))


@st.composite
def dags(draw: st.DrawFn) -> list[list[int]]:
    """Up to seven steps, listed in any order, each after any of those before it in another order."""
    order = draw(st.permutations(range(draw(st.integers(1, 7)))))
    dag: list[list[int]] = [[] for _ in order]
    for index, position in enumerate(order):
        dag[position] = draw(st.lists(st.sampled_from(order[:index]), unique=True, max_size=3)) if index else []
    return dag


@st.composite
def sims(draw: st.DrawFn) -> Callable[[], SimulatedRun]:
    dag = draw(dags())
    config = WorkflowConfig(
        on_failure=draw(st.sampled_from(OnFailure)),
        workflow_timeout_s=draw(st.sampled_from([None, 30.0])),
        retry=RetryPolicy(base_s=4),
    )
    max_retries = draw(st.integers(0, 2))
    fallback = draw(st.sampled_from([None, ProviderType.FAL]))
    started = draw(st.sampled_from([True, True, True, False]))
    run_if = draw(st.dictionaries(st.sampled_from(range(len(dag))), st.sampled_from(RunIf)))
    optional = draw(st.sets(st.sampled_from(range(len(dag)))))
    return lambda: SimulatedRun(
        dag,
        config,
        max_retries=max_retries,
        fallback=fallback,
        sources=dag,
        started=started,
        run_if=run_if,
        optional=optional,
    )


def given_by(sim: SimulatedRun, op: Op) -> Input | None:  # noqa: C901, PLR0912 - one case an operation
    """The input that *op* means now; None where it means nothing."""
    among = {
        "dispatch": sim.waiting,
        "compute": sim.waiting,
        "succeed": sorted(sim.live),
        "fail": sorted(sim.live),
        "due": sim.sleeping,
    }
    kind, position = op.kind, 0
    if kind in among:
        kind = next((kind for kind in (kind, "due", "dispatch", "fail") if among[kind]), "resume")
        position = among[kind][op.pick % len(among[kind])] if kind in among else 0
    match kind:
        case "dispatch":
            return sim.dispatch_input(position)
        case "compute":
            return computed_input(sim, position)
        case "succeed":
            return Succeeded(position, sim.live[position].id, b"{}", cost=PRICE if op.flags & 1 else None)
        case "fail":
            jitter = (op.flags >> 2) / 4
            cost = PRICE if op.flags & 4 else None
            return AttemptFailed(
                position, sim.live[position].id, "no", bool(op.flags & 1), bool(op.flags & 2), jitter, cost=cost
            )
        case "due":
            sim.now = max(sim.now, sim.wake[position])
            return RetryDue(position)
        case "later":
            sim.later(op.pick)
        case "deadline" if sim.deadline is not None:
            sim.now = max(sim.now, sim.deadline)
            return DeadlinePassed()
        case "pause":
            return Pause(ACTOR)
        case "resume":
            return sim.resume_input()
        case "cancel" if op.flags == 0:
            return Cancel(ACTOR)
        case "cleanup" if op.flags == 0:
            return Cleanup(ACTOR, cleanup_tasks=True)
        case "start":
            return sim.start_input()
        case "update":
            return Update(ACTOR, WorkflowUpdate(name="other"))
        case "give_up" if op.flags == 0:
            return GiveUp("crashed too often")
        case "late":
            return late_input(sim, op)
    return None


def computed_input(sim: SimulatedRun, position: int) -> Input:
    """A step that has no attempt is computed. One that has begun elsewhere gets a slot, and continues."""
    dispatched = sim.dispatch_input(position)
    continues = sim.run.has_attempt(position)
    return dispatched if continues else Computed(position, dispatched.task_id, b"{}")


def late_input(sim: SimulatedRun, op: Op) -> Input:
    """About an attempt that isn't the step's own any more, or a slot or a timer that nobody asked for."""
    position = op.pick % len(sim.resolved_steps)
    old = UUID(int=(position + 1) * 1000 + max(sim.step_rows[position].attempt - 1, 0))
    match op.flags % 4:
        case 0:
            return Succeeded(position, old, b"late")
        case 1:
            return AttemptFailed(position, old, "late", retryable=True, provider_fault=True, jitter=0.5)
        case 2 if position not in sim.waiting:
            return Computed(position, UUID(int=1), b"late") if op.flags & 4 else Dispatched(position, UUID(int=1), 1)
        case _:
            return RetryDue(position if position not in sim.sleeping else 99)


def play(sim: SimulatedRun, op: Op, *, crashing: bool) -> None:
    made = given_by(sim, op)
    if made is None:
        return
    if op.kind == "late":
        before = sim.picture()
        assert not sim.do(made).has_rows
        assert sim.picture() == before
    try:
        if crashing and op.crash == "instead":  # what was decided is lost, and comes again
            sim.do_but_crash(made)
            sim.take_up()
            if op.kind == "late":  # a timer has fired meanwhile, so the slot may be wanted now
                made = late_input(sim, op)
        sim.do(made)
    except InvalidTransition:
        pass
    if crashing and op.crash:
        sim.crash()
    sim.take_up()


def outcome(sim: SimulatedRun) -> object:
    """All that can be told from outside, but for who runs it."""
    return (
        replace(sim.workflow, owner=None, epoch=0),
        (sim.step_rows, sim.task_rows, sim.events),
        (sim.live, sim.waiting, sim.sleeping, sim.deadline),
        [step.result for step in sim.run.steps],
    )


def check_history(sim: SimulatedRun) -> None:
    """By the order of the events alone."""
    done: set[int] = set()
    positions = {resolved.step_id: resolved.position for resolved in sim.resolved_steps}
    ended_steps: set[int] = set()
    running: set[int] = set()
    ended = False
    for event in sim.events:
        if event.type is EventType.WORKFLOW_RESUMED:
            ended = False
        elif event.type in _ENDS:
            assert not ended
            ended = True
            assert not running
        if event.step_id is None:
            continue
        position = positions[event.step_id]
        assert not ended
        assert position not in done, "COMPLETED is for ever"
        if event.type is EventType.STEP_STARTED:
            assert position not in running
            resolved = sim.resolved_steps[position]
            assert (done if resolved.run_if is RunIf.ALL_COMPLETED else ended_steps).issuperset(resolved.depends_on)
            assert (
                resolved.run_if is RunIf.ALL_ENDED
                or not resolved.depends_on
                or not done.isdisjoint(resolved.depends_on)
            )
            running.add(position)
        else:
            assert (position in running) or event.type in (EventType.STEP_SKIPPED, EventType.STEP_CANCELLED)
            running.discard(position)
        if event.type is EventType.STEP_COMPLETED:
            done.add(position)
        if event.type in (EventType.STEP_COMPLETED, EventType.STEP_SKIPPED, EventType.STEP_FAILED):
            ended_steps.add(position)
    attempts = [(task.position, task.attempt) for task in sim.task_rows.values()]
    assert sorted(attempts) == [(s.position, n + 1) for s in sim.step_rows for n in range(s.attempt)]


@settings(max_examples=examples(250))
@given(sims(), scripts)
def test_a_crash_anywhere_changes_nothing_that_can_be_seen(make: Callable[[], SimulatedRun], script: list[Op]) -> None:
    steady, crashing = make(), make()
    for op in script:
        play(steady, op, crashing=False)
        play(crashing, op, crashing=True)
        assert outcome(crashing) == outcome(steady)
    check_history(crashing)
    assert steady.drive() is crashing.drive()
    assert outcome(crashing) == outcome(steady)


def inputs_of(sim: SimulatedRun, script: list[Op], monkeypatch: pytest.MonkeyPatch) -> list[tuple[Input, datetime]]:
    """The inputs that *script* means for *sim*, and what then leads it to its end, each with its time."""
    inputs: list[tuple[Input, datetime]] = []
    do = sim.do

    def recorded(input_: Input) -> Decision:
        decision = do(input_)
        inputs.append((input_, sim.now))
        return decision

    monkeypatch.setattr(sim, "do", recorded)
    for op in script:
        play(sim, op, crashing=False)
    sim.drive()
    return inputs


def batches_of(run: Run, inputs: list[tuple[Input, datetime]], sent: list[bool], *, extends: bool) -> list[Decision]:
    """The decisions about *inputs*. Those that wait together are one. *sent*: a batch is sent before this input."""
    batches: list[Decision] = []
    for (input_, now), begins in zip(inputs, itertools.cycle(sent), strict=False):
        if not batches or begins:
            batches.append(run.apply(input_, now))
        elif not (
            extends
            and run.is_plain
            and batches[-1].has_rows
            and isinstance(input_, Dispatched | Computed | Succeeded)
            and run.extend(batches[-1], input_, now)
        ):
            batches[-1].merge(run.apply(input_, now))
    return batches


@settings(max_examples=examples(250))
@given(sims(), scripts, st.lists(st.booleans(), min_size=1, max_size=9))
def test_a_decision_that_is_extended_equals_the_decisions_that_are_merged(
    make: Callable[[], SimulatedRun], script: list[Op], sent: list[bool]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        inputs = inputs_of(make(), script, monkeypatch)
    merged = batches_of(make().run, inputs, sent, extends=False)
    assert batches_of(make().run, inputs, sent, extends=True) == merged


@settings(max_examples=examples(250))
@given(sims(), scripts)
def test_to_compute_a_step_is_to_dispatch_it_and_to_let_it_succeed(
    make: Callable[[], SimulatedRun], script: list[Op]
) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        inputs = inputs_of(make(), script, monkeypatch)
    at_once, in_two = make().run, make().run
    for input_, now in inputs:
        expected = at_once.apply(input_, now)
        if isinstance(input_, Computed):
            position, task_id = input_.position, input_.task_id
            both = in_two.apply(Dispatched(position, task_id, None, in_process=True), now)
            both.merge(in_two.apply(Succeeded(position, task_id, input_.result), now))
            both.effects = [effect for effect in both.effects if not isinstance(effect, StartAttempt)]
        else:
            both = in_two.apply(input_, now)
        assert both == expected


@settings(max_examples=examples(250))
@given(sims(), scripts)
def test_every_workflow_can_always_reach_its_end(make: Callable[[], SimulatedRun], script: list[Op]) -> None:
    sim = make()
    for op in script:
        play(sim, op, crashing=True)
    final = sim.workflow.deleted_at is not None or sim.status is WorkflowStatus.CANCELLED
    if sim.status is WorkflowStatus.RUNNING:
        assert sim.drive() in (WorkflowStatus.COMPLETED, WorkflowStatus.FAILED)
    if sim.status is WorkflowStatus.PENDING:
        sim.start()
    if sim.status in (WorkflowStatus.FAILED, WorkflowStatus.PAUSED) and not final:
        sim.resume()
    sim.drive()
    if not final:
        assert sim.status is WorkflowStatus.COMPLETED
        once = [int(status is StepStatus.COMPLETED) for status in sim.statuses]
        assert [
            sim.short_history().count(f"step.completed {resolved.step_id}") for resolved in sim.resolved_steps
        ] == once
        if not any(resolved.optional for resolved in sim.resolved_steps):
            assert all(once)
    assert (sim.live, sim.workflow.owner) == ({}, None)
    check_history(sim)


# Cost: counted, not timed. Every Python call counts, and so does each item of a list or set that is gone through.


class SeenList(list[T]):
    def __iter__(self) -> Iterator[T]:
        yield from super().__iter__()


class SeenSet(set[T]):
    def __iter__(self) -> Iterator[T]:
        yield from super().__iter__()

    def __and__(self, other: Iterable[Any]) -> set[T]:
        return {item for item in self if item in other}


class Meter:
    """Calls made, and how deep they nested."""

    def __init__(self) -> None:
        self.calls = self.depth = self.deepest = 0
        self.result: object = None

    def _count(self, _frame: FrameType, event: str, _arg: object) -> None:
        if event == "call":
            self.calls += 1
            self.depth += 1
            self.deepest = max(self.deepest, self.depth)
        elif event == "return":
            self.depth -= 1
        elif event == "c_call":
            self.calls += 1

    def of(self, work: Callable[[], object]) -> "Meter":
        before = sys.getprofile()
        gc.disable()  # hypothesis has a callback that it calls, at any depth
        sys.setprofile(self._count)
        try:
            self.result = work()
        finally:
            sys.setprofile(before)
            gc.enable()
        return self


def chain(n: int) -> list[list[int]]:
    return [[position - 1] if position else [] for position in range(n)]


def fan_out(n: int) -> list[list[int]]:
    return [[], *[[0] for _ in range(n - 2)], list(range(1, n - 1))]


def layers(n: int) -> list[list[int]]:
    """Ten wide, each step after three of the layer before."""
    return [[p - p % 10 - 10 + (p + k) % 10 for k in range(3)] if p >= 10 else [] for p in range(n)]


class Big:
    """A big run, driven wave by wave without the checks of `SimulatedRun`, which cost more than what they check."""

    def __init__(self, dag: Sequence[Sequence[int]], on_failure: OnFailure = OnFailure.DRAIN) -> None:
        resolved_steps = SeenList(resolved_steps_of(dag, max_retries=1))
        steps = SeenList(StepState(resolved.position) for resolved in resolved_steps)
        state = WorkflowState(UUID(int=7), WorkflowStatus.PENDING, "big")
        self.run = Run(StoredRun(state, WorkflowConfig(on_failure=on_failure), resolved_steps, steps, sources=dag))
        self.run._units.ready, self.run._units.backoff = SeenSet(self.run._units.ready), SeenSet()

    def start(self) -> list[int]:
        return self.run.apply(Start(ACTOR, UUID(int=1), OWNER), EPOCH).ready

    def wave(self, ready: list[int], then: Callable[[int, UUID], Input]) -> list[int]:
        """All of *ready* get a slot, then all of them end."""
        for position in ready:
            self.run.apply(Dispatched(position, UUID(int=position + 1), 1), EPOCH)
        decisions: list[Decision] = [self.run.apply(then(p, UUID(int=p + 1)), EPOCH) for p in ready]
        timers = [
            effect.position for decision in decisions for effect in decision.effects if hasattr(effect, "position")
        ]
        due = [p for position in timers for p in self.run.apply(RetryDue(position), EPOCH).ready]
        return [position for decision in decisions for position in decision.ready] + due


def succeed(position: int, task_id: UUID) -> Input:
    return Succeeded(position, task_id, b"{}")


def retry(position: int, task_id: UUID) -> Input:
    return AttemptFailed(position, task_id, "no", retryable=True, provider_fault=True, jitter=0.0)


def fail(position: int, task_id: UUID) -> Input:
    return AttemptFailed(position, task_id, "no", retryable=False, provider_fault=True, jitter=0.0)


def all_succeed(dag: Sequence[Sequence[int]]) -> WorkflowStatus:
    big = Big(dag)
    ready = big.start()
    while ready:
        ready = big.wave(ready, succeed)
    return big.run.state.status


def each_fails_once(dag: Sequence[Sequence[int]]) -> WorkflowStatus:
    big = Big(dag)
    ready = big.start()
    while ready:
        ready = big.wave(big.wave(ready, retry), succeed)
    return big.run.state.status


def first_fails(policy: OnFailure) -> Callable[[Sequence[Sequence[int]]], WorkflowStatus]:
    def script(dag: Sequence[Sequence[int]]) -> WorkflowStatus:
        big = Big(dag, policy)
        big.wave(big.wave(big.start(), retry), fail)
        return big.run.state.status

    return script


def second_wave_fails(dag: Sequence[Sequence[int]]) -> WorkflowStatus:
    big = Big(dag)
    big.wave(big.wave(big.start(), succeed), fail)
    return big.run.state.status


def paused_resumed_cancelled(dag: Sequence[Sequence[int]]) -> WorkflowStatus:
    big = Big(dag)
    big.wave(big.start(), succeed)
    for verb in (Pause(ACTOR), Resume(ACTOR, UUID(int=2), OWNER), Cancel(ACTOR)):
        big.run.apply(verb, EPOCH)
    return big.run.state.status


COMPLETED, FAILED, CANCELLED = WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED


@pytest.mark.parametrize(
    ("shape", "n", "script", "status"),
    [
        (chain, 1_000, all_succeed, COMPLETED),
        (fan_out, 1_000, all_succeed, COMPLETED),
        (layers, 10_000, all_succeed, COMPLETED),
        (chain, 1_000, each_fails_once, COMPLETED),
        (fan_out, 1_000, each_fails_once, COMPLETED),
        (chain, 10_000, first_fails(OnFailure.CONTINUE), FAILED),
        (fan_out, 10_000, first_fails(OnFailure.CONTINUE), FAILED),
        (layers, 10_000, first_fails(OnFailure.DRAIN), FAILED),
        (fan_out, 2_000, second_wave_fails, FAILED),
        (chain, 10_000, paused_resumed_cancelled, CANCELLED),
        (fan_out, 10_000, paused_resumed_cancelled, CANCELLED),
    ],
)
def test_cost_grows_with_the_edges_and_calls_do_not_nest(
    shape: Callable[[int], list[list[int]]],
    n: int,
    script: Callable[[Sequence[Sequence[int]]], WorkflowStatus],
    status: WorkflowStatus,
) -> None:
    few, many = (Meter().of(partial(script, dag)) for dag in (shape(n // 10), shape(n)))
    assert few.result is many.result is status
    assert many.calls <= 10.5 * few.calls
    assert many.deepest == few.deepest
