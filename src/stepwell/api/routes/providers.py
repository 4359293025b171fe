"""The operation that lists the configured providers, with their capabilities, load and health."""

from litestar.types import ASGIApp

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import IF_NONE_MATCH
from stepwell.api.requests.operations import NoQuery, Operation, endpoint
from stepwell.api.requests.query_parameters import parse_query
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.contract.providers import ProviderListResponse
from stepwell.contract.scopes import Permission

PROVIDERS = Operation(
    method="GET",
    path="/api/v1/providers",
    id="list_providers",
    description="The configured providers: what each can do, its limits and load, and its models' circuit breakers, "
    "error rates and latencies in this process.",
    tag="providers",
    permission=Permission.READ,
    answers=ProviderListResponse,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)


@endpoint(PROVIDERS)
async def list_providers(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    parse_query(request.scope["query_string"], NoQuery)
    return await respond_unless_known(request, ProviderListResponse(services.providers.statuses(request.user.scope)))


HANDLERS = (list_providers,)
