"""Commands: verbs and requests that one process passes to the process that runs the workflow, and their outcomes.

Both are stored as JSON, because processes of different versions may read them.
"""

from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Raw, Struct, json

from stepwell.basics import errors
from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.forecasts import DryRunVerb
from stepwell.contract.workflows import WorkflowCleanupDetail
from stepwell.lifecycle.inputs import (
    Cancel,
    Cleanup,
    Decide,
    EndByHand,
    ExceedBudget,
    GiveUp,
    Pause,
    Resume,
    Signal,
    Start,
    Update,
)
from stepwell.lifecycle.preconditions import Preconditions, Version

ClientVerb: TypeAlias = (
    Start | Pause | Resume | Cancel | Cleanup | Update | Decide | Signal | EndByHand | GiveUp | ExceedBudget
)
"""A verb of a client, `GiveUp` of a parent, or `ExceedBudget` of an attempt below.

The process that applies a `Start` or `Resume` fills in its `owner`.
"""


class ExplainRequest(Struct, frozen=True, tag="explain"):
    """The request to explain why the workflow isn't moving."""


class DryRunRequest(Struct, frozen=True, tag="dry_run"):
    """The request to say what a verb would do.

    `cleanup_tasks` is the parameter of cleanup, and `by_hand` the input of a verb that ends a step by hand.
    """

    verb: DryRunVerb
    cleanup_tasks: bool = False
    by_hand: EndByHand | None = None


OwnerRequest: TypeAlias = ExplainRequest | DryRunRequest
"""A request to the process that runs the workflow. It changes nothing."""


class ProviderCallback(Struct, frozen=True, tag="callback"):
    """A provider's callback about the attempt `task_id`, for the process that waits for the job."""

    task_id: UUID
    body: bytes


class CommandRequest(Struct, frozen=True):
    """A verb, request or callback, the workflows of the caller, and the versions that `If-Match` names (None: any)."""

    verb: ClientVerb | OwnerRequest | ProviderCallback
    scope: TenantScope
    if_match: frozenset[Version] | None = None


class Command(Struct, frozen=True):
    """A request about a workflow that another process runs. `claim` is its idempotency key, if it has one.

    The process that passes it on holds the claim.
    """

    id: UUID
    workflow_id: UUID
    request: CommandRequest
    claim: KeyClaim | None = None

    @property
    def preconditions(self) -> Preconditions:
        return Preconditions(self.claim, self.request.if_match)


class VerbApplied(Struct, frozen=True, tag="applied"):
    """The verb was applied. `changed`: it has changed the workflow.

    `report_follows`: the outcome will be replaced by one with the `report` of the cleanup that the verb has begun.
    """

    changed: bool
    report_follows: bool = False
    report: WorkflowCleanupDetail | None = None


class VerbRefused(Struct, frozen=True, tag="refused"):
    """The verb was refused by the error of the class `error`. The other fields are the error's."""

    error: str
    message: str
    retry_after_s: int | None = None
    verb: str = ""
    current: WorkflowStatus | None = None
    allowed: tuple[WorkflowStatus, ...] = ()
    deleted: bool = False


class RequestServed(Struct, frozen=True, tag="served"):
    """The result of an `OwnerRequest`, as JSON."""

    result: Raw


class CommandWithdrawn(Struct, frozen=True, tag="withdrawn"):
    """The process that has sent the command has taken it back. It will have no effect."""


Outcome: TypeAlias = VerbApplied | VerbRefused | RequestServed | CommandWithdrawn

_ERRORS: Final[dict[str, type[errors.StepwellError]]] = {
    kind.__name__: kind
    for kind in (
        errors.DiskFull,
        errors.InvalidTransition,
        errors.JobFollowedUp,
        errors.NotByHand,
        errors.NotFound,
        errors.NotWaiting,
        errors.PreconditionFailed,
        errors.ReadOnly,
        errors.ResourcesExhausted,
        errors.TooManyRequests,
        errors.Unavailable,
    )
}


class CommandMark(Struct, frozen=True):
    """The mark of a command in the decision that it has led to. It is written in the same transaction."""

    id: UUID
    outcome: Outcome


def refusal_of(error: errors.StepwellError) -> VerbRefused:
    """Return the outcome from which `error_of` makes the same error. An unknown error becomes an `Unavailable`."""
    name, message = type(error).__name__, str(error)
    if isinstance(error, errors.InvalidTransition):
        return VerbRefused(
            name, message, verb=error.verb, current=error.current, allowed=error.allowed, deleted=error.deleted
        )
    if name not in _ERRORS:
        return VerbRefused(errors.Unavailable.__name__, message, 2)
    return VerbRefused(name, message, getattr(error, "retry_after_s", None))


def error_of(refused: VerbRefused) -> errors.StepwellError:
    """Return the error by which another process has refused a verb."""
    kind = _ERRORS.get(refused.error, errors.Unavailable)
    error = kind.__new__(kind)
    Exception.__init__(error, refused.message)  # the message is complete, and most initialisers would add to it
    if isinstance(error, errors.InvalidTransition) and refused.current is not None:
        error.verb, error.current = refused.verb, refused.current
        error.allowed, error.deleted = refused.allowed, refused.deleted
    elif isinstance(error, errors.Unavailable | errors.TooManyRequests):
        error.retry_after_s = refused.retry_after_s or 2
    return error


decode_request = json.Decoder(CommandRequest).decode
_outcomes: json.Decoder[Outcome] = json.Decoder(Outcome)
decode_outcome = _outcomes.decode
