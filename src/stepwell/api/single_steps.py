"""The operation that reads one step of a workflow."""

from urllib.parse import unquote

from stepwell.api.dependencies import ApiRequest, ServicesDep
from stepwell.api.operations import NoQuery, Operation, Permission, endpoint
from stepwell.api.query_parameters import parse_id, parse_query
from stepwell.api.serializers import step_to_public
from stepwell.contract.workflows import WorkflowStepPublic

STEP = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/steps/{step_id}",
    id="get_step",
    summary="Get Step",
    description="One step, with its result. step_id is the step's id in the definition, percent-encoded.",
    tag="workflows",
    permission=Permission.READ,
    answers=WorkflowStepPublic,
)


@endpoint(STEP)
async def get_step(request: ApiRequest, services: ServicesDep) -> WorkflowStepPublic:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    parse_query(request.scope["query_string"], NoQuery)
    return step_to_public(await services.reads.step(request.user.scope, workflow_id, _step_id(request)))


def _step_id(request: ApiRequest) -> str:
    """Return the id of the step as the client sent it: the path that Litestar has parsed lacks double slashes."""
    raw = (request.scope.get("raw_path") or b"").decode("latin-1")
    return unquote(raw.partition("/steps/")[2].removesuffix("/"))


HANDLERS = (get_step,)
