"""The operation that runs an old run again, with changes: it takes over the results that these don't concern."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID

from litestar import Response
from litestar.types import ASGIApp
from msgspec import json, structs

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.body_buffers import BodyTooLarge, reserve_memory
from stepwell.api.requests.headers import IDEMPOTENCY_KEY
from stepwell.api.requests.operations import Operation, endpoint
from stepwell.api.requests.query_parameters import StartQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import MAX_BODY_BYTES, decode_in_turn, read_and_reserve, read_struct
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import response_streams
from stepwell.api.responses.dry_run import MEDIA_TYPE
from stepwell.api.responses.idempotency import idempotency_key, idempotent
from stepwell.api.responses.streamed_responses import ApiResponse
from stepwell.api.routes.definitions import read_definition, read_stored_parts
from stepwell.api.routes.diagnostics import encoded_plan
from stepwell.api.routes.workflows import ONE, TAG, creation_response, rebuild_creation
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.basics.strict_json.merge_patch import merge_patch
from stepwell.basics.strict_json.schema_faults import Loc, printable_key
from stepwell.contract.definition import RerunWorkflow
from stepwell.contract.fields import about
from stepwell.contract.forecasts import WorkflowPlan
from stepwell.contract.scopes import Permission
from stepwell.contract.stored_definitions import DEFINITION
from stepwell.contract.workflows import WorkflowPublic
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.service import Services
from stepwell.lifecycle.allowed_verbs import check_allowed
from stepwell.lifecycle.model import ReuseRule
from stepwell.lifecycle.preconditions import Preconditions


class RerunQuery(StartQuery, frozen=True):
    dry_run: Annotated[bool, about("Return the plan of the new run, and create nothing")] = False


_COPIES = 3  # of a definition: as text, decoded, and as the new body

RERUN = Operation(
    method="POST",
    path=ONE + "/rerun",
    id="rerun_workflow",
    description="Creates a new run from the definition of one that has ended or is PAUSED, with the changes in the "
    "body. Steps whose work hasn't changed take over their results, and cost nothing. The old run never changes. The "
    "response and the query are those of create. With dry_run=true, the response is the plan of the new run, with a "
    "forecast of each step, and nothing is created.",
    tag=TAG,
    permission=Permission.WRITE,
    query=RerunQuery,
    body=RerunWorkflow,
    body_optional=True,
    problems=(409,),
    status=201,
    repeat_status=200,  # of a dry run
    response=WorkflowPublic,
    also=((MEDIA_TYPE, WorkflowPlan),),
    optional_headers=("Location", "ETag"),
    takes=(IDEMPOTENCY_KEY,),
    waits=True,
)


async def _rerun(request: ApiRequest, services: Services, preconditions: Preconditions) -> ApiResponse:
    query = parse_query(request.scope["query_string"], RerunQuery)
    caller = request.user
    if not caller.scope.every:
        await services.admission.check(caller.scope.tenant)  # first, because the definition costs more
    validated = await read_rerun(request, services)
    tenant = caller.tenant_for(validated.request.origin_tenant_id)
    record = await services.workflows.create(
        caller.scope, caller.subject, validated, tenant=tenant, start=query.start, preconditions=preconditions
    )
    return await creation_response(request, services, record, validated.warnings)


async def read_rerun(request: ApiRequest, services: Services) -> ValidatedWorkflow:
    """Return the workflow that the request creates. The body becomes that of a create.

    Raises `NotFound`, `InvalidTransition`, and what `read_definition` does.
    """
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    changes = await read_struct(request, RerunWorkflow)
    old = await services.reads.get(request.user.scope, workflow_id)
    check_allowed("rerun", old.state)
    data = await response_streams(request, services).definition_text(old, MAX_BODY_BYTES)
    if data is None:
        raise BodyTooLarge(MAX_BODY_BYTES)
    memory, resources = await resources_of(request.scope).memory(), resources_of(request.scope)
    await reserve_memory(memory, memory.held + _COPIES * len(data))
    resources.body = await decode_in_turn(request, data, lambda: _with_changes(data, workflow_id, changes))
    stored = await read_stored_parts(request, services)
    text = resources.body
    resources.body = await decode_in_turn(request, text, lambda: _with_configs(text, changes.config, changes.steps))
    memory.shrink(2 * len(data))
    size = len(await read_and_reserve(request))
    async with services.create_turns.turn(resources.account, size):
        valid = await read_definition(request, services, stored)
    reuse = ReuseRule(workflow_id, tuple(dict.fromkeys(changes.steps)))
    return structs.replace(valid, reuse=reuse, definition=stored.definition or old.definition)


def _with_changes(definition: bytes, workflow_id: UUID, changes: RerunWorkflow) -> bytes:
    """Return the body of a create: the *definition* of the old run, with the inputs and the definition changed."""
    body: dict[str, Any] = json.decode(definition)
    inputs = merge_patch(body.get("inputs", {}), changes.inputs)
    body |= {"inputs": inputs, "reuse": {"from": workflow_id}}
    if changes.definition is not None:
        del body["steps"]
        body.pop("inputs_schema", None)
        body[DEFINITION] = changes.definition
    return json.encode(body)


def _with_configs(body: bytes, configs: Mapping[str, Any], named: Sequence[str]) -> bytes:
    """Return the *body* with the *configs* of steps merged over theirs.

    Raises `InvalidRequest` if it lacks one of these steps, or one of the *named* ones.
    """
    decoded: dict[str, Any] = json.decode(body)
    steps = {step["id"]: step for step in decoded["steps"]}
    places: list[tuple[Loc, str]] = [(("body", "config", printable_key(step_id)), step_id) for step_id in configs]
    places += [(("body", "steps", number), step_id) for number, step_id in enumerate(named)]
    if faults := [
        Fault(place, "The definition has no such step", "unknown_step")
        for place, step_id in places
        if step_id not in steps
    ]:
        raise InvalidRequest(faults)
    for step_id, config in configs.items():
        steps[step_id]["config"] = merge_patch(steps[step_id].get("config", {}), config)
    return json.encode(decoded)


_rerun_once = idempotent(rebuild_creation(read_rerun))(_rerun)


@endpoint(RERUN)
async def rerun_workflow(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    if not parse_query(request.scope["query_string"], RerunQuery).dry_run:
        return await _rerun_once(request, services)
    idempotency_key(request)  # refuses a malformed one
    plan = await encoded_plan(request, services, await read_rerun(request, services))
    return Response(plan, media_type=MEDIA_TYPE, status_code=200).to_asgi_response(None, request)
