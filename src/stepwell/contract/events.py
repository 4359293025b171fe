"""The answers about events, and the ticket that opens a stream of them."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.enums import EventType
from stepwell.contract.fields import Time


class EventPublic(Struct):
    """One event of a workflow's history. `id` counts from 1 in each workflow."""

    id: int
    type: EventType
    at: Time
    step_id: str | None
    task_id: UUID | None
    actor: str
    data: dict[str, Any]


class EventListResponse(Struct):
    events: list[EventPublic]
    has_more: Annotated[bool, Meta(description="Whether there are later events, after the id of the last one")]


class FeedEventPublic(EventPublic):
    """An event, with its workflow."""

    workflow_id: UUID
    origin_instance: str
    origin_tenant_id: str | None


class EventFeedResponse(Struct):
    events: list[FeedEventPublic]
    cursor: Annotated[str, Meta(description="The position after this page; also given for an empty page")]
    has_more: Annotated[
        bool, Meta(description="Whether there are more events now. A page may be short or empty even so")
    ]


class CreateStreamTicket(Struct, frozen=True, forbid_unknown_fields=True):
    workflow_id: Annotated[UUID, Meta(description="The ticket opens the stream of this workflow alone")] | None = None


class StreamTicket(Struct):
    ticket: str
    expires_at: Annotated[Time, Meta(description="The ticket opens a stream until then")]
