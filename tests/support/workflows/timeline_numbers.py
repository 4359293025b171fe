"""The numbers of the web page's timeline, computed from the events of a run.

They follow from the definitions in the manual (page.md, "Timeline") alone. The page computes them from steps and tasks
instead. Events don't say when an attempt has sent its request, so these times are an argument.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

Json = dict[str, Any]
_ENDS = ("step.completed", "step.failed", "step.skipped", "step.cancelled", "step.retrying", "step.repeating")


class Numbers(NamedTuple):
    """`rows` has the milliseconds of each kind of bar, by step. `path` has those of the critical path."""

    retries: int
    attempts: int
    rows: dict[str, dict[str, int]]
    critical: list[str]
    path: dict[str, int]


class _Step:
    """What is true of a step at a moment of the replay."""

    def __init__(self, step: Json) -> None:
        self.dependencies: list[str] = step["dependencies"]
        self.runs_workflow = step["task_type"] == "SUBWORKFLOW"
        self.running: set[str] = set()  # the ids of attempts
        self.waits_for: str | None = None
        self.before_retry: set[int | None] = set()  # items
        self.began: int | None = None
        self.ended: int | None = None

    def kind(self, sent: set[str], *, stopped: bool) -> str:
        if self.running and self.runs_workflow:
            return "workflow"
        if self.running:
            return "provider" if self.running & sent else "work"
        if self.waits_for is not None:
            return self.waits_for
        if stopped:
            return "stopped"
        return "retry" if self.before_retry else "queue"


class _Replay:
    def __init__(self, steps: Iterable[Json]) -> None:
        self.steps = {step["step_id"]: _Step(step) for step in steps}
        self.sent: set[str] = set()
        self.is_stopped = False
        self.retries = self.attempts = 0
        self.started_at: int | None = None

    def apply(self, now: int, event: Json) -> None:
        match event["type"]:
            case "sent":
                self.sent.add(event["task_id"])
            case "workflow.started":
                self.started_at = now
            case "workflow.paused" | "workflow.failed":
                self.is_stopped = True
            case "workflow.resumed":
                self.is_stopped = False
            case _ if event["step_id"] is not None:
                self._apply_to_step(self.steps[event["step_id"]], now, event)

    def _apply_to_step(self, step: _Step, now: int, event: Json) -> None:
        type_, data, task, item = event["type"], event["data"], event["task_id"], event["data"].get("item")
        if type_ == "step.started" and task is not None:
            step.began = now if step.began is None else step.began
            step.running.add(task)
            self.attempts += not step.runs_workflow
            self.retries += item in step.before_retry
            step.before_retry.discard(item)
        elif type_ == "step.waiting" and data["waits_for"] != "workflow":
            step.began = now if step.began is None else step.began
            step.waits_for = data["waits_for"]
        elif type_ in _ENDS:
            step.running.discard(task)
            step.waits_for = None
            if event.get("retried"):
                step.before_retry.add(item)
            step.ended = now  # a step that is held back, in a run that fails, ends with its last attempt


def timeline_numbers(steps: Iterable[Json], events: Iterable[Json], sent_at: Mapping[str, str]) -> Numbers:
    """Return the numbers of a run that has ended, with these *steps* of the API. *sent_at* is by the id of the task."""
    sent = [{"type": "sent", "task_id": task, "at": at, "step_id": None} for task, at in sent_at.items()]
    events = _with_retries(events)
    last_waits = {event["step_id"]: event for event in events if event["type"] == "step.waiting"}
    by_time: dict[int, list[Json]] = defaultdict(list)
    for event in (*events, *sent):
        if event["type"] != "step.waiting" or event is last_waits[event["step_id"]]:
            by_time[_ms(event["at"])].append(event)
    last = _replay(steps, by_time, {})
    starts = {step_id: _start_of_row(step_id, last) for step_id in last.steps}
    kinds: dict[str, list[tuple[int, int, str]]] = {step_id: [] for step_id in last.steps}
    _replay(steps, by_time, kinds)
    rows = {
        step_id: Counter[str](_lengths(kinds[step_id], starts[step_id], step.ended)) if step.began is not None else {}
        for step_id, step in last.steps.items()
    }
    critical = _critical_path(last)
    path, at = Counter[str](), last.started_at or 0
    for step_id in critical:
        ended = last.steps[step_id].ended
        path.update(_lengths(kinds[step_id], at, ended))
        at = max(at, ended or 0)
    shown = {step_id: {kind: ms for kind, ms in row.items() if ms} for step_id, row in rows.items()}
    return Numbers(last.retries, last.attempts, shown, critical, {kind: ms for kind, ms in path.items() if ms})


def _with_retries(events: Iterable[Json]) -> list[Json]:
    """Return the events, those of failed attempts with `retried` if a retry follows them before a resume."""
    found: list[Json] = []
    started: set[tuple[str, int | None]] = set()  # since the event, and before a resume
    for event in reversed(list(events)):
        key = event["step_id"], event["data"].get("item")
        found.append(event | {"retried": event["type"] == "step.retrying" and key in started})
        if event["type"] == "workflow.resumed":
            started.clear()
        elif event["type"] == "step.started":
            started.add(key)
    return found[::-1]


def _replay(
    steps: Iterable[Json], by_time: Mapping[int, list[Json]], kinds: dict[str, list[tuple[int, int, str]]]
) -> _Replay:
    """Return what is true at the end. Add to *kinds* what each step does between two times that follow each other."""
    replay, times = _Replay(steps), sorted(by_time)
    for now, later in pairwise([*times, times[-1]]):
        for event in by_time[now]:
            replay.apply(now, event)
        for step_id, found in kinds.items():
            found.append((now, later, replay.steps[step_id].kind(replay.sent, stopped=replay.is_stopped)))
    return replay


def _lengths(kinds: Iterable[tuple[int, int, str]], start: int, end: int | None) -> dict[str, int]:
    """Return the milliseconds of each kind between *start* and *end*."""
    lengths = Counter[str]()
    for begins, ends, kind in kinds:
        lengths[kind] += max(0, min(ends, end or 0) - max(begins, start))
    return lengths


def _start_of_row(step_id: str, replay: _Replay) -> int:
    """Return when the step could run. It may have begun before, if a dependency that had failed ran again."""
    step = replay.steps[step_id]
    ready = max([replay.started_at or 0, *(replay.steps[each].ended or 0 for each in step.dependencies)])
    return ready if step.began is None else min(ready, step.began)


def _critical_path(replay: _Replay) -> list[str]:
    """Return the steps of the chain that have begun, the first one first."""
    chain: list[str] = []
    among: Iterable[str] = replay.steps
    while among:
        # Of those that ended at the same time, one that the others don't need.
        at = max(replay.steps[each].ended or 0 for each in among)
        last = [each for each in among if (replay.steps[each].ended or 0) == at]
        needed = {name for each in last for name in replay.steps[each].dependencies}
        step_id = next(each for each in last if each not in needed)
        if replay.steps[step_id].began is not None:
            chain.insert(0, step_id)
        among = replay.steps[step_id].dependencies
    return chain


def _ms(text: str) -> int:
    """Return a time in whole milliseconds since 1970, as a browser reads it."""
    at = datetime.fromisoformat(text)
    return int(at.timestamp()) * 1000 + at.microsecond // 1000
