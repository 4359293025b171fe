"""The operations that read a step of a workflow, its items, and tasks. A task is one attempt at a step.

A step's id may contain slashes, so the route of a step takes the rest of the path. If the last segment of a GET is
`items`, the rest is the step whose items are read. So the step "a/items" is read by `GET …/steps/a%2Fitems`, as clients
that encode the id do.
"""

from urllib.parse import unquote
from uuid import UUID

from litestar.types import ASGIApp
from msgspec import UNSET, json, structs

from stepwell.api.auth.dependencies import ApiRequest, DecisionLinksDep, ServicesDep
from stepwell.api.requests.operations import NoQuery, endpoint, read_operation, tagged_read_operation
from stepwell.api.requests.query_parameters import ItemsQuery, TasksQuery, parse_id, parse_query
from stepwell.api.responses.conditional_requests import respond_unless_known, response_streams, to_response
from stepwell.api.responses.serializers import item_to_public, step_to_public, task_to_public
from stepwell.api.responses.streamed_responses import SLICE_BYTES, TASKS_A_SLICE
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.enums import WaitKind
from stepwell.contract.scopes import Permission
from stepwell.contract.tasks import TaskListResponse, TaskPublic
from stepwell.contract.workflows import ItemListResponse, WorkflowStepPublic
from stepwell.engine.service import Services
from stepwell.rules.list_records import ItemFilter, TaskFilter

_ITEMS = "/items"

STEP = read_operation(
    path="/api/v1/workflows/{workflow_id}/steps/{step_id}",
    id="get_step",
    description="One step, with its result. Tokens that may decide see its decision_url. "
    "step_id is the step's id in the definition, percent-encoded.",
    tag="workflows",
    for_runs=True,
    response=WorkflowStepPublic,
)
ITEMS = tagged_read_operation(
    path=STEP.path + _ITEMS,
    served_at=STEP.path,
    id="list_items",
    description="The items of a step with for_each, in their order, with their values and results. There are none "
    "before the step has begun. A step without for_each is a 404.",
    tag="workflows",
    for_runs=True,
    query=ItemsQuery,
    response=ItemListResponse,
)


@endpoint(STEP, ITEMS)
async def get_step(request: ApiRequest, services: ServicesDep, decision_links: DecisionLinksDep) -> ASGIApp:
    workflow_id, step_id = parse_id(request.path_params["workflow_id"], "workflow"), raw_path_after(request, "steps")
    if step_id.endswith(_ITEMS) and step_id != _ITEMS:
        return await _list_items(request, services, workflow_id, unquote(step_id.removesuffix(_ITEMS)))
    parse_query(request.scope["query_string"], NoQuery)
    record = await services.reads.step(request.user.scope, workflow_id, unquote(step_id))
    step = step_to_public(record)
    if step.waiting_for is None or step.waiting_for.kind is not WaitKind.DECISION:
        return to_response(StoredResponse(200, {}, json.encode(step)))
    if Permission.APPROVE.is_in(request.user.permissions):
        step.waiting_for.decision_url = decision_links.url_of_step(workflow_id, record)
    return to_response(StoredResponse(200, {"Cache-Control": "no-store"}, json.encode(step)))


async def _list_items(request: ApiRequest, services: Services, workflow_id: UUID, step_id: str) -> ASGIApp:
    query = parse_query(request.scope["query_string"], ItemsQuery)
    wanted = ItemFilter(step_id, query.statuses, skip=query.skip)
    first = await services.reads.item_slice(request.user.scope, workflow_id, wanted, query.limit, SLICE_BYTES)
    expected = min(query.limit, max(0, first.total - query.skip))
    items = [item_to_public(each, repeats=first.repeats) for each in first.items]
    response = ItemListResponse(items, first.total, query.skip, query.limit)
    if len(items) >= expected or not items:
        return await respond_unless_known(request, response)
    rest = structs.replace(wanted, skip=0, after=items[-1].item)
    return response_streams(request, services).items(workflow_id, response, rest, expected, repeats=first.repeats)


def raw_path_after(request: ApiRequest, segment: str) -> str:
    """Return the path after *segment*, still encoded: the path that Litestar has parsed lacks double slashes."""
    raw = (request.scope.get("raw_path") or b"").decode("latin-1")
    return raw.partition(f"/{segment}/")[2].removesuffix("/")


_WHOLE_BYTES = 256 * 1024  # a larger list, or one of more tasks than a slice has, is sent in slices

TASK = tagged_read_operation(
    path="/api/v1/tasks/{task_id}",
    id="get_task",
    description="One attempt at a step, with its outputs.",
    tag="tasks",
    for_runs=True,
    response=TaskPublic,
)
TASKS = tagged_read_operation(
    path="/api/v1/workflows/{workflow_id}/tasks",
    id="list_tasks",
    description="All attempts at the steps of a workflow, or at one of them, in the order in which they began.",
    tag="tasks",
    for_runs=True,
    query=TasksQuery,
    response=TaskListResponse,
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
    wanted = TaskFilter(TASKS_A_SLICE, _WHOLE_BYTES, include_deleted=query.include_deleted, step_id=step_id)
    first = await services.reads.task_slice(request.user.scope, workflow_id, wanted)
    if first.more:
        return response_streams(request, services).tasks(workflow_id, first, wanted)
    tasks = TaskListResponse([task_to_public(record) for record in first.tasks])
    return await respond_unless_known(request, tasks)
