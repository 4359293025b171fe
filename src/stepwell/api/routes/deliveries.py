"""The operations on the deliveries of webhooks: list them, and send one again."""

from litestar.types import ASGIApp
from msgspec import json

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import CHANGING
from stepwell.api.requests.operations import NoQuery, Operation, endpoint, tagged_read_operation
from stepwell.api.requests.query_parameters import DeliveriesQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import ignore_empty_body
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.api.responses.idempotency import idempotent
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.events import DeliveryListResponse, DeliveryPublic
from stepwell.contract.scopes import Permission
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.rules.large_workflow_records import FoundWorkflow

TAG = "webhooks"
_ALL = "/api/v1/workflows/{workflow_id}/deliveries"


LIST = tagged_read_operation(
    path=_ALL,
    id="list_deliveries",
    description="The webhooks of a workflow, those sent and those still to be sent, in the order of their events.",
    tag=TAG,
    query=DeliveriesQuery,
    response=DeliveryListResponse,
)
REDELIVER = Operation(
    method="POST",
    path=_ALL + "/{delivery_id}/redeliver",
    id="redeliver",
    description="Sends a webhook again now, whatever its status is. The id and the body stay the same, and it gets as "
    "many attempts as a new one. 409 if the workflow has no webhook_url now.",
    tag=TAG,
    permission=Permission.WRITE,
    response=DeliveryPublic,
    problems=(409,),
    takes=CHANGING,
)


@endpoint(LIST)
async def list_deliveries(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], DeliveriesQuery)
    scope = request.user.scope
    deliveries = await services.webhooks.deliveries(scope, workflow_id, after=query.after, limit=query.limit + 1)
    response = DeliveryListResponse(deliveries[: query.limit], has_more=len(deliveries) > query.limit)
    return await respond_unless_known(request, response)


async def _current_delivery(request: ApiRequest, services: Services, workflow: FoundWorkflow) -> StoredResponse:
    delivery_id = request.path_params["delivery_id"]
    return _delivery_response(await services.webhooks.delivery(request.user.scope, workflow.id, delivery_id))


def _delivery_response(delivery: DeliveryPublic) -> StoredResponse:
    return StoredResponse(200, {}, json.encode(delivery))


@endpoint(REDELIVER)
@idempotent(_current_delivery)
async def redeliver(request: ApiRequest, services: Services, preconditions: Preconditions) -> StoredResponse:
    workflow_id = parse_id(request.path_params["workflow_id"], "delivery")
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    delivery_id = request.path_params["delivery_id"]
    return _delivery_response(
        await services.webhooks.redeliver(request.user.scope, workflow_id, delivery_id, preconditions)
    )
