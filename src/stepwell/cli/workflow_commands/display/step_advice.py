"""Advice about the reasons for which a workflow or a step doesn't progress: the command or the setting that helps."""

from uuid import UUID

from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.contract.reasons import (
    BreakerOpen,
    DatabaseAway,
    DiskIsFull,
    FailedElsewhere,
    HasFailed,
    IsPaused,
    NotStarted,
    OutcomeNotKnown,
    RateLimited,
    RunsHere,
    StepReason,
    WaitsForAdmission,
    WaitsForSlot,
    WaitsForSteps,
    WorkflowReason,
)

_SLOT_SETTINGS = {
    "total": "STEPWELL_MAX_RUNNING_STEPS",
    "provider": "STEPWELL_MAX_STEPS_PER_PROVIDER",
    "model": "STEPWELL_LIMITS",
    "tenant": "STEPWELL_MAX_STEPS_PER_TENANT",
}
_LOCAL_SETTING = "STEPWELL_MAX_LOCAL_STEPS"


def workflow_advice(reason: WorkflowReason, workflow_id: UUID) -> str | None:
    """Return what to do about the reason of a workflow; None if the user can only wait."""
    return _shared_advice(reason, short_id(workflow_id))


def step_advice(reason: StepReason, workflow_id: UUID) -> str | None:
    """Return what to do about the reason of a step; None if the user can only wait."""
    end = short_id(workflow_id)
    match reason:
        case WaitsForSteps(stuck=[_, *_]):
            return f"Remove the cause, then: stepwell resume {end}"
        case WaitsForSlot():
            setting = _LOCAL_SETTING if reason.limit == "provider" and reason.provider == "LOCAL" else None
            return f"It starts when a slot is free. The limit: {setting or _SLOT_SETTINGS[reason.limit]}"
        case RateLimited():
            return f"It starts by itself. The limit: {_SLOT_SETTINGS['model']}"
        case BreakerOpen():
            return "It is tried again by itself. For the failures: stepwell providers"
        case OutcomeNotKnown():
            return f"To end it without the answer: stepwell cancel {end}"
        case RunsHere(doing="waiting_for_memory"):
            return "It continues when other work has ended. The limit: STEPWELL_MEMORY_MAX_BYTES"
    return _shared_advice(reason, end)


def _shared_advice(reason: WorkflowReason | StepReason, end: str) -> str | None:
    match reason:
        case NotStarted():
            return f"To start it: stepwell start {end}"
        case IsPaused():
            return f"To continue it: stepwell resume {end}"
        case HasFailed() | FailedElsewhere():
            return f"Remove the cause, then: stepwell resume {end}"
        case WaitsForAdmission():
            return "It starts when other workflows have ended. The limit: STEPWELL_MAX_ACTIVE_WORKFLOWS"
        case DatabaseAway():
            return "Check PostgreSQL. Everything continues once it answers."
        case DiskIsFull():
            return "Free space on the database's disk. Everything continues after that."
    return None
