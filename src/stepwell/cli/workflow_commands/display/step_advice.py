"""Advice about the reasons for which a workflow or a step doesn't progress: the command or the setting that helps."""

from uuid import UUID

from stepwell.cli.workflow_commands.recent_workflows import short_id
from stepwell.contract import reasons
from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.allowed_verbs import ALLOWED_FROM

_SLOT_SETTINGS = {
    "total": "STEPWELL_MAX_RUNNING_STEPS",
    "provider": "STEPWELL_MAX_STEPS_PER_PROVIDER",
    "model": "STEPWELL_LIMITS",
    "tenant": "STEPWELL_MAX_STEPS_PER_TENANT",
}
_LOCAL_SETTING = "STEPWELL_MAX_LOCAL_STEPS"


def step_advice(reason: reasons.StepReason, workflow_id: UUID, status: WorkflowStatus) -> str | None:
    """Return what to do about the reason of a step; None if the user can only wait. *status* is the workflow's."""
    match reason:
        case reasons.WaitsForSteps(stuck=[_, *_]):
            return _command("Remove the cause, then", "resume", workflow_id, status)
        case reasons.WaitsForSlot():
            setting = _LOCAL_SETTING if reason.limit == "provider" and reason.provider == "LOCAL" else None
            return f"It starts when a slot is free. The limit: {setting or _SLOT_SETTINGS[reason.limit]}"
        case reasons.RateLimited():
            return f"It starts by itself. The limit: {_SLOT_SETTINGS['model']}"
        case reasons.BreakerOpen() | reasons.ProviderAway():
            return "It is tried again by itself. For the failures: stepwell providers"
        case reasons.OutcomeNotKnown():
            return _command("To end it without the answer", "cancel", workflow_id, status)
        case reasons.RunsHere(doing="waiting_for_memory"):
            return "It continues when other work has ended. The limit: STEPWELL_MEMORY_MAX_BYTES"
    return workflow_advice(reason, workflow_id, status)


def workflow_advice(
    reason: reasons.WorkflowReason | reasons.StepReason, workflow_id: UUID, status: WorkflowStatus
) -> str | None:
    """Return what to do about a reason of a workflow in *status*, or of its steps; None if the user can only wait."""
    match reason:
        case reasons.NotStarted():
            return _command("To start it", "start", workflow_id, status)
        case reasons.IsPaused(budget=True):
            return (
                f"To raise the budget and continue: stepwell budget {short_id(workflow_id)} --max-cost USD=… --resume"
            )
        case reasons.IsPaused():
            return _command("To continue it", "resume", workflow_id, status)
        case reasons.HasFailed() | reasons.FailedElsewhere():
            return _command("Remove the cause, then", "resume", workflow_id, status)
        case reasons.WaitsForAdmission():
            return "It starts when other workflows have ended. The limit: STEPWELL_MAX_ACTIVE_WORKFLOWS"
        case reasons.DatabaseAway():
            return "Check PostgreSQL. Everything continues once it responds."
        case reasons.DiskIsFull():
            return "Free space on the database's disk. Everything continues after that."
    return None


def _command(purpose: str, verb: str, workflow_id: UUID, status: WorkflowStatus) -> str | None:
    """Return the command for *verb*; None if *status* doesn't allow it."""
    return f"{purpose}: stepwell {verb} {short_id(workflow_id)}" if status in ALLOWED_FROM[verb] else None
