"""The responses about events, the bodies of webhooks, and the responses about their deliveries."""

from typing import Annotated, Any
from uuid import UUID

from msgspec import UNSET, Struct, UnsetType

from stepwell.contract.enums import DeliveryStatus, EventType
from stepwell.contract.fields import Time, about
from stepwell.contract.workflows import WaitingFor, WorkflowPublic


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
    has_more: Annotated[bool, about("Whether there are later events, after the id of the last one")]


class FeedEventPublic(EventPublic):
    """An event, with its workflow."""

    workflow_id: UUID
    origin_instance: str
    origin_tenant_id: str | None


class EventFeedResponse(Struct):
    events: list[FeedEventPublic]
    cursor: Annotated[str, about("The position after this page; an empty page has one as well")]
    has_more: Annotated[bool, about("Whether there are more events now. A page may be short or empty even so")]


class CreateStreamTicket(Struct, frozen=True, forbid_unknown_fields=True):
    workflow_id: Annotated[UUID, about("The ticket opens the stream of this workflow alone")] | None = None


class StreamTicket(Struct):
    ticket: str
    expires_at: Annotated[Time, about("The ticket opens a stream until then")]


class DeliveryAttemptPublic(Struct, frozen=True):
    """One attempt to send a webhook."""

    at: Time
    code: Annotated[int, about("The status code of the response; null without a response")] | None = None
    latency_ms: int | None = None
    answer: Annotated[str, about("The first kB of the response, as text")] | None = None
    error: Annotated[str, about("Why there was no response")] | None = None


class DeliveryPublic(Struct, frozen=True):
    """A webhook that was sent, or will be."""

    id: Annotated[str, about("The value of the header webhook-id")]
    event_id: Annotated[int, about("The id of its event in the workflow's history")]
    type: EventType
    status: Annotated[
        DeliveryStatus, about("FAILED: no attempt is left. STOPPED: the receiver sent 410, or webhook_url was removed")
    ]
    next_at: Annotated[Time, about("The time of the next attempt; null if there is none")] | None
    created_at: Time
    attempts: Annotated[list[DeliveryAttemptPublic], about("The newest 50, oldest first")]


class DeliveryListResponse(Struct):
    deliveries: list[DeliveryPublic]
    has_more: Annotated[bool, about("Whether there are later deliveries, after the event_id of the last one")]


class StepNoticeData(Struct):
    workflow_id: UUID
    origin_reference: str | None
    origin_instance: str
    event: EventPublic
    waiting_for: (
        Annotated[WaitingFor, about("For step.waiting, as long as the step waits: with the decision_url to decide")]
        | UnsetType
    ) = UNSET


class WorkflowNotice(Struct):
    """A webhook about the end of a workflow. `data` is what GET returned for the workflow at the first attempt to send
    it.
    """

    type: EventType
    timestamp: Time
    data: WorkflowPublic


class StepNotice(Struct):
    """A webhook about an event of a step. It is sent only if suppress_subtask_events is false, or if the step waits
    for a decision or a signal.
    """

    type: EventType
    timestamp: Time
    data: StepNoticeData
