"""Structs of the API as the tests of displays need them."""

from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any
from uuid import UUID

from rich.console import Console, RenderableType

from stepwell.contract.enums import EventType, StepStatus, WorkflowStatus
from stepwell.contract.events import EventPublic
from stepwell.contract.workflows import WorkflowPublic, WorkflowStepPublic

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
WORKFLOW_ID = UUID("019ac000-0000-7000-8000-0000deadbeef")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def step(
    step_id: str, *dependencies: str, status: str = "PENDING", at: float = 0, **members: Any
) -> WorkflowStepPublic:
    content: dict[str, Any] = {
        "id": UUID(int=1),
        "step_id": step_id,
        "task_type": "GENERATION",
        "config": {},
        "dependencies": list(dependencies),
        "input_mappings": [],
        "status": StepStatus(status),
        "retry_count": 0,
        "max_retries": 3,
        "created_at": START,
        "updated_at": after(at),
    }
    return WorkflowStepPublic(**content | members)


def workflow(*steps: WorkflowStepPublic, status: str = "RUNNING", at: float = 0, **members: Any) -> WorkflowPublic:
    content: dict[str, Any] = {
        "id": WORKFLOW_ID,
        "name": "Fashion pipeline",
        "status": WorkflowStatus(status),
        "total_steps": len(steps),
        "completed_steps": sum(each.status is StepStatus.COMPLETED for each in steps),
        "progress": 0.0,
        "config": {},
        "suppress_subtask_events": True,
        "origin_instance": "tests",
        "errors": [],
        "created_at": START,
        "started_at": START,
        "updated_at": after(at),
        "steps": list(steps),
    }
    return WorkflowPublic(**content | members)


def event(number: int, type_: str, at: float, step_id: str | None = None, **data: Any) -> EventPublic:
    return EventPublic(number, EventType(type_), after(at), step_id, None, "service", data)


def rendered(content: RenderableType, width: int = 80) -> list[str]:
    """The lines of *content*, without spaces at their ends."""
    console = Console(width=width, file=StringIO(), markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(content)
    return [line.rstrip() for line in capture.get().rstrip("\n").split("\n")]
