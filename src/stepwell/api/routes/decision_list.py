"""The operation that lists the steps which wait for a decision: the inbox of people who decide."""

from typing import Annotated, Any, cast

from litestar import Response
from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from stepwell.api.auth.dependencies import (
    ApiRequest,
    ClockDep,
    CursorsDep,
    DecisionLinksDep,
    ServicesDep,
    SignedUrlsDep,
)
from stepwell.api.requests.operations import Operation, endpoint
from stepwell.api.requests.query_parameters import Cursor, parse_id, parse_query, read_cursor
from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import DecisionListResponse, OpenDecision, ShownFile
from stepwell.engine.reads.read_service import ShownDecision
from stepwell.ports.clock import Clock
from stepwell.rules.access.decision_links import DecisionLinks
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.rules.list_records import DecisionFilter

PATH = "/api/v1/decisions"


class DecisionsQuery(Struct, frozen=True, kw_only=True):
    """The filter and the page of the list of decisions."""

    cursor: Cursor | UnsetType = UNSET
    limit: Annotated[int, Meta(ge=1, le=100, description="The most decisions of the page")] = 50
    workflow_id: Annotated[str, Meta(description="Only steps of this workflow and its sub-workflows")] | UnsetType = (
        UNSET
    )


DECISIONS = Operation(
    method="GET",
    path=PATH,
    id="list_decisions",
    description="The steps that wait for a decision, the longest waiting first. For tokens that may decide.",
    tag="workflows",
    permission=Permission.APPROVE,
    query=DecisionsQuery,
    answers=DecisionListResponse,
    headers=("Link",),
    problems=(404,),
)


@endpoint(DECISIONS)
async def list_decisions(
    request: ApiRequest,
    services: ServicesDep,
    cursors: CursorsDep,
    decision_links: DecisionLinksDep,
    signed_urls: SignedUrlsDep,
    clock: ClockDep,
) -> Response[DecisionListResponse]:
    query = parse_query(request.scope["query_string"], DecisionsQuery)
    workflow_id = None if query.workflow_id is UNSET else parse_id(query.workflow_id, "workflow")
    wanted = DecisionFilter(query.limit + 1, workflow_id, read_cursor(cursors.decisions, query.cursor))
    decisions = await services.reads.decisions(request.user.scope, wanted)
    page = [_to_public(each, decision_links, signed_urls, clock) for each in decisions[: query.limit]]
    chosen = "" if workflow_id is None else f"workflow_id={workflow_id}&"
    links = {"first": ""}
    if len(decisions) > query.limit:
        links["next"] = f"&cursor={cursors.decisions.sign(decisions[query.limit - 1].stored.cursor)}"
    link = ", ".join(f'<{PATH}?{chosen}limit={query.limit}{place}>; rel="{rel}"' for rel, place in links.items())
    return Response(DecisionListResponse(page), headers={"Cache-Control": "no-store", "Link": link})


def _to_public(shown: ShownDecision, links: DecisionLinks, urls: SignedUrls, clock: Clock) -> OpenDecision:
    stored, now = shown.stored, clock.now()
    return OpenDecision(
        workflow_id=stored.workflow_id,
        workflow_name=stored.workflow_name,
        origin_tenant_id=stored.tenant,
        step_id=stored.step_id,
        message=stored.wait.message,
        choices=list(stored.wait.choices),
        since=stored.wait.since,
        until=stored.wait.until,
        inputs=cast("Any", Raw(stored.shown)),  # decoding those of a whole page would block the event loop
        files=[ShownFile(name, path, urls.url(path, now)) for name, path in shown.files],
        decision_url=links.url(stored.workflow_id, stored.position, stored.wait),
    )


HANDLERS = (list_decisions,)
