"""The operations that read tasks. A task is one attempt at a step."""

from litestar.types import ASGIApp
from msgspec import UNSET

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import IF_NONE_MATCH
from stepwell.api.requests.operations import NoQuery, Operation, endpoint
from stepwell.api.requests.query_parameters import TasksQuery, parse_id, parse_query
from stepwell.api.responses.conditional_requests import answer_streams, respond_unless_known
from stepwell.api.responses.serializers import task_to_public
from stepwell.api.responses.streamed_answers import TASKS_A_SLICE
from stepwell.contract.scopes import Permission
from stepwell.contract.tasks import TaskListResponse, TaskPublic

_WHOLE_BYTES = 256 * 1024  # a larger list, or one of more tasks than a slice has, is sent in slices

TASK = Operation(
    method="GET",
    path="/api/v1/tasks/{task_id}",
    id="get_task",
    description="One attempt at a step, with its outputs.",
    tag="tasks",
    permission=Permission.READ,
    answers=TaskPublic,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)
TASKS = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/tasks",
    id="list_tasks",
    description="All attempts at the steps of a workflow, or at one of them, in the order in which they began.",
    tag="tasks",
    permission=Permission.READ,
    query=TasksQuery,
    answers=TaskListResponse,
    headers=("ETag",),
    takes=(IF_NONE_MATCH,),
)


@endpoint(TASK)
async def get_task(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    task_id = parse_id(request.path_params["task_id"], "task")
    parse_query(request.scope["query_string"], NoQuery)
    return await respond_unless_known(request, task_to_public(await services.reads.task(request.user.scope, task_id)))


@endpoint(TASKS)
async def list_tasks(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], TasksQuery)
    step_id = None if query.step_id is UNSET else query.step_id
    first = await services.reads.task_slice(
        request.user.scope,
        workflow_id,
        None,
        TASKS_A_SLICE,
        _WHOLE_BYTES,
        include_deleted=query.include_deleted,
        step_id=step_id,
    )
    if first.more:
        streams = answer_streams(request, services)
        return streams.tasks(workflow_id, first, include_deleted=query.include_deleted, step_id=step_id)
    tasks = TaskListResponse([task_to_public(record) for record in first.tasks])
    return await respond_unless_known(request, tasks)


HANDLERS = (get_task, list_tasks)
