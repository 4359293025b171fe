"""The progress of `run`, on a terminal."""

import re
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from stepwell.cli.run_progress import progress_display
from stepwell.contract.enums import EventType
from stepwell.domain.model import HistoryEvent

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
        with progress_display(5) as progress:
            for each in [*events, *more]:
                progress.show(each)
        assert re.findall(r"\d/5", capsys.readouterr().err)[-1] == counted
