"""Webhooks that were sent or will be, to look at and to send again."""

from typing import Annotated

from litestar import Response
from msgspec import Meta, Struct, json

from stepwell.api.conditional_requests import respond_unless_known
from stepwell.api.dependencies import ApiRequest, Service, Workflows
from stepwell.api.headers import CHANGING, IF_NONE_MATCH
from stepwell.api.idempotency import idempotent
from stepwell.api.operations import NoQuery, Operation, Permission, endpoint
from stepwell.api.query_parameters import DeliveriesQuery, parse_id, parse_query
from stepwell.api.request_bodies import ignore_empty_body
from stepwell.api.schemas import Time
from stepwell.domain.idempotency import Preconditions, StoredAnswer
from stepwell.domain.model import EventType
from stepwell.domain.records import WorkflowRecord
from stepwell.domain.webhooks.delivery import DeliveryRecord, DeliveryStatus

TAG = "webhooks"
_ALL = "/api/v1/workflows/{workflow_id}/deliveries"


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


def delivery_to_public(record: DeliveryRecord) -> DeliveryPublic:
    attempts = [
        DeliveryAttemptPublic(tried.at, tried.code, tried.latency_ms, tried.answer, tried.error)
        for tried in record.attempts
    ]
    return DeliveryPublic(
        record.id, record.event_id, record.type, record.status, record.next_at, record.created_at, attempts
    )


LIST = Operation(
    method="GET",
    path=_ALL,
    id="list_deliveries",
    summary="List Deliveries",
    description="The webhooks of a workflow, sent and to be sent, in the order of their events.",
    tag=TAG,
    permission=Permission.READ,
    query=DeliveriesQuery,
    answers=DeliveryListResponse,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)
REDELIVER = Operation(
    method="POST",
    path=_ALL + "/{delivery_id}/redeliver",
    id="redeliver",
    summary="Redeliver",
    description=(
        "Sends a webhook again, now, whatever has become of it: the same id and the same body, and as many tries as a "
        "new one has. 409 if the workflow has no webhook_url now."
    ),
    tag=TAG,
    permission=Permission.WRITE,
    answers=DeliveryPublic,
    problems=(409,),
    takes=CHANGING,
)


@endpoint(LIST)
async def list_deliveries(request: ApiRequest, service: Service) -> Response[bytes]:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], DeliveriesQuery)
    scope = request.user.scope
    records = await service.webhooks.deliveries(scope, workflow_id, after=query.after, limit=query.limit + 1)
    shown = [delivery_to_public(record) for record in records[: query.limit]]
    return await respond_unless_known(request, DeliveryListResponse(shown, len(records) > query.limit))


async def _as_it_is(request: ApiRequest, service: Workflows, workflow: WorkflowRecord) -> StoredAnswer:
    delivery_id = request.path_params["delivery_id"]
    return _shown(await service.webhooks.delivery(request.user.scope, workflow.state.id, delivery_id))


def _shown(record: DeliveryRecord) -> StoredAnswer:
    return StoredAnswer(200, {}, json.encode(delivery_to_public(record)))


@endpoint(REDELIVER)
@idempotent(_as_it_is)
async def redeliver(request: ApiRequest, service: Workflows, terms: Preconditions) -> StoredAnswer:
    workflow_id = parse_id(request.path_params["workflow_id"], "delivery")
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    delivery_id = request.path_params["delivery_id"]
    return _shown(await service.webhooks.redeliver(request.user.scope, workflow_id, delivery_id, terms))


HANDLERS = (list_deliveries, redeliver)
