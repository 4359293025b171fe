"""The operations about providers: list those that are configured, and take their reports that a job has changed.

A report, a callback, only makes the service poll the job now. It may be lost, early, repeated or forged. So it changes
only how soon a result is noticed.
"""

from contextlib import suppress

from litestar.types import ASGIApp

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.operations import NoQuery, Operation, endpoint, tagged_read_operation
from stepwell.api.requests.query_parameters import parse_query
from stepwell.api.requests.request_bodies import read_any_body
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.basics.errors import Unavailable
from stepwell.contract.providers import ProviderListResponse
from stepwell.contract.system import Health
from stepwell.rules.access.signed_urls import CALLBACKS_PATH

PROVIDERS = tagged_read_operation(
    path="/api/v1/providers",
    id="list_providers",
    description="The configured providers: what each can do, its limits and load, and its models' circuit breakers, "
    "error rates and latencies in this process.",
    tag="providers",
    response=ProviderListResponse,
)


@endpoint(PROVIDERS)
async def list_providers(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    parse_query(request.scope["query_string"], NoQuery)
    return await respond_unless_known(request, ProviderListResponse(services.providers.statuses(request.user.scope)))


CALLBACK = Operation(
    method="POST",
    path=CALLBACKS_PATH + "{token}",
    id="provider_callback",
    description="For providers. The URL that was sent with the job contains the token. Any body is accepted.",
    tag="callbacks",
    permission=None,
    response=Health,
    problems=(404, 408, 413, 422),
)


@endpoint(CALLBACK)
async def provider_callback(request: ApiRequest, services: ServicesDep) -> Health:
    parse_query(request.scope["query_string"], NoQuery)
    attempt = services.workflows.attempt_of_callback(str(request.path_params["token"]))
    resources = resources_of(request.scope)
    resources.workflow_id = str(attempt[0])
    with suppress(Unavailable):  # in an outage the attempt gets the callback all the same
        await resources.count_for_owner()
    await services.workflows.handle_callback(attempt, await read_any_body(request))
    return Health()
