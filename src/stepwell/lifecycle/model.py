"""The state of a workflow, its steps and its tasks: what changes while it runs."""

from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType, field

from stepwell.contract.enums import (
    CancelReceipt,
    EventType,
    ProviderType,
    SkipReason,
    StepStatus,
    TaskPhase,
    TaskStatus,
    TaskType,  # noqa: F401 - plug-ins import it from here
    WaitKind,
    WorkflowStatus,
)
from stepwell.contract.tasks import Cost, Money, Output


class WorkflowState(Struct):
    """The changing columns of a workflow's row. `last_event` is the number of its last event, and versions the row.

    `wake_at` is None unless the workflow is parked: it only waits, and has no owner. It then needs a process at that
    time, or never (`NEVER`) unless something from outside wakes it. `child_ended_seen` is how many ends of
    sub-workflows its process has seen. `parent_id` and `depth`, the number of its ancestors, never change: they are
    None and 0 unless it is a sub-workflow.
    """

    id: UUID
    status: WorkflowStatus
    name: str
    description: str | None = None
    webhook_url: str | None = None
    completed_steps: int = 0
    execution_id: UUID | None = None
    failure: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None
    deleted_at: datetime | None = None
    deadline_at: datetime | None = None
    timeout_left_s: float | None = None
    owner: UUID | None = None
    epoch: int = 0
    last_event: int = 0
    crashes: int = 0
    wake_at: datetime | None = None
    child_ended_seen: int = 0
    parent_id: UUID | None = None
    depth: int = 0

    @property
    def waits_for_admission(self) -> bool:
        """True if the workflow is RUNNING, and waits for a process with free slots."""
        return self.status is WorkflowStatus.RUNNING and self.owner is None and self.wake_at is None

    @property
    def pauses_for_budget(self) -> bool:
        """True if the workflow is PAUSED because a budget has no room. `failure` says which."""
        return self.status is WorkflowStatus.PAUSED and self.failure is not None


NEVER: Final = datetime.max.replace(tzinfo=UTC)


class Wait(Struct, frozen=True):
    """The wait of a step for a decision, a signal or a time. A step that waits again has another `id`.

    `until` is None if it waits without limit. `on_timeout` is the choice that the time-out takes, or "fail" or
    "continue". `rejects`: the choice "reject" fails the step. People see `message`. `fingerprint` is that of all they
    see; None unless they decide.
    """

    id: UUID
    kind: WaitKind
    since: datetime
    until: datetime | None = None
    choices: tuple[str, ...] = ()
    on_timeout: str = "fail"
    rejects: bool = True
    message: str | None = None
    fingerprint: str | None = None


class Outage(Struct, frozen=True):
    """The time in which an attempt is tried again because its provider is away."""

    since: datetime
    until: datetime


class ReuseRule(Struct, frozen=True):
    """The earlier run whose results a run takes over. The steps of `always_run` run all the same, by id."""

    from_: UUID = field(name="from")
    always_run: tuple[str, ...] = ()


class UnitKey(NamedTuple):
    """The key of a step or an item: the position of the step, and the number of the item; None for a step."""

    step: int
    item: int | None


class Reused(Struct, frozen=True):
    """A result that was taken over. `source` is the key that it has in the run of `ReuseRule.from_`.

    The attempt `task_id` of `workflow_id` has made the result, in that run or in an earlier one. `task_id` is None for
    a decision. `saved` is its cost; None if that isn't known. `outputs` are the files that the result names.
    """

    workflow_id: UUID
    task_id: UUID | None
    source: UnitKey
    fingerprint: str
    saved: Money | None = None
    outputs: tuple[Output, ...] = ()


