"""What a reader of a workflow's history alone arrives at."""

from collections.abc import Iterable

from stepwell.contract.enums import EventType, StepStatus, WorkflowStatus
from stepwell.lifecycle.model import HistoryEvent

_STEP_STATUS = {
    EventType.STEP_STARTED: StepStatus.RUNNING,
    EventType.STEP_RETRYING: StepStatus.RUNNING,
    EventType.STEP_REPEATING: StepStatus.RUNNING,
    EventType.STEP_WAITING: StepStatus.RUNNING,
    EventType.STEP_COMPLETED: StepStatus.COMPLETED,
    EventType.STEP_FAILED: StepStatus.FAILED,
    EventType.STEP_SKIPPED: StepStatus.SKIPPED,
    EventType.STEP_CANCELLED: StepStatus.CANCELLED,
}
_WORKFLOW_STATUS = {
    EventType.WORKFLOW_CREATED: WorkflowStatus.PENDING,
    EventType.WORKFLOW_STARTED: WorkflowStatus.RUNNING,
    EventType.WORKFLOW_RESUMED: WorkflowStatus.RUNNING,
    EventType.WORKFLOW_PAUSED: WorkflowStatus.PAUSED,
    EventType.WORKFLOW_COMPLETED: WorkflowStatus.COMPLETED,
    EventType.WORKFLOW_FAILED: WorkflowStatus.FAILED,
    EventType.WORKFLOW_CANCELLED: WorkflowStatus.CANCELLED,
}
# These tell of an attempt, and leave the step as it is.
OF_ATTEMPTS = (EventType.STEP_SUBMITTED, EventType.STEP_OUTCOME_UNKNOWN, EventType.STEP_CANCEL_SETTLED)


def fold(events: Iterable[HistoryEvent], step_ids: Iterable[str]) -> tuple[WorkflowStatus, list[StepStatus]]:
    """The statuses that a reader of the history alone arrives at, those of the steps in the order of *step_ids*."""
    workflow = WorkflowStatus.PENDING
    of = dict.fromkeys(step_ids, StepStatus.PENDING)
    for event in events:
        workflow = _WORKFLOW_STATUS.get(event.type, workflow)
        if event.step_id is not None and event.type not in OF_ATTEMPTS and "item" not in event.data:
            held = event.data.get("held_back") is True
            of[event.step_id] = StepStatus.PENDING if held else _STEP_STATUS[event.type]
        if isinstance(held_back := event.data.get("held_back"), list):
            of |= dict.fromkeys(held_back, StepStatus.PENDING)
        if event.type is EventType.WORKFLOW_RESUMED:
            stay = {*event.data.get("still_skipped", ()), *event.data.get("still_failed", ())}
            ended = (StepStatus.COMPLETED, StepStatus.RUNNING)
            again = [k for k, v in of.items() if v not in ended and k not in stay]
            of |= dict.fromkeys(again, StepStatus.PENDING)
    return workflow, list(of.values())
