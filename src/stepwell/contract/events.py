"""The answers about events, and the ticket that opens a stream of them."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.enums import EventType
from stepwell.contract.fields import Time


class EventPublic(Struct):
    """One line of a workflow's history; `id` numbers them from 1."""

    id: int
    type: EventType
    at: Time
    step_id: str | None
    task_id: UUID | None
    actor: str
    data: dict[str, Any]


class EventListResponse(Struct):
    events: list[EventPublic]
    has_more: Annotated[bool, Meta(description="Whether there are later ones: after the last one's id")]


class FeedEventPublic(EventPublic):
    """An event, and of which workflow."""

    workflow_id: UUID
    origin_instance: str
    origin_tenant_id: str | None


class EventFeedResponse(Struct):
    events: list[FeedEventPublic]
    cursor: Annotated[str, Meta(description="Where to go on from, also when there was nothing")]
    has_more: Annotated[bool, Meta(description="Whether to ask again at once: a page may be short, or empty, before")]


class StreamTicket(Struct):
    ticket: str
    expires_at: Annotated[Time, Meta(description="Until then a stream may be opened with it")]
