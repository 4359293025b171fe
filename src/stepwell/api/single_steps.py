"""The operation that reads one step of a workflow."""

from urllib.parse import unquote
from uuid import UUID

from litestar import Response

from stepwell.api.dependencies import ApiRequest, DecisionLinksDep, ServicesDep
from stepwell.api.operations import NoQuery, Operation, Permission, endpoint
from stepwell.api.query_parameters import parse_id, parse_query
from stepwell.api.serializers import step_to_public
from stepwell.contract.enums import WaitKind
from stepwell.contract.workflows import WorkflowStepPublic
from stepwell.domain.access.decision_links import DecisionLinks
from stepwell.domain.records import StepRecord

STEP = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/steps/{step_id}",
    id="get_step",
    summary="Get Step",
    description="One step, with its result. Tokens that may decide see its decision_url. "
    "step_id is the step's id in the definition, percent-encoded.",
    tag="workflows",
    permission=Permission.READ,
    answers=WorkflowStepPublic,
)


@endpoint(STEP)
async def get_step(
    request: ApiRequest, services: ServicesDep, decision_links: DecisionLinksDep
) -> Response[WorkflowStepPublic]:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    parse_query(request.scope["query_string"], NoQuery)
    record = await services.reads.step(request.user.scope, workflow_id, _step_id(request))
    step = step_to_public(record)
    if step.waiting_for is None or step.waiting_for.kind is not WaitKind.DECISION:
        return Response(step)
    if Permission.APPROVE.is_in(request.user.permissions):
        step.waiting_for.decision_url = decision_url(decision_links, workflow_id, record)
    return Response(step, headers={"Cache-Control": "no-store"})


def decision_url(links: DecisionLinks, workflow_id: UUID, step: StepRecord) -> str | None:
    """Return the decision link of *step*; None if it doesn't wait for a decision."""
    wait = None if step.state.flow is None else step.state.flow.wait
    if wait is None or wait.kind is not WaitKind.DECISION:
        return None
    return links.url(workflow_id, step.state.position, wait)


def _step_id(request: ApiRequest) -> str:
    """Return the id of the step as the client sent it: the path that Litestar has parsed lacks double slashes."""
    raw = (request.scope.get("raw_path") or b"").decode("latin-1")
    return unquote(raw.partition("/steps/")[2].removesuffix("/"))


HANDLERS = (get_step,)
