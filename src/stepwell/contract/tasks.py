"""The answers about tasks. A task is one attempt at a step."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.costs import Cost
from stepwell.contract.enums import CancelReceipt, TaskPhase, TaskStatus
from stepwell.contract.fields import Time


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
    item: Annotated[int | None, Meta(description="The number of its item, from 0; null if the step has no items")]
    task_type: str
    attempt: int
    provider: str | None
    status: TaskStatus
    phase: TaskPhase
    seed: Annotated[
        int | None,
        Meta(description="The seed of the attempt: that of its inputs, else a random one; null without a provider"),
    ]
    remote_id: str | None
    outcome_unknown: bool
    cancel_receipt: CancelReceipt | None
    model: (
        Annotated[str, Meta(description="The model requested from the provider; null before a request is sent")] | None
    )
    sent_at: Time | None
    cost: Annotated[Cost, Meta(description="Null if it isn't known, or not yet")] | None
    outputs: list[Output]
    error: str | None
    started_at: Time | None
    completed_at: Time | None
    created_at: Time
    is_deleted: bool
    deleted_at: Time | None


class TaskListResponse(Struct):
    tasks: list[TaskPublic]
