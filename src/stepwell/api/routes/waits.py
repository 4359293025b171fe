"""The operations on steps that wait: list those that wait for a decision, decide, and send signals.

A step's id may contain slashes, so the route of a step takes the rest of the path. `POST …/steps/{step_id}/decision`
shares that route with `GET …/steps/{step_id}`: the last segment of a POST is always `decision`, or one of those of
`by_hand`, and a GET has no such segment. So the step "a/decision" is read by `GET …/steps/a/decision`, and decided by
`POST …/steps/a/decision/decision`.
"""

from typing import Annotated, Any, ClassVar, cast
from urllib.parse import unquote

from litestar import Response
from litestar.exceptions import MethodNotAllowedException
from msgspec import UNSET, Meta, Raw, UnsetType, json

from stepwell.api.auth.dependencies import (
    ApiRequest,
    ClockDep,
    CursorsDep,
    DecisionLinksDep,
    ServicesDep,
    SignedUrlsDep,
)
from stepwell.api.requests.headers import CHANGING
from stepwell.api.requests.operations import NoQuery, Operation, endpoint
from stepwell.api.requests.query_parameters import (
    CheckedQuery,
    Cursor,
    DefinitionQuery,
    cursor_links,
    parse_id,
    parse_query,
    read_cursor,
)
from stepwell.api.requests.request_bodies import read_struct
from stepwell.api.responses.idempotency import idempotent
from stepwell.api.responses.serializers import step_to_public
from stepwell.api.routes.list_query import label_faults, stable_parameters
from stepwell.api.routes.steps import STEP, raw_path_after
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.fields import about
from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import (
    MAX_DATA_BYTES,
    CreateDecision,
    DecisionListResponse,
    OpenDecision,
    SendSignal,
    ShownFile,
    WorkflowStepPublic,
)
from stepwell.engine.reads.read_service import ShownDecision
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.lifecycle.records import StepRecord
from stepwell.ports.clock import Clock
from stepwell.rules.access.signed_urls import DecisionLinks, SignedUrls
from stepwell.rules.large_workflow_records import FoundWorkflow
from stepwell.rules.list_records import DecisionFilter

_DECISION = "/decision"

DECIDE = Operation(
    method="POST",
    path=STEP.path + _DECISION,
    served_at=STEP.path,
    id="decide_step",
    summary="Decide",
    description="Decides for a step that waits for a decision: its result is {choice, approved, note, data, by, at}. A "
    "step is decided once; afterwards it is a 409 that says who has decided, and when.",
    tag="workflows",
    permission=Permission.APPROVE,
    body=CreateDecision,
    response=WorkflowStepPublic,
    problems=(409,),
    takes=CHANGING,
)
SIGNAL = Operation(
    method="POST",
    path="/api/v1/workflows/{workflow_id}/signals/{signal_name}",
    id="signal_workflow",
    summary="Signal",
    description="Sends a signal to the step that waits for it: its result is {data, by, at}. A signal that comes early "
    "is stored, and a second one is a 409 until the step has taken the first.",
    tag="workflows",
    permission=Permission.WRITE,
    body=SendSignal,
    body_optional=True,
    response=WorkflowStepPublic,
    problems=(409,),
    takes=CHANGING,
)


async def _decided_step(request: ApiRequest, services: Services, workflow: FoundWorkflow) -> StoredResponse:
    step = await services.reads.step(request.user.scope, workflow.id, decided_step_id(request))
    return _response(step)


async def _signaled_step(request: ApiRequest, services: Services, workflow: FoundWorkflow) -> StoredResponse:
    name = _signal_name(request)
    return _response(await services.reads.step_of_signal(request.user.scope, workflow.id, name))


@idempotent(_decided_step)
async def decide(request: ApiRequest, services: Services, preconditions: Preconditions) -> StoredResponse:
    """Decide for a step. `by_hand.change_step` calls this."""
    workflow_id, step_id = parse_id(request.path_params["workflow_id"], "workflow"), decided_step_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    wanted = await read_struct(request, CreateDecision)
    check_data(wanted.data)
    caller = request.user
    step = await services.reads.step(caller.scope, workflow_id, step_id)
    check_choice(step, wanted.choice)
    decided = await services.workflows.decide(caller.scope, caller.subject, workflow_id, step, wanted, preconditions)
    return _response(decided)


