"""The inputs of `Run`: everything that can happen to a workflow."""

from datetime import datetime
from typing import Final, TypeAlias
from uuid import UUID

from msgspec import Struct

from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.enums import CancelReceipt, ProviderType
from stepwell.contract.tasks import Cost, Output
from stepwell.lifecycle.model import Reused, Sent, ShownWait

SERVICE = "stepwell"  # the actor of every change that no caller asked for


class Created(Struct, frozen=True):
    actor: str


class Start(Struct, frozen=True, tag="start"):
    """The verb start. `execution_id` is the id of this execution.

    `owner` is the process that will run the workflow. None: the workflow waits until a process admits it.
    """

    actor: str
    execution_id: UUID
    owner: UUID | None


class Pause(Struct, frozen=True, tag="pause"):
    actor: str


class Resume(Struct, frozen=True, tag="resume"):
    """The verb resume. `owner` and `execution_id` as in `Start`."""

    actor: str
    execution_id: UUID
    owner: UUID | None


class Cancel(Struct, frozen=True, tag="cancel"):
    actor: str


class Cleanup(Struct, frozen=True, tag="cleanup"):
    """The verb cleanup. `cleanup_tasks`: the engine deletes the tasks and their files afterwards."""

    actor: str
    cleanup_tasks: bool


class FilesDeleted(Struct, frozen=True):
    """A cleanup has ended. These are its numbers of files: deleted, gone before it, and kept for other workflows."""

    deleted: int
    gone: int
    kept: int


class Update(Struct, frozen=True, tag="update"):
    actor: str
    changes: WorkflowUpdate


class AttemptInput(Struct, frozen=True):
    """An input about the attempt `task_id` at the step or item at `position`."""

    position: int
    task_id: UUID


class Dispatched(AttemptInput, frozen=True):
    """A ready step has got a slot. `task_id` and `seed` are those of the attempt that may start now.

    `in_process`: the attempt works in this process, so nothing has to be ended elsewhere if it is cancelled.
    """

    seed: int | None
    in_process: bool = False


class Computed(AttemptInput, frozen=True):
    """A ready step without a provider and without flow control has its result: its attempt began and succeeded."""

    result: bytes


class Diverted(Struct, frozen=True):
    """A ready step uses its fallback provider, because the circuit breaker of `model` at `provider` is open."""

    position: int
    provider: ProviderType
    model: str


class SeedResolved(AttemptInput, frozen=True):
    """The inputs of the attempt have a seed of their own, which replaces the random one in the task."""

    seed: int


class FingerprintComputed(AttemptInput, frozen=True):
    """The inputs of the attempt are known, and with them the fingerprint of its work."""

    fingerprint: str


class Sending(AttemptInput, frozen=True):
    """A request is sent to a provider as soon as this is committed. `sent` is None if it was not sent after all."""

    sent: Sent | None


class OutcomeLost(AttemptInput, frozen=True):
    """A request was sent, and its response is lost or says nothing about the outcome."""

    error: str


class Submitted(AttemptInput, frozen=True):
    """The provider has accepted a job for the attempt. This may arrive after the attempt was abandoned."""

    remote_id: str
    urls: dict[str, str]


class Progressed(AttemptInput, frozen=True):
    """The provider reports progress: `progress` is from 0 to 1, `word` is its own word for what the job does."""

    progress: float
    word: str


class RemoteEnded(AttemptInput, frozen=True):
    """The job has ended at the provider. Its result has yet to be fetched."""


class FollowUpEnded(AttemptInput, frozen=True):
    """The follow-up of an abandoned attempt has ended: `receipt` is final."""

    receipt: CancelReceipt
    cost: Cost | None = None


class RunVerdict(Struct, frozen=True):
    """The values of the expressions of a `repeat` over a result.

    `done` is the truth of `until`. `best` is the value of `best`; None if there is no such expression, or if its value
    is no number.
    """

    done: bool
    best: float | None = None


class Succeeded(AttemptInput, frozen=True):
    """An attempt has succeeded. `result` is an encoded JSON object. `verdict` is None unless the step repeats."""

    result: bytes
    outputs: tuple[Output, ...] = ()
    cost: Cost | None = None
    verdict: RunVerdict | None = None


class AttemptFailed(AttemptInput, frozen=True):
    """An attempt has failed. `jitter`, from 0 to below 1, spreads the backoff.

    `timed_out`: the attempt's time was up; a job may still run at the provider, and `endable` says whether it can be
    ended there. `broken`: a bug of Stepwell or of a provider's code has raised, or the provider is missing, so a
    job may still run too.
    `child_lost`: the sub-workflow is CANCELLED or deleted, so another attempt needs a new one. The other fields are
    those of `errors.AttemptError`; with `provider_away`, the attempt may be tried again instead.
    """

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
    child_lost: bool = False
    provider_away: bool = False


