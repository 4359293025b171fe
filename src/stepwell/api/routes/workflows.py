"""The operations on workflows: the eight of the API contract, counts, the definition, and the deletion of all data."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Literal
from uuid import UUID

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp
from msgspec import json
from msgspec.structs import replace

from stepwell.api.auth.dependencies import ApiRequest, CursorsDep, ServicesDep
from stepwell.api.requests.headers import CHANGING, ETAG, IDEMPOTENCY_KEY, IF_NONE_MATCH
from stepwell.api.requests.operations import (
    JSON_TYPE,
    MERGE_PATCH_TYPE,
    NoQuery,
    Operation,
    endpoint,
    read_operation,
    tagged_read_operation,
)
from stepwell.api.requests.preferences import handling_of
from stepwell.api.requests.query_parameters import CleanupQuery, GetQuery, StartQuery, VerbQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import ignore_empty_body, read_and_reserve, read_json, release_decoding
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import (
    not_modified,
    not_modified_workflow,
    response_streams,
    response_with_etag,
    send_response,
    workflow_response,
)
from stepwell.api.responses.dry_run import DRY_RUN_RESPONSE, supports_dry_run
from stepwell.api.responses.idempotency import idempotent
from stepwell.api.responses.prefer_wait import respond_after_wait, respond_now, wait_if_preferred
from stepwell.api.responses.serializers import page_to_public, workflow_to_public
from stepwell.api.responses.streamed_responses import ApiResponse, StreamedResponse
from stepwell.api.responses.workflow_etags import page_etag
from stepwell.api.routes.definitions import read_definition, read_stored_parts
from stepwell.api.routes.list_query import FilterQuery, ListQuery, list_links
from stepwell.api.routes.usage import RATE_LIMIT_HEADERS, show_rate_limit
from stepwell.basics.errors import (
    DefinitionArchived,
    Forbidden,
    InvalidRequest,
    InvalidTransition,
    NotFound,
    TooManyValues,
)
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.definition import CreateWorkflow, WorkflowUpdate
from stepwell.contract.enums import WorkflowStatus
from stepwell.contract.problems import DefinitionWarning
from stepwell.contract.scopes import Permission
from stepwell.contract.stored_definitions import RunDefinition
from stepwell.contract.workflows import (
    WorkflowCleanupResponse,
    WorkflowCountsResponse,
    WorkflowDataDeletion,
    WorkflowListResponse,
    WorkflowPublic,
)
from stepwell.definition.validation.workflow import ValidatedWorkflow, parse_update
from stepwell.engine.reads.shared_reads import SharedPage
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions
from stepwell.rules.large_workflow_records import FoundWorkflow, LargeWorkflow

TAG = "workflows"
BASE = "/api/v1/workflows/"
ONE = BASE + "{workflow_id}"

CREATE = Operation(
    method="POST",
    path=BASE,
    id="create_workflow",
    description="If start is true (the default) the workflow starts immediately. Returns the workflow with all steps. "
    "An absent origin_instance is that of the token, else that of the service. A body with definition runs a stored "
    "definition, in its default version without another one. Data URIs over 4 kB in known *_url and "
    "*_urls inputs become uploads, and the workflow has their paths instead.",
    tag=TAG,
    permission=Permission.WRITE,
    for_runs=True,
    query=StartQuery,
    body=CreateWorkflow,
    other_body=RunDefinition,
    problems=(409,),
    status=201,
    response=WorkflowPublic,
    headers=("Location", "ETag"),
    optional_headers=RATE_LIMIT_HEADERS,
    takes=(IDEMPOTENCY_KEY,),
    waits=True,
)
LIST = read_operation(
    path=BASE,
    id="list_workflows",
    description="Ordered by creation date, newest first.",
    tag=TAG,
    query=ListQuery,
    response=WorkflowListResponse,
    headers=("Link", "ETag"),
    takes=(IF_NONE_MATCH,),
)
GET = tagged_read_operation(
    path=ONE,
    id="get_workflow",
    description="The workflow, deleted or not, with its steps.",
    tag=TAG,
    for_runs=True,
    query=GetQuery,
    response=WorkflowPublic,
    waits=True,
)
UPDATE = Operation(
    method="PATCH",
    path=ONE,
    id="update_workflow",
    description="Can update name, description, webhook_url. Also labels and config.budget, which are replaced as a "
    "whole. null clears a member (but not name). Absent ones don't change.",
    tag=TAG,
    permission=Permission.WRITE,
    body=WorkflowUpdate,
    response=WorkflowPublic,
    body_types=(JSON_TYPE, MERGE_PATCH_TYPE),
    problems=(409,),
    headers=("ETag",),
    takes=CHANGING,
)
COUNTS = read_operation(
    path=BASE + "counts",
    id="count_workflows",
    description="The number of workflows in each status, of those that match the filters. At most five seconds old.",
    tag=TAG,
    query=FilterQuery,
    response=WorkflowCountsResponse,
)
DEFINITION = read_operation(
    path=ONE + "/definition",
    id="get_workflow_definition",
    description="A definition that creates the same workflow again. Members that were null or had their default are "
    "absent. depends_on has what was sent, without dependencies that mappings imply. name, description, webhook_url "
    "and labels are those of today.",
    tag=TAG,
    response=CreateWorkflow,
    headers=("ETag",),
)
DELETE_DATA = Operation(
    method="DELETE",
    path=ONE + "/data",
    id="delete_workflow_data",
    description="Deletes all rows and files of the workflow for good, for example for a privacy request. Must not be "
    "RUNNING, and no job of it may be followed up. A file that another definition names stays until that one is "
    "deleted. Runs that have taken over results lose the files: lost_by lists them. "
    "Afterwards the id is unknown. What remains is a record of the id, the caller and the time. If something is left "
    "after ten seconds, pending is true, and the service goes on.",
    tag=TAG,
    permission=Permission.WRITE,
    response=WorkflowDataDeletion,
    problems=(409,),
)


def _verb(verb: str, description: str, *, waits: bool = False) -> Operation:
    return Operation(
        method="POST",
        path=f"{ONE}/{verb}",
        id=f"{verb}_workflow",
        description=description,
        tag=TAG,
        permission=Permission.WRITE,
        query=VerbQuery,
        response=WorkflowPublic,
        also=DRY_RUN_RESPONSE,
        problems=(409,),
        headers=("ETag",),
        takes=CHANGING,
        waits=waits,
    )


START = _verb("start", "Must be PENDING.", waits=True)
PAUSE = _verb("pause", "Must be RUNNING. Nothing new starts; running steps end and are recorded.")
RESUME = _verb(
    "resume", "Only FAILED or PAUSED. Resets failed and running steps and goes on from the last checkpoint.", waits=True
)
CANCEL = replace(
    _verb("cancel", "Cancels the workflow and all running tasks. Must be PENDING or RUNNING."),
    method="DELETE",
    path=ONE,
    for_runs=True,
)
CLEANUP = replace(
    _verb(
        "cleanup",
        "Soft-deletes the workflow; with cleanup_tasks also deletes output files and soft-deletes task records. "
        "Must not be RUNNING. If files are left after ten seconds, pending is true, and the service goes on with them. "
        "The event workflow.files_deleted reports the end.",
    ),
    query=CleanupQuery,
    response=WorkflowCleanupResponse,
)


async def creation_response(
    request: ApiRequest, services: Services, workflow: FoundWorkflow, warnings: Sequence[DefinitionWarning]
) -> ApiResponse:
    # A workflow that isn't started won't end, so there is nothing to wait for.
    wait = workflow.status is not WorkflowStatus.PENDING
    headers = {"Location": f"{BASE}{workflow.id}"}
    return await (respond_after_wait if wait else respond_now)(request, services, workflow, headers, 201, warnings)


def rebuild_creation(
    read: Callable[[ApiRequest, Services], Awaitable[ValidatedWorkflow]],
) -> Callable[[ApiRequest, Services, FoundWorkflow], Awaitable[ApiResponse]]:
    """Return the function that responds to a repeated request. The warnings are those that its body has today."""

    async def respond(request: ApiRequest, services: Services, workflow: FoundWorkflow) -> ApiResponse:
        warnings: Sequence[DefinitionWarning] = ()
        # What the settings, a stored definition or an earlier run are now may refuse it.
        with suppress(InvalidRequest, InvalidTransition, NotFound, DefinitionArchived, TooManyValues):
            warnings = (await read(request, services)).warnings
        return await creation_response(request, services, workflow, warnings)

    return respond


async def _read_creation(request: ApiRequest, services: Services) -> ValidatedWorkflow:
    return await read_definition(request, services, await read_stored_parts(request, services))


async def _clean_again(request: ApiRequest, services: Services, _workflow: FoundWorkflow) -> ApiResponse:
    """Clean up again, because the report of the first run was lost. It deletes what that run left."""
    return await _clean(request, services, NO_PRECONDITIONS)


@endpoint(CREATE)
@idempotent(rebuild_creation(_read_creation))
async def create_workflow(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
    query = parse_query(request.scope["query_string"], StartQuery)
    caller = request.user
    if caller.only_runs and not query.start:
        raise Forbidden("A token with definitions:run starts what it creates.")
    if not caller.scope.every:
        show_rate_limit(request, caller.scope.tenant)
        await services.admission.check(caller.scope.tenant)  # first, because the body costs more
    stored = await read_stored_parts(request, services)
    size = len(await read_and_reserve(request))
    async with services.create_turns.turn(resources_of(request.scope).account, size):
        validated = await read_definition(request, services, stored)
        tenant = caller.tenant_for(validated.request.origin_tenant_id)
        show_rate_limit(request, tenant)
        record = await services.workflows.create(
            caller.scope, caller.subject, validated, tenant=tenant, start=query.start, preconditions=preconditions
        )
    await release_decoding(request)
    return await creation_response(request, services, record, validated.warnings)


@endpoint(LIST)
async def list_workflows(request: ApiRequest, services: ServicesDep, cursors: CursorsDep) -> ASGIApp:
    query = parse_query(request.scope["query_string"], ListQuery)
    wanted = query.as_page(cursors)
    scope = request.user.scope
    if wanted.origin_tenant_id is not None:
        resources_of(request.scope).count_for(wanted.origin_tenant_id)

    async def read() -> SharedPage:
        return SharedPage(await services.reads.store.page(scope, wanted), asyncio.Lock())

    shared = await services.shared_pages.read((scope, wanted), read)
    page = shared.page
    links = list_links(BASE, query, page, cursors)
    etag = partial(page_etag, total=page.total, links=links, query=query)
    headers = {"Link": links, ETAG: etag(page.versions)}
    if not_modified_response := not_modified(request, headers):
        return not_modified_response
    if page.workflows is None:
        numbers = b'],"total":%b,"skip":%d,"limit":%d}' % (json.encode(page.total), query.skip, query.limit)
        ids = list(page.versions)
        stream = StreamedResponse(ids, wanted.parts, headers, prefix=b'{"workflows":[', suffix=numbers, page_etag=etag)
        return send_response(request, services, stream)
    async with shared.encoding:
        if shared.body is None:
            shared.body = json.encode(await page_to_public(page, query.skip, query.limit))
    return send_response(request, services, StoredResponse(200, headers, shared.body))


@endpoint(GET)
async def get_workflow(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = _workflow_id(request)
    parts = parse_query(request.scope["query_string"], GetQuery).parts
    applied = await wait_if_preferred(request, services, workflow_id)
    if response := await not_modified_workflow(request, services, workflow_id, applied, parts):
        return response
    workflow = await services.reads.find(request.user.scope, workflow_id, parts)
    resources_of(request.scope).count_for(workflow.tenant)
    return send_response(request, services, await workflow_response(workflow, applied, parts=parts))


@endpoint(UPDATE)
@idempotent(respond_now)
async def update_workflow(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
    workflow_id = _workflow_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    refusal, handling = services.catalog.webhook_refusal, handling_of(request.scope)
    changes = await read_json(request, lambda body: parse_update(body, refusal, handling))
    caller = request.user
    return await workflow_response(
        await services.workflows.update(caller.scope, caller.subject, workflow_id, changes, preconditions)
    )


def _verb_handler(operation: Operation, verb: Literal["start", "pause", "resume", "cancel"]) -> HTTPRouteHandler:
    respond = respond_after_wait if operation.waits else respond_now

    @endpoint(operation)
    @supports_dry_run(verb)
    @idempotent(respond)
    async def perform(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
        workflow_id = _workflow_id(request)
        parse_query(request.scope["query_string"], VerbQuery)
        await ignore_empty_body(request)
        scope, subject = request.user.scope, request.user.subject
        workflow = await services.workflows.perform(scope, subject, workflow_id, verb, preconditions)
        return await respond(request, services, workflow)

    return perform


start_workflow = _verb_handler(START, "start")
pause_workflow = _verb_handler(PAUSE, "pause")
resume_workflow = _verb_handler(RESUME, "resume")
cancel_workflow = _verb_handler(CANCEL, "cancel")


@endpoint(CLEANUP)
@supports_dry_run("cleanup")
@idempotent(_clean_again)
async def cleanup_workflow(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
    return await _clean(request, services, preconditions)


async def _clean(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
    workflow_id = _workflow_id(request)
    query = parse_query(request.scope["query_string"], CleanupQuery)
    await ignore_empty_body(request)
    await resources_of(request.scope).count_for_owner()  # it may wait for long
    caller = request.user
    workflow, report = await services.workflows.cleanup(
        caller.scope, caller.subject, workflow_id, cleanup_tasks=query.cleanup_tasks, preconditions=preconditions
    )
    if isinstance(workflow, LargeWorkflow):
        suffix = b',"cleanup":' + json.encode(report) + b"}"
        return StreamedResponse((workflow.id,), prefix=b'{"workflow":', suffix=suffix)
    return response_with_etag(workflow, WorkflowCleanupResponse(await workflow_to_public(workflow), report))


@endpoint(DELETE_DATA)
async def delete_workflow_data(request: ApiRequest, services: ServicesDep) -> WorkflowDataDeletion:
    workflow_id = _workflow_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    await ignore_empty_body(request)
    await resources_of(request.scope).count_for_owner()  # it may wait for long
    return await services.workflows.delete_data(request.user.scope, request.user.subject, workflow_id)


@endpoint(COUNTS)
async def count_workflows(request: ApiRequest, services: ServicesDep) -> Response[WorkflowCountsResponse]:
    query = parse_query(request.scope["query_string"], FilterQuery)
    counts = await services.counts.read(request.user.scope, query.as_filter())
    by_status = {status: counts.by_status.get(status, 0) for status in WorkflowStatus}
    return Response(WorkflowCountsResponse(by_status, sum(by_status.values()), counts.at))


@endpoint(DEFINITION)
async def get_workflow_definition(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = _workflow_id(request)
    parse_query(request.scope["query_string"], NoQuery)
    record = await services.reads.get(request.user.scope, workflow_id)
    return response_streams(request, services).definition(record)


def _workflow_id(request: ApiRequest) -> UUID:
    return parse_id(request.path_params["workflow_id"], "workflow")
