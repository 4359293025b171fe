"""The responses about tasks, and their costs. A task is one attempt at a step."""

from datetime import date
from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from stepwell.contract.enums import CancelReceipt, TaskPhase, TaskStatus
from stepwell.contract.fields import ExactNumber, Time, about


class Cost(Struct, frozen=True):
    """The cost of an attempt. `source`: the provider reported it, or the prices in the service's settings give it."""

    amount: float
    currency: str
    source: Literal["provider", "settings"]


class Money(Struct, frozen=True):
    amount: float
    currency: str


class CostSums(Struct, frozen=True):
    """The cost of the attempts of a workflow or step, one sum for each currency. `unknown_attempts` is the number of
    attempts whose cost isn't known.
    """

    amounts: tuple[Money, ...] = ()
    unknown_attempts: int = 0


class BudgetPart(Struct, frozen=True):
    """What a budget has in one currency, or in attempts at providers. `reserved` is for attempts under way. An attempt
    whose cost isn't known counts as spent with its expected price if its provider may have charged it.
    """

    maximum: Annotated[float | None, about("null without a limit")]
    spent: float
    reserved: float


class BudgetStatus(Struct, frozen=True, kw_only=True):
    """A budget and its use. `costs` has a part for each currency."""

    costs: dict[str, BudgetPart]
    attempts: BudgetPart


class WorkflowBudget(BudgetStatus, frozen=True, kw_only=True):
    """The budget of a workflow with its sub-workflows. `workflow_id` is the one at the top."""

    workflow_id: UUID
    on_exceeded: Literal["pause", "fail"]


class CostGroup(Struct, kw_only=True):
    """The sum of the costs of some attempts, and of what reuse saved, in one currency. It has those of the first five
    members that `by` names.
    """

    tenant: Annotated[str | None, about("null: workflows without a tenant")] | UnsetType = UNSET
    provider: str | UnsetType = UNSET
    model: Annotated[str, about("The first 255 characters of the model's name")] | UnsetType = UNSET
    day: Annotated[date, about("The day (UTC) on which the attempts ended")] | UnsetType = UNSET
    definition: Annotated[str | None, about("The name of the stored definition; null: runs of none")] | UnsetType = (
        UNSET
    )
    currency: str
    amount: ExactNumber
    attempts: Annotated[int, about("The number of attempts whose cost is known")]
    saved: Annotated[ExactNumber, about("What results that were taken over cost then")]


class CostsResponse(Struct):
    """Sums of costs, in the order of the members that `by` names, then by currency."""

    costs: list[CostGroup]


class Output(Struct, frozen=True):
    """A stored file of a task. `path` is `media/{task_id}/{name}`, `size` in bytes, `sha256` in hex."""

    path: str
    size: int
    sha256: str


class TaskPublic(Struct, kw_only=True):
    """One attempt at a step, or at one of its items."""

    id: UUID
    workflow_id: UUID
    step_id: str
    item: Annotated[int | None, about("The number of its item, from 0; null if the step has no items")]
    task_type: str
    attempt: int
    provider: str | None
    status: TaskStatus
    phase: TaskPhase
    seed: Annotated[
        int | None, about("The seed of the attempt: that of its inputs, else a random one; null without a provider")
    ]
    remote_id: str | None
    outcome_unknown: bool
    cancel_receipt: CancelReceipt | None
    model: Annotated[str, about("The model requested from the provider; null before a request is sent")] | None
    sent_at: Time | None
    cost: Annotated[Cost, about("Null if it isn't known, or not yet")] | None
    outputs: list[Output]
    error: str | None
    started_at: Time | None
    completed_at: Time | None
    created_at: Time
    is_deleted: bool
    deleted_at: Time | None


class TaskListResponse(Struct):
    tasks: list[TaskPublic]
