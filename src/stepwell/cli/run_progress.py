"""How `run` shows what happens: a bar on a terminal, else one line an event. On stderr, for stdout is the result's."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from stepwell.cli.output import complain, printable
from stepwell.contract.enums import EventType
from stepwell.domain.model import HistoryEvent

_NAMED = 4
_WORDS = {
    EventType.STEP_STARTED: "started",
    EventType.STEP_RETRYING: "will be tried again",
    EventType.STEP_COMPLETED: "completed",
    EventType.STEP_FAILED: "failed",
    EventType.STEP_SKIPPED: "skipped",
    EventType.STEP_CANCELLED: "cancelled",
}
_STYLES = {
    EventType.STEP_COMPLETED: "green",
    EventType.STEP_FAILED: "red",
    EventType.STEP_RETRYING: "yellow",
}


class RunProgress(Protocol):
    def show(self, event: HistoryEvent) -> None:
        """Take in the next event of the workflow."""


@contextmanager
def progress_display(total_steps: int) -> Iterator[RunProgress]:
    """The display that fits stderr, for as long as the context."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Bar(*columns, console=Console(stderr=True)) as bar:
        yield _Terminal(bar, total_steps)


class _Steps:
    """What each event says, in words; remembers when steps began."""

    def __init__(self) -> None:
        self.running: dict[str, datetime] = {}

    def line(self, event: HistoryEvent) -> str | None:
        """None for what isn't about a step."""
        if event.step_id is None or event.type not in _WORDS:
            return None
        if event.type is EventType.STEP_STARTED:
            self.running.setdefault(event.step_id, event.at)
            took = ""
        else:
            began = self.running.pop(event.step_id, None)
            took = f" ({(event.at - began).total_seconds():.1f} s)" if began else ""
        return printable(f"{event.step_id}: {_WORDS[event.type]}{took}")


class _Lines:
    def __init__(self) -> None:
        self._steps = _Steps()

    def show(self, event: HistoryEvent) -> None:
        if line := self._steps.line(event):
            complain(line)


class _Terminal:
    def __init__(self, bar: Bar, total_steps: int) -> None:
        self._steps, self._bar = _Steps(), bar
        self._task = bar.add_task("", total=total_steps)

    def show(self, event: HistoryEvent) -> None:
        line = self._steps.line(event)
        if line is None:
            return
        if event.type is EventType.STEP_COMPLETED:
            self._bar.advance(self._task)
        if event.type is not EventType.STEP_STARTED:
            self._bar.console.print(Text(line, style=_STYLES.get(event.type, "")))
        names = [printable(step_id) for step_id in list(self._steps.running)[:_NAMED]]
        more = len(self._steps.running) - len(names)
        self._bar.update(self._task, description=", ".join(names) + (f" and {more} more" if more > 0 else ""))
