"""The operation that sums up costs."""

import re
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from litestar.types import ASGIApp
from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from stepwell.api.conditional_requests import respond_unless_known
from stepwell.api.dependencies import ApiRequest, ServicesDep
from stepwell.api.headers import IF_NONE_MATCH
from stepwell.api.operations import Operation, Permission, endpoint
from stepwell.api.query_parameters import parse_query
from stepwell.contract.costs import CostGroup, CostsResponse
from stepwell.contract.enums import CostKey
from stepwell.domain.daily_costs import CostQuery, CostSum
from stepwell.domain.errors import Fault, InvalidRequest

MAX_GROUPS = 10_000
_TIME = re.compile(r"\d{4}-\d\d-\d\d(?:[Tt]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[Zz]|[+-]\d\d:\d\d))?", re.ASCII)
_EXPECTED = "Expected a date such as 2026-11-01, or a time with an offset such as 2026-11-01T00:00:00Z"
_DAY = "a date (UTC), or a time with an offset at which a day (UTC) begins"


class CostsQuery(Struct, frozen=True, kw_only=True):
    since: Annotated[str, Meta(description=f"Only attempts that ended then or later: {_DAY}")] | UnsetType = field(
        name="from", default=UNSET
    )
    until: Annotated[str, Meta(description=f"Only attempts that ended before then: {_DAY}")] | UnsetType = field(
        name="to", default=UNSET
    )
    by: Annotated[
        tuple[CostKey, ...],
        Meta(max_length=len(CostKey), description="What to sum by, repeated or separated by commas; default: nothing"),
    ] = ()


COSTS = Operation(
    method="GET",
    path="/api/v1/costs",
    id="sum_costs",
    summary="Sum Costs",
    description=(
        "The costs of attempts at providers that the token may see, summed by currency and by the members in by. Exact "
        "decimals. Attempts whose cost isn't known don't count. The sums outlive the workflows."
    ),
    tag="costs",
    permission=Permission.READ,
    query=CostsQuery,
    answers=CostsResponse,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)


@endpoint(COSTS)
async def sum_costs(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    query = _cost_query(parse_query(request.scope["query_string"], CostsQuery))
    sums = await services.reads.costs(request.user.scope, query)
    if len(sums) > MAX_GROUPS:
        raise _refusal("by", f"There are over {MAX_GROUPS:,} sums: use fewer members, or a shorter time", "too_large")
    return await respond_unless_known(request, CostsResponse([_group(query.by, each) for each in sums]))


def _cost_query(query: CostsQuery) -> CostQuery:
    since, until = _day("from", query.since), _day("to", query.until)
    if since is not None and until is not None and since >= until:
        raise _refusal("to", "Expected a later time than in from", "not_later")
    return CostQuery(since=since, until=until, by=tuple(dict.fromkeys(query.by)), limit=MAX_GROUPS + 1)


def _day(name: str, text: str | UnsetType) -> date | None:
    if text is UNSET:
        return None
    refusal = _refusal(name, _EXPECTED, "time_parsing")
    if not _TIME.fullmatch(text):
        raise refusal
    try:
        if len(text) == len("2026-11-01"):
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal from None
    if at.time() != time():
        raise _refusal(name, "Expected the begin of a day in UTC, because costs are summed by days", "not_a_day")
    return at.date()


def _refusal(name: str, message: str, kind: str) -> InvalidRequest:
    return InvalidRequest([Fault(("query", name), message, kind)])


def _group(by: tuple[CostKey, ...], total: CostSum) -> CostGroup:
    keys: dict[str, Any] = dict(zip(by, total.keys, strict=True))
    amount = f"{total.amount:f}"
    if "." in amount:
        amount = amount.rstrip("0").rstrip(".")
    return CostGroup(**keys, currency=total.currency, amount=Raw(amount.encode()), attempts=total.attempts)


HANDLERS = (sum_costs,)
