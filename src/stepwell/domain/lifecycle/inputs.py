"""The inputs of `Run`: everything that can happen to a workflow."""

from typing import TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.contract.costs import Cost
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.enums import CancelReceipt, ProviderType
from stepwell.contract.tasks import Output
from stepwell.domain.model import Sent

SERVICE = "stepwell"  # the actor of what nobody asked for


class Created(Struct, frozen=True):
    actor: str


class Start(Struct, frozen=True):
    """`owner` is the process that will run it, `execution_id` names this execution."""

    actor: str
    execution_id: UUID
    owner: UUID


class Pause(Struct, frozen=True):
    actor: str


class Resume(Struct, frozen=True):
    actor: str
    execution_id: UUID
    owner: UUID


class Cancel(Struct, frozen=True):
    actor: str


class Cleanup(Struct, frozen=True):
    actor: str
    cleanup_tasks: bool


class Update(Struct, frozen=True):
    actor: str
    changes: WorkflowUpdate


class Admitted(Struct, frozen=True):
    """A slot is free for a step that was ready. `task_id` and `seed` are for the attempt that may start now."""

    position: int
    task_id: UUID
    seed: int | None


class Diverted(Struct, frozen=True):
    """A step that was ready goes to its fallback: the breaker of what it would have asked is open."""

    position: int
    provider: ProviderType
    model: str


class Sending(Struct, frozen=True):
    """Something is about to leave for a provider; it leaves once this is committed. Null: it didn't leave after all."""

    position: int
    task_id: UUID
    sent: Sent | None


class OutcomeLost(Struct, frozen=True):
    """It has left, and no answer to go by has come."""

    position: int
    task_id: UUID
    error: str


class Submitted(Struct, frozen=True):
    """The provider has a job for the attempt. It may come after the attempt was given up."""

    position: int
    task_id: UUID
    remote_id: str
    urls: dict[str, str]


class Progressed(Struct, frozen=True):
    """The provider tells how far the job is: `share` is 0 to 1, `word` its own for what it does."""

    position: int
    task_id: UUID
    share: float
    word: str


class RemoteEnded(Struct, frozen=True):
    """The job has done its work; what is left is to fetch it."""

    position: int
    task_id: UUID


class FollowUpEnded(Struct, frozen=True):
    """What has become of the job of an attempt that was given up, for good."""

    position: int
    task_id: UUID
    receipt: CancelReceipt
    cost: Cost | None = None


class Succeeded(Struct, frozen=True):
    """An attempt ended well; `result` is a JSON object, encoded."""

    position: int
    task_id: UUID
    result: bytes
    outputs: tuple[Output, ...] = ()
    cost: Cost | None = None


class AttemptFailed(Struct, frozen=True):
    """An attempt ended badly. `jitter` in [0, 1) spreads the backoff. `timed_out`: its time was up, whatever a provider
    goes on doing; `endable`: what goes on can be ended there. `broken`: by a fault of ours, or of a provider's code,
    which says nothing of what goes on elsewhere. The other fields are `errors.AttemptError`'s.
    """

    position: int
    task_id: UUID
    error: str
    retryable: bool
    provider_fault: bool
    jitter: float
    retry_after_s: float | None = None
    timed_out: bool = False
    broken: bool = False
    endable: bool = True
    cost: Cost | None = None
    request_fault: bool = False


class RetryDue(Struct, frozen=True):
    position: int


class DeadlinePassed(Struct, frozen=True):
    pass


class GiveUp(Struct, frozen=True):
    """The engine can't run this workflow any further, and says why."""

    reason: str


Verb: TypeAlias = Created | Start | Pause | Resume | Cancel | Cleanup | Update
Progress: TypeAlias = Sending | OutcomeLost | Submitted | Progressed | RemoteEnded | FollowUpEnded
Input: TypeAlias = (
    Verb | Admitted | Diverted | Progress | Succeeded | AttemptFailed | RetryDue | DeadlinePassed | GiveUp
)
