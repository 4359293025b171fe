"""The operation that shows a tenant its limits, and the `RateLimit` headers of create and start.

The headers follow draft-ietf-httpapi-ratelimit-headers-11: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

from typing import Annotated

from litestar import Response
from litestar.types import HTTPResponseStartEvent, Scope
from msgspec import Meta, Struct

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.operations import Operation, endpoint
from stepwell.api.requests.query_parameters import parse_query
from stepwell.contract.scopes import Permission
from stepwell.contract.system import Limits
from stepwell.engine.execution.workflow_admission import WorkflowAdmission

RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
_STATE_KEY = "limited_tenant"


class LimitsQuery(Struct, frozen=True):
    origin_tenant_id: Annotated[str | None, Meta(description="The tenant, for a token with tenants:all")] = None


LIMITS = Operation(
    method="GET",
    path="/api/v1/limits",
    id="get_limits",
    description="The limits of the token's tenant, and how much of them it uses.",
    tag="limits",
    permission=Permission.READ,
    query=LimitsQuery,
    answers=Limits,
)


@endpoint(LIMITS)
async def get_limits(request: ApiRequest, services: ServicesDep) -> Response[Limits]:
    query = parse_query(request.scope["query_string"], LimitsQuery)
    tenant = request.user.tenant_for(query.origin_tenant_id)
    return Response(await services.limits.read(tenant))


def show_rate_limit(request: ApiRequest, tenant: str | None) -> None:
    """Let the answer to *request* have the `RateLimit` headers of *tenant*, whatever its status is."""
    request.scope["state"][_STATE_KEY] = tenant


def add_rate_limit(start: HTTPResponseStartEvent, scope: Scope, admission: WorkflowAdmission) -> None:
    """Add the headers to the start of an answer, if `show_rate_limit` was called for its request."""
    if _STATE_KEY in scope["state"]:
        quota, remaining = admission.quota(scope["state"][_STATE_KEY])
        headers = [(b"ratelimit-policy", b'"workflows";q=%d' % quota), (b"ratelimit", b'"workflows";r=%d' % remaining)]
        start["headers"] = [*start["headers"], *headers]


HANDLERS = (get_limits,)
