"""The operations on workflows: the contract's eight, and pause."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias
from uuid import UUID

from litestar import Response

from stepwell.api.bodies import ignore_empty_body, read_json
from stepwell.api.dependencies import Call, Service
from stepwell.api.operations import NoQuery, Operation, Permission, endpoint
from stepwell.api.queries import CleanupQuery, GetQuery, ListQuery, StartQuery, page_links, parse_id, parse_query
from stepwell.api.schemas import WorkflowCleanupResponse, WorkflowListResponse, WorkflowPublic
from stepwell.domain.definition import CreateWorkflow, WorkflowUpdate
from stepwell.domain.records import TenantScope, WorkflowRecord
from stepwell.domain.validation import parse_update, plan_workflow

TAG = "workflows"
BASE = "/api/v1/workflows/"
ONE = BASE + "{workflow_id}"

CREATE = Operation(
    method="POST",
    path=BASE,
    id="create_workflow",
    summary="Create Workflow",
    description="If start is true (the default) the workflow starts immediately. Returns the workflow with all steps.",
    tag=TAG,
    permission=Permission.WRITE,
    query=StartQuery,
    body=CreateWorkflow,
    status=201,
    answers=WorkflowPublic,
    headers=("Location",),
)
LIST = Operation(
    method="GET",
    path=BASE,
    id="list_workflows",
    summary="List Workflows",
    description="Ordered by creation date, newest first.",
    tag=TAG,
    permission=Permission.READ,
    query=ListQuery,
    answers=WorkflowListResponse,
    headers=("Link",),
)
GET = Operation(
    method="GET",
    path=ONE,
    id="get_workflow",
    summary="Get Workflow",
    tag=TAG,
    permission=Permission.READ,
    query=GetQuery,
    answers=WorkflowPublic,
)
UPDATE = Operation(
    method="PATCH",
    path=ONE,
    id="update_workflow",
    summary="Update Workflow",
    description="Can update name, description, webhook_url. Absent keeps the value, null clears it (not name).",
    tag=TAG,
    permission=Permission.WRITE,
    body=WorkflowUpdate,
    answers=WorkflowPublic,
    problems=(409,),
)
CLEANUP = Operation(
    method="POST",
    path=ONE + "/cleanup",
    id="cleanup_workflow",
    summary="Cleanup Workflow",
    description=(
        "Soft-deletes the workflow; with cleanup_tasks also deletes output files and soft-deletes task records. "
        "Every state but RUNNING; repeated, it goes on with what failed to be deleted."
    ),
    tag=TAG,
    permission=Permission.WRITE,
    query=CleanupQuery,
    answers=WorkflowCleanupResponse,
    problems=(409,),
)


def _verb(verb: str, description: str) -> Operation:
    return Operation(
        method="POST",
        path=f"{ONE}/{verb}",
        id=f"{verb}_workflow",
        summary=f"{verb.capitalize()} Workflow",
        description=description,
        tag=TAG,
        permission=Permission.WRITE,
        answers=WorkflowPublic,
        problems=(409,),
    )


START = _verb("start", "Must be PENDING.")
PAUSE = _verb("pause", "Must be RUNNING. Nothing new starts; running steps end and are recorded.")
RESUME = _verb("resume", "Only FAILED or PAUSED. Resets failed and running steps and goes on from the last checkpoint.")
CANCEL = Operation(
    method="DELETE",
    path=ONE,
    id="cancel_workflow",
    summary="Cancel Workflow",
    description="Cancels the workflow and all running tasks. Must be PENDING or RUNNING.",
    tag=TAG,
    permission=Permission.WRITE,
    answers=WorkflowPublic,
    problems=(409,),
)


@endpoint(CREATE)
async def create_workflow(request: Call, service: Service) -> Response[WorkflowPublic]:
    query = parse_query(request.scope["query_string"], StartQuery)
    planned = await read_json(request, lambda body: plan_workflow(body, service.catalog))
    caller = request.user
    tenant = caller.tenant_for(planned.request.origin_tenant_id)
    record = await service.create(caller.scope, caller.subject, planned, tenant=tenant, start=query.start)
    return Response(await WorkflowPublic.from_record(record), headers={"Location": f"{BASE}{record.state.id}"})


@endpoint(LIST)
async def list_workflows(request: Call, service: Service) -> Response[WorkflowListResponse]:
    query = parse_query(request.scope["query_string"], ListQuery)
    page = await service.list(request.user.scope, query.as_filter())
    content = await WorkflowListResponse.from_page(page, query.skip, query.limit)
    return Response(content, headers={"Link": page_links(BASE, query, page.total)})


@endpoint(GET)
async def get_workflow(request: Call, service: Service) -> WorkflowPublic:
    workflow_id = _workflow_id(request)
    query = parse_query(request.scope["query_string"], GetQuery)
    record = await service.get(request.user.scope, workflow_id, include_steps=query.include_steps)
    return await WorkflowPublic.from_record(record)


@endpoint(UPDATE)
async def update_workflow(request: Call, service: Service) -> WorkflowPublic:
    workflow_id = _workflow_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    changes = await read_json(request, parse_update)
    caller = request.user
    return await WorkflowPublic.from_record(await service.update(caller.scope, caller.subject, workflow_id, changes))


@endpoint(START)
async def start_workflow(request: Call, service: Service) -> WorkflowPublic:
    return await _do(request, service.start)


@endpoint(PAUSE)
async def pause_workflow(request: Call, service: Service) -> WorkflowPublic:
    return await _do(request, service.pause)


@endpoint(RESUME)
async def resume_workflow(request: Call, service: Service) -> WorkflowPublic:
    return await _do(request, service.resume)


@endpoint(CANCEL)
async def cancel_workflow(request: Call, service: Service) -> WorkflowPublic:
    return await _do(request, service.cancel)


@endpoint(CLEANUP)
async def cleanup_workflow(request: Call, service: Service) -> WorkflowCleanupResponse:
    workflow_id = _workflow_id(request)
    query = parse_query(request.scope["query_string"], CleanupQuery)
    await ignore_empty_body(request)
    caller = request.user
    record, report = await service.cleanup(caller.scope, caller.subject, workflow_id, cleanup_tasks=query.cleanup_tasks)
    return await WorkflowCleanupResponse.from_records(record, report)


_Verb: TypeAlias = Callable[[TenantScope, str, UUID], Awaitable[WorkflowRecord]]


async def _do(request: Call, verb: _Verb) -> WorkflowPublic:
    workflow_id = _workflow_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    caller = request.user
    return await WorkflowPublic.from_record(await verb(caller.scope, caller.subject, workflow_id))


def _workflow_id(request: Call) -> UUID:
    return parse_id(request.path_params["workflow_id"], "workflow")


HANDLERS = (
    create_workflow,
    list_workflows,
    get_workflow,
    update_workflow,
    start_workflow,
    pause_workflow,
    resume_workflow,
    cancel_workflow,
    cleanup_workflow,
)