TENANT_BUDGET: Final = "The budget of the tenant for this day (UTC)"


class HeldBack(AttemptInput, frozen=True):
    """An attempt may not send its request, because a budget has no room for it. `why` says which. It begins with
    `TENANT_BUDGET` if that is the one of the tenant.

    `until` is the time of the next try: when the tenant's budget has room again, or soon in a sub-workflow, which the
    workflow at the top pauses. None: the workflow stops. `fails`: it fails then, instead of being paused.
    """

    why: str
    fails: bool = False
    until: datetime | None = None


class ExceedBudget(Struct, frozen=True, tag="exceed_budget"):
    """The verb of the service for the workflow at the top, whose budget has no room for an attempt below it."""

    why: str
    fails: bool = False


class RetryDue(Struct, frozen=True):
    """The time of a step's next attempt has come, or the end of its wait."""

    position: int


class DeadlinePassed(Struct, frozen=True):
    """The workflow's timeout has elapsed."""


class GiveUp(Struct, frozen=True, tag="give_up"):
    """The workflow fails for `reason`: nobody can continue it, or nobody needs it any more.

    With `cancels` it is cancelled instead, even while it is PAUSED: its parent was.
    """

    reason: str
    cancels: bool = False


class TrialBegun(Struct, frozen=True):
    """A trial of the workflow begins: its next death would be number `deaths` in a row. See `unclean_ends`."""

    deaths: int


class WaitTerms(Struct, frozen=True):
    """The terms of a wait that is about to begin, from the evaluated config of its step.

    `id` is that of the new wait. A DELAY has `until`; a decision or a signal may have `timeout_s`. `shown` is what a
    person sees who decides. The other fields are those of `model.Wait`.
    """

    id: UUID
    until: datetime | None = None
    timeout_s: float | None = None
    choices: tuple[str, ...] = ()
    on_timeout: str = "fail"
    rejects: bool = True
    shown: ShownWait = ShownWait()


class Evaluated(Struct, frozen=True):
    """The result of the effect `Evaluate` with that `number`.

    `runs` is whether the condition is true; true without a condition. If it is true, `items` are the encoded items of
    a `for_each`, and `terms` those of a step that waits. `error`: an expression has failed, and so does the step.
    """

    position: int
    number: int
    runs: bool = True
    items: tuple[bytes, ...] | None = None
    terms: WaitTerms | None = None
    error: str | None = None


class ReuseChecked(Struct, frozen=True):
    """The result of the effect `CheckReuse` with that `number`.

    `result` is the encoded result that the step or item takes over, and `reused` says whose it was. Both are None if it
    has to run.
    """

    position: int
    number: int
    reused: Reused | None = None
    result: bytes | None = None


class Decide(Struct, frozen=True, tag="decide"):
    """The verb decide. `wait_id`: the decision is for this wait only. `data` is encoded JSON."""

    actor: str
    position: int
    choice: str
    wait_id: UUID | None = None
    note: str | None = None
    data: bytes = b"null"


class Signal(Struct, frozen=True, tag="signal"):
    """The verb signal. `data` is encoded JSON."""

    actor: str
    name: str
    data: bytes = b"null"


class EndByHand(Struct, frozen=True, tag="end_by_hand"):
    """A person ends the step at `position`, or its item with the index `item`.

    `result` is an encoded JSON object. None skips the step or the item.
    """

    actor: str
    position: int
    item: int | None = None
    result: bytes | None = None


class ChildPausedOrResumed(AttemptInput, frozen=True):
    """The sub-workflow of an attempt is PAUSED, or it isn't, as an effect `PauseOrResumeChild` has demanded."""

    paused: bool


class Park(Struct, frozen=True):
    """The engine wants the workflow to leave memory. It does if it only waits."""


class Unpark(Struct, frozen=True):
    """The process `owner` runs the workflow from now on, because it is about to apply a verb to it.

    Without this, a decision makes a parked workflow wait for admission.
    """

    owner: UUID


Verb: TypeAlias = Created | Start | Pause | Resume | Cancel | Cleanup | Update | Decide | Signal | EndByHand
RemoteInput: TypeAlias = (
    SeedResolved | FingerprintComputed | Sending | OutcomeLost | Submitted | Progressed | RemoteEnded | FollowUpEnded
)
FlowInput: TypeAlias = Evaluated | ReuseChecked | Decide | Signal | ChildPausedOrResumed | Park | Unpark
Input: TypeAlias = (
    Verb
    | FlowInput
    | FilesDeleted
    | Dispatched
    | Computed
    | Diverted
    | RemoteInput
    | Succeeded
    | AttemptFailed
    | HeldBack
    | ExceedBudget
    | RetryDue
    | DeadlinePassed
    | GiveUp
    | TrialBegun
)