class FlowState(Struct, frozen=True):
    """The state of a step's flow control. It is replaced as a whole, because copies of a step share it.

    `items` is the number of its items, None before they are known. `run` counts the ended runs of a step that repeats.
    `candidate_bytes` is the size of the best result so far, None without one, and `best` its number. `child` is the id
    of the sub-workflow of the present run; None before the first attempt at it. `child_since` is the time from which
    the present attempt waits for it; None before it exists. `outage` began with the first try of this execution of
    which nothing was sent; the step of any workflow may have that. `reused` is None unless the result was taken over.
    `given_by` is the person who has given the result by hand; None without one. `decision` is the
    fingerprint of the wait in which a person has decided.
    """

    wait: Wait | None = None
    items: int | None = None
    run: int = 0
    candidate_bytes: int | None = None
    best: float | None = None
    child: UUID | None = None
    child_since: datetime | None = None
    outage: Outage | None = None
    reused: Reused | None = None
    given_by: str | None = None
    decision: str | None = None


NO_FLOW: Final = FlowState()


class ShownWait(Struct, frozen=True):
    """The part of a wait that people see who decide. `inputs` is an encoded JSON object."""

    message: str | None = None
    inputs: bytes = b"{}"


class StoredSignal(Struct, frozen=True):
    """A signal that arrived before its step waited for it. `data` is encoded JSON."""

    data: bytes
    by: str
    at: datetime


class StepState(Struct, gc=False):
    """The changing columns of a step's row.

    `attempt` counts all attempts. `provider_attempts` counts those of the present provider in this execution.
    `retry_count` counts those of this execution, minus one for each provider used. `skip_reason` is None unless the
    step is SKIPPED. `flow` is None unless the step waits or repeats, or a person has given its result. In that case
    `task_id` is None, because no attempt has made the result.
    """

    position: int
    status: StepStatus = StepStatus.PENDING
    task_id: UUID | None = None
    attempt: int = 0
    provider_attempts: int = 0
    retry_count: int = 0
    on_fallback: bool = False
    next_attempt_at: datetime | None = None
    result: bytes | None = None
    error_message: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    updated_at: datetime | None = None
    skip_reason: SkipReason | None = None
    flow: FlowState | None = None


class ItemKey(NamedTuple):
    """The key of an item: the position of its step, and its index among the items of the step."""

    step: int
    item: int


class ItemState(StepState, kw_only=True, gc=False):
    """The changing columns of an item's row. Its `position` is one of its own, after those of the steps.

    `value` is encoded JSON.
    """

    item_key: ItemKey
    value: bytes


class Sent(Struct, frozen=True):
    """A request to a provider, committed before its first byte is sent.

    `digest` is the SHA-256 of the canonical JSON of its body. `at` is the time just before it was sent. `on_fallback`:
    it was sent to the step's fallback provider. `price` is the expected cost if it depends on the inputs of the
    attempt. `reserved`: money, or an attempt, is reserved in a budget.
    """

    model: str
    digest: str
    at: datetime
    on_fallback: bool = False
    price: Cost | UnsetType = UNSET
    reserved: bool | UnsetType = UNSET


class Task(Struct):
    """One attempt at a step.

    `seed` is stored with INTENT, so that a recovery renders the same image. `sent` is None until a request is about to
    be sent to a provider; `remote_id` and `urls` are None until the provider has answered. If an attempt was
    abandoned with a job at a provider, it is followed up until `follow_up_until`, or until its `cancel_receipt` is
    final; `follow_up_until` is then None. `item_key` is that of its item; None if it is no item's. Attempts with equal
    `fingerprint` do equal work; it is None without a provider, and before the inputs are known.
    """

    id: UUID
    position: int
    attempt: int
    provider: ProviderType | None
    status: TaskStatus = TaskStatus.RUNNING
    phase: TaskPhase = TaskPhase.INTENT
    seed: int | None = None
    sent: Sent | None = None
    remote_id: str | None = None
    urls: dict[str, str] | None = None
    outcome_unknown: bool = False
    cancel_receipt: CancelReceipt | None = None
    follow_up_until: datetime | None = None
    cost: Cost | None = None
    outputs: tuple[Output, ...] = ()
    error: str | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    item_key: ItemKey | None = None
    fingerprint: str | None = None


class HistoryEvent(Struct, frozen=True):
    """One event of a workflow's history, written in the transaction of its transition."""

    id: int
    type: EventType
    at: datetime
    step_id: str | None
    task_id: UUID | None
    actor: str
    data: dict[str, Any]
