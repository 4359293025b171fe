"""The operations that show a tenant its limits and its costs, and the `RateLimit` headers of create and start.

The headers follow draft-ietf-httpapi-ratelimit-headers-11: https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Annotated, Any

from litestar import Response
from litestar.types import ASGIApp, HTTPResponseStartEvent, Scope
from msgspec import UNSET, Meta, Raw, UnsetType, field

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.operations import endpoint, read_operation, tagged_read_operation
from stepwell.api.requests.query_parameters import CheckedQuery, DefinitionQuery, TenantQuery, parse_query
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.contract.enums import CostKey
from stepwell.contract.fields import about
from stepwell.contract.system import Limits
from stepwell.contract.tasks import CostGroup, CostsResponse
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.rules.costs import CostQuery, CostSum

RATE_LIMIT_HEADERS = ("RateLimit", "RateLimit-Policy")
_STATE_KEY = "limited_tenant"


LIMITS = read_operation(
    path="/api/v1/limits",
    id="get_limits",
    description="The limits of the token's tenant, and how much of them it uses.",
    tag="limits",
    query=TenantQuery,
    response=Limits,
)


@endpoint(LIMITS)
async def get_limits(request: ApiRequest, services: ServicesDep) -> Response[Limits]:
    tenant = request.user.tenant_for(parse_query(request.scope["query_string"], TenantQuery).tenant)
    return Response(await services.limits.read(tenant))


def show_rate_limit(request: ApiRequest, tenant: str | None) -> None:
    """Let the response to *request* have the `RateLimit` headers of *tenant*, whatever its status is."""
    request.scope["state"][_STATE_KEY] = tenant


def add_rate_limit(start: HTTPResponseStartEvent, scope: Scope, admission: WorkflowAdmission) -> None:
    """Add the headers to the start of a response, if `show_rate_limit` was called for its request."""
    if _STATE_KEY in scope["state"]:
        quota, remaining = admission.quota(scope["state"][_STATE_KEY])
        headers = [(b"ratelimit-policy", b'"workflows";q=%d' % quota), (b"ratelimit", b'"workflows";r=%d' % remaining)]
        start["headers"] = [*start["headers"], *headers]


MAX_GROUPS = 10_000
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d))?", re.ASCII)
_EXPECTED = "Expected a date such as 2026-11-01, or a time with an offset such as 2026-11-01T00:00:00Z"
_EXPECTED_DAY = "Expected a time at which a day begins in UTC, because costs are summed by day"
_DAY = "a date (UTC), or a time with an offset at which a day (UTC) begins"


class CostsQuery(CheckedQuery, DefinitionQuery, frozen=True, kw_only=True):
    since: Annotated[str, about(f"Only attempts that ended then or later: {_DAY}")] | UnsetType = field(
        name="from", default=UNSET
    )
    until: Annotated[str, about(f"Only attempts that ended before then: {_DAY}")] | UnsetType = field(
        name="to", default=UNSET
    )
    by: Annotated[
        tuple[CostKey, ...],
        Meta(max_length=len(CostKey), description="What to sum by, repeated or separated by commas; default: nothing"),
    ] = ()

    @staticmethod
    def value_faults(values: dict[str, Any]) -> Iterator[Fault]:
        times = {name: _time(values[name]) for name in ("from", "to") if name in values}
        for name, at in times.items():
            if at is None:
                yield Fault(("query", name), _EXPECTED, "time_parsing")
            elif at.time() != time():
                yield Fault(("query", name), _EXPECTED_DAY, "not_a_day")
        since, until = times.get("from"), times.get("to")
        if since is not None and until is not None and since >= until:
            yield Fault(("query", "to"), "Expected a later time than in from", "not_later")


COSTS = tagged_read_operation(
    path="/api/v1/costs",
    id="sum_costs",
    description="The costs of attempts at providers that the token may see, and what reuse has saved, summed by "
    "currency and by the members in by. Exact decimals. Attempts whose cost isn't known don't count. The sums outlive "
    "the workflows.",
    tag="costs",
    query=CostsQuery,
    response=CostsResponse,
)


@endpoint(COSTS)
async def sum_costs(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = _cost_query(parse_query(request.scope["query_string"], CostsQuery))
    sums = await services.reads.store.costs(request.user.scope, query)
    if len(sums) > MAX_GROUPS:
        message = f"There are over {MAX_GROUPS:,} sums: use fewer members, or a shorter time"
        raise InvalidRequest([Fault(("query", "by"), message, "too_large")])
    return await respond_unless_known(request, CostsResponse([_group(query.by, each) for each in sums]))


def _cost_query(query: CostsQuery) -> CostQuery:
    since, until = (None if text is UNSET else _time(text) for text in (query.since, query.until))
    return CostQuery(
        since=None if since is None else since.date(),
        until=None if until is None else until.date(),
        by=tuple(dict.fromkeys(query.by)),
        definition=query.wanted_definition,
        limit=MAX_GROUPS + 1,
    )


def _time(text: str) -> datetime | None:
    """Return the time in UTC, of a date its beginning; None if *text* is neither a date nor a time with an offset."""
    if not _TIME.fullmatch(text):
        return None
    try:
        if len(text) == len("2026-11-01"):
            return datetime.combine(date.fromisoformat(text), time(), UTC)
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _group(by: tuple[CostKey, ...], total: CostSum) -> CostGroup:
    keys: dict[str, Any] = dict(zip(by, total.keys, strict=True))
    amount, saved = _number(total.amount), _number(total.saved)
    return CostGroup(**keys, currency=total.currency, amount=amount, attempts=total.attempts, saved=saved)


def _number(amount: Decimal) -> Raw:
    text = f"{amount:f}"
    return Raw((text.rstrip("0").rstrip(".") if "." in text else text).encode())
