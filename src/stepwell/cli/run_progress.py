"""The progress of `run` on stderr: a bar on a terminal, else a line for each event. stdout is for the result."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from stepwell.cli.output import print_message, printable
from stepwell.contract.enums import EventType, SkipReason, WaitKind
from stepwell.contract.events import EventPublic
from stepwell.lifecycle.model import HistoryEvent

_NAMED = 4
_WORDS = {
    EventType.STEP_STARTED: "started",
    EventType.STEP_RETRYING: "will be tried again",
    EventType.STEP_REPEATING: "runs again",
    EventType.STEP_WAITING: "waits",
    EventType.STEP_REUSED: "takes over an earlier result",
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
_WAITS: Mapping[str, str] = {
    WaitKind.DECISION: "waits for a decision",
    WaitKind.SIGNAL: "waits for a signal",
    WaitKind.DELAY: "waits until {until}",
    WaitKind.WORKFLOW: "waits for its sub-workflow",
}
_SKIPPED: Mapping[str, str] = {
    SkipReason.WHEN: ", because its condition isn't true",
    SkipReason.MANUAL: ", because a person has skipped it",
}
_STYLES = {
    EventType.STEP_COMPLETED: "green",
    EventType.STEP_FAILED: "red",
    EventType.STEP_RETRYING: "yellow",
}


class RunProgress(Protocol):
    """An output that shows the progress of a workflow."""

    def show(self, event: HistoryEvent | EventPublic) -> None:
        """Show the next event of the workflow."""


def advice_of_service(workflow_id: object) -> str:
    """Return what ends a wait of a workflow that a service runs."""
    choices = f"`stepwell decisions {workflow_id}` shows the choices"
    return f"decide with `stepwell decide` ({choices}), or send the signal with `stepwell signal`"


@contextmanager
def progress_display(total_steps: int, advice: str) -> Iterator[RunProgress]:
    """Yield the display that suits stderr. It ends with the context.

    *advice* says what ends a wait for a decision or a signal. It is shown once, after the first such wait.
    """
    if not sys.stderr.isatty():
        yield _Lines(advice)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        yield _Terminal(bar, total_steps, advice)


class _EventLines:
    """Describes events in words. It keeps the start times of running steps and items, by their names."""

    def __init__(self, advice: str) -> None:
        self.running: dict[str, datetime] = {}
        self._advice = advice

    def lines(self, event: HistoryEvent | EventPublic) -> list[str]:
        """Return the lines for *event*; none if it isn't about a step."""
        if event.step_id is None or event.type not in _WORDS:
            return []
        lines = [self._line(event, event.step_id)]
        if event.data.get("waits_for") in (WaitKind.DECISION, WaitKind.SIGNAL) and self._advice:
            lines.append(printable(self._advice))
            self._advice = ""
        return lines

    def _line(self, event: HistoryEvent | EventPublic, step_id: str) -> str:
        item = event.data.get("item")
        name = step_id if item is None else f"{step_id}, item {item}"
        if event.type in (EventType.STEP_STARTED, EventType.STEP_WAITING):
            self.running.setdefault(name, event.at)
            duration = ""
        else:
            began = self.running.pop(name, None)
            duration = f" ({(event.at - began).total_seconds():.1f} s)" if began else ""
        optional = ", which is optional" if event.data.get("optional") else ""
        why = _SKIPPED.get(str(event.data.get("reason")), "")
        words = _WAITS.get(event.data.get("waits_for", ""), _WORDS[event.type]).format(until=event.data.get("until"))
        return printable(f"{name}: {words}{optional}{why}{duration}")


def _is_done(event: HistoryEvent | EventPublic) -> bool:
    """Return whether the step of *event* counts as progress from now on: as in the `progress` of the API."""
    if event.data.get("item") is not None:
        return False
    match event.type:
        case EventType.STEP_FAILED:
            return event.data.get("optional") is True
        case EventType.STEP_SKIPPED:
            return event.data.get("reason") != SkipReason.FAILURE
    return event.type is EventType.STEP_COMPLETED


class _Lines:
    def __init__(self, advice: str) -> None:
        self._steps = _EventLines(advice)

    def show(self, event: HistoryEvent | EventPublic) -> None:
        for line in self._steps.lines(event):
            print_message(line)


class _Terminal:
    def __init__(self, bar: Bar, total_steps: int, advice: str) -> None:
        self._steps, self._bar = _EventLines(advice), bar
        self._task, self._total = bar.add_task("", total=total_steps), total_steps

    def show(self, event: HistoryEvent | EventPublic) -> None:
        if event.type is EventType.WORKFLOW_COMPLETED:
            self._bar.update(self._task, completed=self._total)
        lines = self._steps.lines(event)
        if not lines:
            return
        if _is_done(event):
            self._bar.advance(self._task)
        if event.type is not EventType.STEP_STARTED:
            self._bar.console.print(Text("\n".join(lines), style=_STYLES.get(event.type, "")))
        names = [printable(step_id) for step_id in list(self._steps.running)[:_NAMED]]
        more = len(self._steps.running) - len(names)
        self._bar.update(self._task, description=", ".join(names) + (f" and {more} more" if more > 0 else ""))
