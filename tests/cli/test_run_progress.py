"""The progress of `run`, on a terminal."""

import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.cli.run_progress import progress_display
from stepwell.contract.enums import EventType
from stepwell.lifecycle.model import HistoryEvent

AT = datetime(2026, 1, 1, tzinfo=UTC)


def event(kind: EventType, step_id: str | None = None, **data: Any) -> HistoryEvent:
    return HistoryEvent(1, kind, AT, step_id, None, "service", data)


def test_the_bar_counts_what_is_done_and_is_full_when_the_workflow_has_completed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    events = [
        event(EventType.STEP_COMPLETED, "a"),
        event(EventType.STEP_FAILED, "b", error="no"),
        event(EventType.STEP_FAILED, "c", error="no", optional=True),
        event(EventType.STEP_SKIPPED, "d", reason="failure"),
        event(EventType.STEP_SKIPPED, "e", reason="dependency"),
    ]
    for more, counted in (([], "3/5"), ([event(EventType.WORKFLOW_COMPLETED)], "5/5")):
        with progress_display(5, "") as progress:
            for each in [*events, *more]:
                progress.show(each)
        assert re.findall(r"\d/5", capsys.readouterr().err)[-1] == counted


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_wait_is_named_and_the_first_that_somebody_must_end_has_advice(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_terminal: bool,  # noqa: FBT001
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    monkeypatch.setenv("TERM", "dumb")
    events = [
        event(EventType.STEP_WAITING, "a", waits_for="delay", until="2026-01-02T00:00:00Z"),
        event(EventType.STEP_WAITING, "b", waits_for="workflow"),
        event(EventType.STEP_WAITING, "c", waits_for="signal"),
        event(EventType.STEP_WAITING, "d", waits_for="decision"),
    ]
    with progress_display(4, "somebody must act") as progress:
        for each in events:
            progress.show(each)
    lines = [line.removeprefix("stepwell: ") for line in capsys.readouterr().err.splitlines()]
    assert [line for line in lines if "waits" in line or "somebody" in line] == [
        "a: waits until 2026-01-02T00:00:00Z",
        "b: waits for its sub-workflow",
        "c: waits for a signal",
        "somebody must act",
        "d: waits for a decision",
    ]
