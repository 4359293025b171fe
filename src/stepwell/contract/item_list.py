"""The answers about the items of a step with `for_each`."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from stepwell.contract.costs import CostSums
from stepwell.contract.enums import StepStatus
from stepwell.contract.fields import Result, Time
from stepwell.contract.workflows import WaitingFor


class ItemPublic(Struct, kw_only=True):
    """One item of a step. Its members are those of a step, beside its number and its value."""

    item: Annotated[int, Meta(description="Its number, from 0")]
    value: Annotated[Any, Meta(description="The item itself, any JSON")]
    status: StepStatus
    waiting_for: (
        Annotated[WaitingFor, Meta(description="The sub-workflow that the item waits for; null if it doesn't wait")]
        | None
    ) = None
    task_id: Annotated[str, Meta(description="The latest task (attempt) of the item")] | None = None
    provider: str | None = None
    model: str | None = None
    cost: (
        Annotated[CostSums, Meta(description="The cost of all its attempts at providers; null if there are none")]
        | None
    ) = None
    result: Result = None
    error_message: str | None = None
    next_attempt_at: Annotated[Time, Meta(description="Between two attempts: when the next one starts")] | None = None
    started_at: Time | None = None
    completed_at: Time | None = None
    retry_count: int
    runs: (
        Annotated[int, Meta(description="How many runs of an item that repeats have ended; null without repeat")] | None
    ) = None


class ItemListResponse(Struct):
    """Items of a step in their order. `total` counts those that match the query."""

    items: list[ItemPublic]
    total: int
    skip: int
    limit: int
