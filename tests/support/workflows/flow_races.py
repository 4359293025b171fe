"""What happens to a workflow with flow control, two things at a time: the workflow, and the legal outcomes.

The workflow has an approval and a signal, both with and without the sub-workflow that it runs, an optional step, a
step with a condition, and a step with items of which two run. Two events happen to it, in this order: a decision, the
time-out of the approval, a signal, cancel, pause, cleanup, or the death of its process.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from itertools import product
from typing import Any, NamedTuple

import msgspec

from stepwell.contract.enums import EventType
from stepwell.lifecycle.model import HistoryEvent
from support.providers.held_jobs import HeldJob, paid_for
from support.providers.scripted import passthrough_step, scripted_step
from support.service.event_replay import fold
from support.service.live_service import statuses_of, step_of

WORKFLOWS = "/api/v1/workflows/"
LIMIT_S = 60.0
_ASK = {"on_timeout": "reject", "on_reject": "continue"}
WAITS, DONE, GONE, APPROVED, LATE = "RUNNING", "COMPLETED", "CANCELLED", "approve by tester", "reject by stepwell"


class Target(StrEnum):
    """The workflow whose approval and signal are meant. All verbs are for the parent.

    PARKED: that of the sub-workflow, which has left memory before.
    """

    PARENT = "parent"
    CHILD = "child"
    PARKED = "parked"


class Moment(StrEnum):
    """When the second event happens: after all of the first, while its checkpoint isn't committed, or while that is
    committed and its process doesn't know yet.
    """

    AFTER = "after"
    UNCOMMITTED = "uncommitted"
    UNKNOWN = "unknown"


class Outcome(NamedTuple):
    """The responses to both (None: it is no request), the parent's status, and how approval and signal of the target
    stand.
    """

    first: int | None
    second: int | None
    status: str
    ask: str
    word: str


DEATH = "death"
UNTOUCHED = Outcome(None, None, "RUNNING", WAITS, WAITS)
# Cancel isn't allowed from PAUSED, and cleanup not from RUNNING.
_ONE = {
    "decision": Outcome(200, None, "RUNNING", APPROVED, WAITS),
    "timeout": Outcome(None, None, "RUNNING", LATE, WAITS),
    "cancel": Outcome(200, None, "CANCELLED", GONE, GONE),
    "pause": Outcome(200, None, "PAUSED", WAITS, WAITS),
    "cleanup": Outcome(409, None, "RUNNING", WAITS, WAITS),
    "signal": Outcome(200, None, "RUNNING", WAITS, DONE),
}
_TWO = {
    ("decision", "decision"): Outcome(200, 409, "RUNNING", APPROVED, WAITS),
    ("decision", "timeout"): Outcome(200, None, "RUNNING", APPROVED, WAITS),
    ("decision", "cancel"): Outcome(200, 200, "CANCELLED", APPROVED, GONE),
    ("decision", "pause"): Outcome(200, 200, "PAUSED", APPROVED, WAITS),
    ("decision", "cleanup"): Outcome(200, 409, "RUNNING", APPROVED, WAITS),
    ("decision", "signal"): Outcome(200, 200, "RUNNING", APPROVED, DONE),
    ("timeout", "decision"): Outcome(None, 409, "RUNNING", LATE, WAITS),
    ("timeout", "cancel"): Outcome(None, 200, "CANCELLED", LATE, GONE),
    ("timeout", "pause"): Outcome(None, 200, "PAUSED", LATE, WAITS),
    ("timeout", "cleanup"): Outcome(None, 409, "RUNNING", LATE, WAITS),
    ("timeout", "signal"): Outcome(None, 200, "RUNNING", LATE, DONE),
    ("cancel", "decision"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("cancel", "timeout"): Outcome(200, None, "CANCELLED", GONE, GONE),
    ("cancel", "cancel"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("cancel", "pause"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("cancel", "cleanup"): Outcome(200, 200, "CANCELLED", GONE, GONE),
    ("cancel", "signal"): Outcome(200, 409, "CANCELLED", GONE, GONE),
    ("pause", "decision"): Outcome(200, 200, "PAUSED", APPROVED, WAITS),
    ("pause", "timeout"): Outcome(200, None, "PAUSED", LATE, WAITS),
    ("pause", "cancel"): Outcome(200, 409, "PAUSED", WAITS, WAITS),
    ("pause", "pause"): Outcome(200, 409, "PAUSED", WAITS, WAITS),
    ("pause", "cleanup"): Outcome(200, 200, "CANCELLED", GONE, GONE),
    ("pause", "signal"): Outcome(200, 200, "PAUSED", WAITS, DONE),
    ("cleanup", "decision"): Outcome(409, 200, "RUNNING", APPROVED, WAITS),
    ("cleanup", "timeout"): Outcome(409, None, "RUNNING", LATE, WAITS),
    ("cleanup", "cancel"): Outcome(409, 200, "CANCELLED", GONE, GONE),
    ("cleanup", "pause"): Outcome(409, 200, "PAUSED", WAITS, WAITS),
    ("cleanup", "cleanup"): Outcome(409, 409, "RUNNING", WAITS, WAITS),
    ("cleanup", "signal"): Outcome(409, 200, "RUNNING", WAITS, DONE),
    ("signal", "decision"): Outcome(200, 200, "RUNNING", APPROVED, DONE),
    ("signal", "timeout"): Outcome(200, None, "RUNNING", LATE, DONE),
    ("signal", "cancel"): Outcome(200, 200, "CANCELLED", GONE, DONE),
    ("signal", "pause"): Outcome(200, 200, "PAUSED", WAITS, DONE),
    ("signal", "cleanup"): Outcome(200, 409, "RUNNING", WAITS, DONE),
    ("signal", "signal"): Outcome(200, 409, "RUNNING", WAITS, DONE),
}
_WITH_DEATH = {
    (DEATH, DEATH): UNTOUCHED,
    **{(event, DEATH): outcome for event, outcome in _ONE.items()},
    **{(DEATH, event): outcome._replace(first=None, second=outcome.first) for event, outcome in _ONE.items()},
}
TABLE: Mapping[tuple[str, str], Outcome] = _TWO | _WITH_DEATH
EVENTS = (*_ONE, DEATH)
PAIRS = [pair for pair in product(EVENTS, EVENTS) if pair != ("timeout", "timeout")]


class RaceCase(NamedTuple):
    """Two events in their order, the workflow that they are for, and when the second one happens."""

    pair: tuple[str, str]
    target: Target
    moment: Moment


_OF_TARGET = {"decision", "timeout", "signal"}


def differing_races() -> list[RaceCase]:
    """Return all races, each once.

    A cleanup that comes first is refused, so it has no checkpoint. A death has none either: the second event only
    comes before or after the claims of the next process. Verbs are for the parent, whether the target is the
    sub-workflow or not.
    """
    return [
        RaceCase(pair, target, moment)
        for pair, target, moment in product(PAIRS, Target, Moment)
        if (pair[0] != "cleanup" or moment is Moment.AFTER)
        and (pair[0] != DEATH or moment is not Moment.UNKNOWN)
        and (target is not Target.CHILD or _OF_TARGET.intersection(pair))
    ]


def one_race_of_each_pair(pairs: Sequence[tuple[str, str]]) -> list[RaceCase]:
    """Return one of the differing races of each pair. Targets and moments take turns."""
    races = differing_races()
    of_pairs = [[race for race in races if race.pair == pair] for pair in pairs]
    return [of_pair[number % len(of_pair)] for number, of_pair in enumerate(of_pairs)]


def legal(pair: tuple[str, str], target: Target, moment: Moment) -> set[Outcome]:
    """Return the outcomes that are legal."""
    first, second = pair
    outcome = TABLE[pair]
    if second == DEATH and moment is not Moment.AFTER and first not in (DEATH, "cleanup"):
        outcome = outcome._replace(first=None)  # the client got no response
        if moment is Moment.UNCOMMITTED and first != "timeout":
            return {UNTOUCHED}
    legal = {outcome}
    if moment is not Moment.AFTER and target is not Target.PARENT and DEATH not in pair:
        # They may be for different workflows, and then the second may come before the first reaches its own.
        legal.add(swapped(pair))
    return legal


def swapped(pair: tuple[str, str]) -> Outcome:
    """Return the outcome if the second event comes before the first."""
    outcome = TABLE[pair[1], pair[0]]
    return outcome._replace(first=outcome.second, second=outcome.first)


def steps_for(target: Target, limit_s: float | None = LIMIT_S) -> list[dict[str, Any]]:
    """Return the steps of the parent. Only the approval of the target has a time-out, unless *limit_s* is None."""

    def asks(*, limited: bool) -> dict[str, Any]:
        config = _ASK | ({"timeout_s": limit_s} if limited and limit_s is not None else {})
        return {"id": "ask", "task_type": "APPROVAL", "config": config}

    word = {"id": "word", "task_type": "SIGNAL"}
    steps = [asks(limited=target is not Target.PARENT), word, scripted_step("deep", "ask")]
    return [
        asks(limited=target is Target.PARENT),
        word,
        scripted_step("each", for_each={"count": 3, "max_concurrency": 2}),
        scripted_step("fails", optional=True),
        scripted_step("taken", when="ask.approved"),
        {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "a child", "steps": steps}}},
        passthrough_step("last", "word", "each", "fails", "taken", "sub", run_if="all_ended"),
    ]


def request_for(event: str, parent: object, target: object) -> tuple[str, str, Mapping[str, Any] | None]:
    """Return method, path and body of the request by which the event happens."""
    path, of_target = f"{WORKFLOWS}{parent}", f"{WORKFLOWS}{target}"
    requests: dict[str, tuple[str, str, Mapping[str, Any] | None]] = {
        "decision": ("POST", f"{of_target}/steps/ask/decision", {"choice": "approve"}),
        "signal": ("POST", f"{of_target}/signals/word", None),
        "cancel": ("DELETE", path, None),
        "pause": ("POST", f"{path}/pause", None),
        "cleanup": ("POST", f"{path}/cleanup", None),
    }
    return requests[event]


def outcome_of(codes: Sequence[int | None], parent: dict[str, Any], target: dict[str, Any]) -> Outcome:
    """Return the outcome that these responses and these workflows, as the API shows them, are."""
    ask, word = step_of(target, "ask"), step_of(target, "word")
    decision = ask["result"]
    decided = ask["status"] if decision is None else f"{decision['choice']} by {decision['by']}"
    return Outcome(codes[0], codes[1], parent["status"], decided, word["status"])


def check_completed(parent: dict[str, Any], child: dict[str, Any], jobs: Sequence[HeldJob]) -> None:
    """Check the ends of both, and that each step and item that had to run had one job."""
    approved = step_of(parent, "ask")["result"]["approved"]
    assert (parent["status"], child["status"]) == ("COMPLETED", "COMPLETED"), (parent["errors"], child["errors"])
    assert statuses_of(parent) == {
        "ask": "COMPLETED",
        "word": "COMPLETED",
        "each": "COMPLETED",
        "fails": "FAILED",
        "taken": "COMPLETED" if approved else "SKIPPED",
        "sub": "COMPLETED",
        "last": "COMPLETED",
    }
    paid: list[tuple[str, int | None]] = [("each", 0), ("each", 1), ("each", 2), ("fails", None), ("deep", None)]
    assert paid_for(jobs) == Counter([*paid, ("taken", None)] if approved else paid)


# What may follow the end of a workflow: news about attempts that were given up, and what is no part of its run.
_AFTER_END = {
    EventType.STEP_CANCEL_SETTLED,
    EventType.WORKFLOW_UPDATED,
    EventType.WORKFLOW_CLEANED,
    EventType.WORKFLOW_FILES_DELETED,
}
_ENDS = {EventType.WORKFLOW_COMPLETED, EventType.WORKFLOW_FAILED, EventType.WORKFLOW_CANCELLED}
_MAY_BE_CANCELLED = {EventType.STEP_FAILED, EventType.STEP_SKIPPED}
_STEP_ENDS = {EventType.STEP_COMPLETED, EventType.STEP_CANCELLED} | _MAY_BE_CANCELLED


def check_order(events: Iterable[Mapping[str, Any]]) -> None:
    """Check that nothing follows the end of the workflow, nor that of a step or item.

    Except: resume begins anew, and with the workflow also steps are cancelled that FAILED or are SKIPPED.
    """
    ends: dict[tuple[str | None, int | None], str] = {}
    for number, event in enumerate(events, 1):
        assert event["id"] == number, "no event is missing"
        kind, data = event["type"], event["data"]
        unit = event["step_id"], data.get("item")
        if kind == EventType.WORKFLOW_RESUMED:
            ends.clear()
        elif kind not in _AFTER_END:
            assert (None, None) not in ends, f"{kind} follows the end"
            again = kind == EventType.STEP_CANCELLED and ends.get(unit) in _MAY_BE_CANCELLED
            assert unit == (None, None) or unit not in ends or again, f"{kind} follows the end of {unit}"
        if (kind in _STEP_ENDS and not data.get("held_back")) or kind in _ENDS:
            ends[unit] = kind


def check_history(workflow: dict[str, Any], events: Sequence[Mapping[str, Any]]) -> None:
    """Check that the events are in a legal order, and tell the statuses of the workflow and of its steps."""
    check_order(events)
    statuses = statuses_of(workflow)
    found = fold(msgspec.convert(events, list[HistoryEvent]), statuses)
    assert found == (workflow["status"], [*statuses.values()])
