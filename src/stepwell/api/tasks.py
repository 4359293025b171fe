"""Tasks (attempts) and the history of a workflow, to look at."""

from stepwell.api.dependencies import Call, Service
from stepwell.api.operations import NoQuery, Operation, Permission, endpoint
from stepwell.api.queries import EventsQuery, TasksQuery, parse_id, parse_query
from stepwell.api.schemas import EventListResponse, EventPublic, TaskListResponse, TaskPublic

TASK = Operation(
    method="GET",
    path="/api/v1/tasks/{task_id}",
    id="get_task",
    summary="Get Task",
    description="One attempt at a step, with its outputs.",
    tag="tasks",
    permission=Permission.READ,
    answers=TaskPublic,
)
TASKS = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/tasks",
    id="list_tasks",
    summary="List Tasks",
    description="All attempts at the steps of a workflow, in the order in which they began.",
    tag="tasks",
    permission=Permission.READ,
    query=TasksQuery,
    answers=TaskListResponse,
)
EVENTS = Operation(
    method="GET",
    path="/api/v1/workflows/{workflow_id}/events",
    id="list_events",
    summary="List Events",
    description="The history of a workflow in its order. Every transition is an event; ids count from 1.",
    tag="events",
    permission=Permission.READ,
    query=EventsQuery,
    answers=EventListResponse,
)


@endpoint(TASK)
async def get_task(request: Call, service: Service) -> TaskPublic:
    task_id = parse_id(request.path_params["task_id"], "task")
    parse_query(request.scope["query_string"], NoQuery)
    return TaskPublic.from_record(await service.task(request.user.scope, task_id))


@endpoint(TASKS)
async def list_tasks(request: Call, service: Service) -> TaskListResponse:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], TasksQuery)
    records = await service.tasks(request.user.scope, workflow_id, include_deleted=query.include_deleted)
    return TaskListResponse([TaskPublic.from_record(record) for record in records])


@endpoint(EVENTS)
async def list_events(request: Call, service: Service) -> EventListResponse:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    query = parse_query(request.scope["query_string"], EventsQuery)
    events = await service.events(request.user.scope, workflow_id, after=query.after, limit=query.limit)
    return EventListResponse([EventPublic.from_event(event) for event in events])


HANDLERS = (get_task, list_tasks, list_events)
