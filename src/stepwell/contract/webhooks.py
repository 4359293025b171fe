"""The bodies of webhooks, and the answers about their deliveries."""

from typing import Annotated
from uuid import UUID

from msgspec import Meta, Struct

from stepwell.contract.enums import DeliveryStatus, EventType
from stepwell.contract.events import EventPublic
from stepwell.contract.fields import Time
from stepwell.contract.workflows import WorkflowPublic


class DeliveryAttemptPublic(Struct):
    """One try to send a webhook."""

    at: Time
    code: Annotated[int, Meta(description="The status of the answer; null without one")] | None
    latency_ms: int | None
    answer: Annotated[str, Meta(description="The first kB of the answer, as text")] | None
    error: Annotated[str, Meta(description="Why there was no answer")] | None


class DeliveryPublic(Struct):
    """A webhook: sent, or to be sent."""

    id: Annotated[str, Meta(description="What stands in the header webhook-id")]
    event_id: Annotated[int, Meta(description="Of what it tells: the event's number in the workflow's history")]
    type: EventType
    status: Annotated[
        DeliveryStatus,
        Meta(description="FAILED: no try is left. STOPPED: answered with 410, or there was no webhook_url any more"),
    ]
    next_at: Annotated[Time, Meta(description="When it is tried next; null when it isn't")] | None
    created_at: Time
    attempts: Annotated[list[DeliveryAttemptPublic], Meta(description="In their order; the newest 50")]


class DeliveryListResponse(Struct):
    deliveries: list[DeliveryPublic]
    has_more: Annotated[bool, Meta(description="Whether there are later ones: after the last one's event_id")]


class StepNoticeData(Struct):
    workflow_id: UUID
    origin_reference: str | None
    origin_instance: str
    event: EventPublic


class WorkflowNotice(Struct):
    """A workflow has ended; `data` is the workflow as GET showed it at the first try."""

    type: EventType
    timestamp: Time
    data: WorkflowPublic


class StepNotice(Struct):
    """Something has happened to a step. Sent only with suppress_subtask_events false."""

    type: EventType
    timestamp: Time
    data: StepNoticeData
