"""Random definitions with flow control, and what may happen to them in random orders.

Everything follows from the state of the `Random`.
"""

from collections.abc import Sequence
from contextlib import suppress
from random import Random

from msgspec import Struct
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition, NotByHand, NotWaiting
from stepwell.contract.enums import RunIf, StepStatus, WaitKind, WorkflowStatus
from stepwell.lifecycle.inputs import (
    Cancel,
    Cleanup,
    DeadlinePassed,
    Decide,
    EndByHand,
    GiveUp,
    Input,
    Park,
    Pause,
    Resume,
    RetryDue,
    Signal,
)
from stepwell.lifecycle.model import ItemState
from support.workflows.flow_specs import RepeatSpec, Script, StepSpec, resolved_step_of
from support.workflows.flows import ACTOR, SimulatedFlow

_WAITS = (WaitKind.DECISION, WaitKind.SIGNAL, WaitKind.DELAY)


def random_specs(random: Random) -> list[StepSpec]:
    """Return up to six steps, listed in any order, each after any of those before it in another order."""
    order = random.sample(range(size := random.randint(1, 6)), size)
    needed = {
        position: tuple(random.sample(order[:index], random.randint(0, min(3, index))))
        for index, position in enumerate(order)
    }
    specs = [_random_spec(random, needed[position]) for position in range(size)]
    if all(resolved_step_of(position, spec).flow is None for position, spec in enumerate(specs)):
        specs[0] = replace(specs[0], condition=True)
    return specs


def _random_spec(random: Random, depends_on: tuple[int, ...]) -> StepSpec:
    """Return an ordinary step, a repetition or a wait, perhaps with a condition."""
    waits_for = random.choice([None, None, None, *_WAITS])
    works = waits_for is None
    repeat = (
        RepeatSpec(random.randint(1, 3), random.choice([None, 0, 1, 2]), _maybe(random))
        if works and _maybe(random)
        else None
    )
    items = random.randint(0, 4) if works and _maybe(random) else None
    runs = range(3 if repeat else 1)
    keys: list[int | tuple[int, int]] = (
        list(runs) if items is None else [(item, run) for item in range(items) for run in runs]
    )
    return StepSpec(
        depends_on=depends_on,
        run_if=random.choice(list(RunIf)),
        optional=_maybe(random),
        condition=random.choice([None, None, None, True, True, False, "error"]),
        waits_for=waits_for,
        child=works and _maybe(random),
        on_timeout=random.choice(["fail", "continue" if waits_for is WaitKind.SIGNAL else "approve"]),
        answer=random.choice(["decide", "decide", "reject", "early", "timeout"]),
        repeat=repeat,
        items=items,
        collect=_maybe(random),
        concurrency=random.randint(1, 3),
        scripts={key: _random_script(random) for key in keys if _maybe(random)},
    )


def _random_script(random: Random) -> Script:
    score = random.choice([None, 0.1, 0.5, 0.5, 0.9])
    return Script(random.choice([0, 0, 0, 1, 2]), random.choice([True, True, True, False]), score)


def _maybe(random: Random) -> bool:
    return random.random() < 0.5


class Op(Struct, frozen=True):
    """`pick` chooses among what the operation fits; `crash` says whether, and when, the process dies."""

    kind: str
    pick: int
    crash: str


USUAL: list[str] = (
    "dispatch " * 5
    + "end " * 6
    + "evaluate " * 5
    + "due " * 2
    + "decide " * 3
    + "child " * 3
    + "follow " * 2
    + "park park pause resume resume early early late wake wake"
).split()
STOPPING = [*USUAL, *USUAL, "deadline", "give_up"]
ENDING = [*STOPPING, "cancel", "cleanup"]
BY_HAND = [*STOPPING, *["give", "leave_out"] * 6]
GIVEN = b'{"given":true}'


def random_ops(random: Random, kinds: Sequence[str]) -> list[Op]:
    crashes = ["", "", "", "after", "instead"]
    return [
        Op(random.choice(kinds), random.randint(0, 20), random.choice(crashes)) for _ in range(random.randint(0, 60))
    ]


def input_of(sim: SimulatedFlow, op: Op) -> Input | None:  # noqa: C901, PLR0912 - one case for each operation
    """The input that *op* means now, in memory; None where it means nothing."""

    def pick(positions: Sequence[int]) -> int:
        return positions[op.pick % len(positions)]

    match op.kind:
        case "dispatch" if startable := sim.startable():
            return sim.dispatch_input(pick(startable))
        case "end" if sim.live:
            return sim.end_input(pick(sorted(sim.live)))
        case "evaluate" if sim.evaluations:
            return sim.evaluated(pick(sorted(sim.evaluations)))
        case "due" if sleeping := sim.sleeping():
            position = sim.first_due(sleeping)
            sim.now = max(sim.now, sim.wake[position])
            return RetryDue(position)
        case "decide" if undecided := sim.undecided():
            return sim.decide_input(pick(undecided))
        case "child" if ends := sim.ending_children():
            return sim.child_ended_input(pick(ends))
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
        case "give":
            return by_hand(sim, op, GIVEN)
        case "leave_out":
            return by_hand(sim, op, None)
        case "early" if early := [p for p in range(len(sim.specs)) if signals_early(sim, p)]:
            return Signal(ACTOR, f"signal {early[0]}")
        case "late":
            position = op.pick % len(sim.specs)
            return None if position in sim.open_waits else Decide(ACTOR, position, "approve")
    return None


def by_hand(sim: SimulatedFlow, op: Op, result: bytes | None) -> EndByHand:
    """Return the end of a step or of an item by hand, which may be refused."""
    row = [*sim.step_rows, *sim.item_rows.values()][op.pick % (len(sim.step_rows) + len(sim.item_rows))]
    if isinstance(row, ItemState):
        return EndByHand(ACTOR, row.item_key.step, row.item_key.item, result)
    return EndByHand(ACTOR, row.position, None, result)


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
    except (InvalidTransition, NotByHand, NotWaiting):
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
        case "give" | "leave_out" if sim.status is WorkflowStatus.PAUSED:
            sim.load_for_verb()
            with suppress(NotByHand):
                sim.do(by_hand(sim, op, GIVEN if op.kind == "give" else None))
            sim.forget_if_idle()
            sim.take_up()
