"""The statuses of a workflow from which each verb is allowed."""

from stepwell.basics.errors import InvalidTransition
from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.model import WorkflowState

ALLOWED_FROM = {
    "start": (WorkflowStatus.PENDING,),
    "pause": (WorkflowStatus.RUNNING,),
    "resume": (WorkflowStatus.FAILED, WorkflowStatus.PAUSED),
    "cancel": (WorkflowStatus.PENDING, WorkflowStatus.RUNNING),
    "decide": (WorkflowStatus.RUNNING, WorkflowStatus.PAUSED),
    "signal": (WorkflowStatus.PENDING, WorkflowStatus.RUNNING, WorkflowStatus.PAUSED),
    "give_result": (WorkflowStatus.FAILED, WorkflowStatus.PAUSED),
    "skip": (WorkflowStatus.FAILED, WorkflowStatus.PAUSED),
    "cleanup": tuple(s for s in WorkflowStatus if s is not WorkflowStatus.RUNNING),
    "update": tuple(WorkflowStatus),
    "rerun": (WorkflowStatus.PAUSED, WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.CANCELLED),
    "delete_data": tuple(s for s in WorkflowStatus if s is not WorkflowStatus.RUNNING),
}


def is_allowed(verb: str, state: WorkflowState) -> bool:
    return state.deleted_at is None and state.status in ALLOWED_FROM[verb]


def check_allowed(verb: str, state: WorkflowState, hint: str = "") -> None:
    """Raise `InvalidTransition` if *verb* isn't allowed in the present status. *hint* is for a PAUSED workflow."""
    status, allowed = state.status, ALLOWED_FROM[verb]
    if is_allowed(verb, state):
        return
    if state.deleted_at is not None:
        raise InvalidTransition(verb, status, allowed, deleted=True)
    raise InvalidTransition(verb, status, allowed, hint if status is WorkflowStatus.PAUSED else "")