@endpoint(SIGNAL)
@idempotent(_signaled_step)
async def signal_workflow(request: ApiRequest, services: Services, preconditions: Preconditions) -> StoredResponse:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    parse_query(request.scope["query_string"], NoQuery)
    wanted = await read_struct(request, SendSignal)
    check_data(wanted.data)
    caller, name = request.user, _signal_name(request)
    step = await services.workflows.signal(caller.scope, caller.subject, workflow_id, name, wanted, preconditions)
    return _response(step)


def check_data(data: Any) -> None:
    """Raise `InvalidRequest` if the data of a decision or a signal is too large."""
    if len(json.encode(data)) > MAX_DATA_BYTES:
        raise InvalidRequest([Fault(("body", "data"), f"Expected at most {MAX_DATA_BYTES:,} bytes", "too_long")])


def check_choice(step: StepRecord, choice: str) -> None:
    """Raise `InvalidRequest` if the step waits for a decision, and *choice* is none of its choices."""
    wait = None if step.state.flow is None else step.state.flow.wait
    if wait is not None and wait.choices and choice not in wait.choices:
        message = f"Expected one of {', '.join(wait.choices)}"
        raise InvalidRequest([Fault(("body", "choice"), message, "unknown_choice")])


def decided_step_id(request: ApiRequest) -> str:
    """Return the id of the step that a POST decides for. Raises `MethodNotAllowedException` for the path of a step."""
    path = raw_path_after(request, "steps")
    if not path.endswith(_DECISION):
        raise MethodNotAllowedException  # of the path of a step
    return unquote(path.removesuffix(_DECISION))


def _signal_name(request: ApiRequest) -> str:
    return unquote(raw_path_after(request, "signals"))


def _response(step: StepRecord) -> StoredResponse:
    return StoredResponse(200, {}, json.encode(step_to_public(step)))


class DecisionsQuery(CheckedQuery, DefinitionQuery, frozen=True, kw_only=True):
    REPEATABLE: ClassVar = frozenset({"label"})

    cursor: Cursor | UnsetType = UNSET
    label: Annotated[
        tuple[str, ...], about("Only in runs with this label, as key:value. If repeated, with all of them")
    ] = ()
    limit: Annotated[int, Meta(ge=0, le=100, description="The most decisions of the page")] = 50
    step_id: Annotated[str, about("Only steps with this id")] | UnsetType = UNSET
    total: Annotated[bool, about("Whether the decisions that match are counted")] = False
    workflow_id: Annotated[str, about("Only steps of this workflow and its sub-workflows")] | UnsetType = UNSET

    value_faults = staticmethod(label_faults)


DECISIONS = Operation(
    method="GET",
    path="/api/v1/decisions",
    id="list_decisions",
    description="The steps that wait for a decision, the longest waiting first. For tokens that may decide.",
    tag="workflows",
    permission=Permission.APPROVE,
    query=DecisionsQuery,
    response=DecisionListResponse,
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
    after, step_id = read_cursor(cursors.decisions, query.cursor), None if query.step_id is UNSET else query.step_id
    labels = tuple(dict.fromkeys(query.label))
    wanted = DecisionFilter(query.limit + 1, workflow_id, after, step_id, labels, query.wanted_definition)
    reads, scope = services.reads, request.user.scope
    decisions = await reads.decisions(scope, wanted) if query.limit else []
    total = await reads.store.decision_count(scope, wanted) if query.total else None
    page = [_to_public(each, decision_links, signed_urls, clock) for each in decisions[: query.limit]]
    last = decisions[query.limit - 1].stored.cursor if len(decisions) > query.limit else None
    link = cursor_links(DECISIONS.path, [*stable_parameters(query), f"limit={query.limit}"], cursors.decisions, last)
    return Response(DecisionListResponse(page, total), headers={"Cache-Control": "no-store", "Link": link})


def _to_public(shown: ShownDecision, links: DecisionLinks, urls: SignedUrls, clock: Clock) -> OpenDecision:
    stored, now = shown.stored, clock.now()
    return OpenDecision(
        workflow_id=stored.workflow_id,
        workflow_name=stored.workflow_name,
        ancestors=stored.ancestors,
        labels=stored.labels,
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
