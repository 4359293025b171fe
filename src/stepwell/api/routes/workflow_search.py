"""The operations that count workflows, and that return the definition of one."""

from litestar import Response
from litestar.types import ASGIApp

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.operations import NoQuery, Operation, endpoint
from stepwell.api.requests.query_parameters import parse_id, parse_query
from stepwell.api.responses.conditional_requests import answer_streams
from stepwell.api.routes.list_query import FilterQuery
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import WorkflowCountsResponse

COUNTS = Operation(
    method="GET",
    path="/api/v1/workflows/counts",
    id="count_workflows",
    description="The number of workflows in each status, of those that match the filters. At most five seconds old.",
    tag="workflows",
    permission=Permission.READ,
    query=FilterQuery,
    answers=WorkflowCountsResponse,
)
DEFINITION = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/definition",
    id="get_workflow_definition",
    description=(
        "A definition that creates the same workflow again. Members that were null or had their default are absent. "
        "depends_on has what was sent, without dependencies that mappings imply. name, description, webhook_url and "
        "labels are those of today."
    ),
    tag="workflows",
    permission=Permission.READ,
    answers=CreateWorkflow,
    headers=("ETag",),
)


@endpoint(COUNTS)
async def count_workflows(request: ApiRequest, services: ServicesDep) -> Response[WorkflowCountsResponse]:
    query = parse_query(request.scope["query_string"], FilterQuery)
    counts = await services.counts.read(request.user.scope, query.as_filter())
    by_status = {status: counts.by_status.get(status, 0) for status in WorkflowStatus}
    return Response(WorkflowCountsResponse(by_status, sum(by_status.values()), counts.at))


@endpoint(DEFINITION)
async def get_workflow_definition(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    parse_query(request.scope["query_string"], NoQuery)
    record = await services.reads.get(request.user.scope, workflow_id)
    return answer_streams(request, services).definition(record)


HANDLERS = (count_workflows, get_workflow_definition)
