"""The operations that explain why a workflow doesn't progress, and that plan what a definition would do and cost."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from litestar import Response
from litestar.types import ASGIApp
from msgspec import Raw, json, structs

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.body_buffers import reserve_memory
from stepwell.api.requests.operations import NoQuery, Operation, endpoint, tagged_read_operation
from stepwell.api.requests.query_parameters import parse_id, parse_query
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import respond_unless_known
from stepwell.api.responses.serializers import encode_in_slices
from stepwell.api.routes.definitions import read_definition, read_stored_parts
from stepwell.basics.errors import Fault, InvalidRequest
from stepwell.contract.definition import CreateWorkflow
from stepwell.contract.forecasts import PlannedStep, WorkflowPlan
from stepwell.contract.reasons import Explanation
from stepwell.contract.scopes import Permission
from stepwell.contract.stored_definitions import RunDefinition
from stepwell.definition.mapping.input_mapping import EVERY_TYPE
from stepwell.definition.validation.workflow import ValidatedWorkflow
from stepwell.engine.service import Services

MOST_STEP_BYTES: Final = 32 * 1024 * 1024
MOST_INHERITED: Final = 1_000_000  # members of all steps together
_PART_BYTES = 256 * 1024  # that are encoded in one iteration of the event loop

EXPLAIN = tagged_read_operation(
    path="/api/v1/workflows/{workflow_id}/explain",
    id="explain_workflow",
    description="The reason why the workflow doesn't progress, and one reason for each step that has not ended, as far "
    "as the process that responds knows.",
    tag="workflows",
    for_runs=True,
    response=Explanation,
)
PLAN = Operation(
    method="POST",
    path="/api/v1/workflows/plan",
    id="plan_workflow",
    description="Validates a definition exactly as create does, and returns what a run would involve: order, calls "
    "and prices. Nothing is stored.",
    tag="workflows",
    permission=Permission.READ,
    for_runs=True,
    body=CreateWorkflow,
    other_body=RunDefinition,
    problems=(409,),
    response=WorkflowPlan,
)


@endpoint(EXPLAIN)
async def explain_workflow(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
    parse_query(request.scope["query_string"], NoQuery)
    explanation = await services.explainer.explain(request.user.scope, workflow_id)
    steps = await encode_in_slices(explanation.steps, lambda step: step)
    return await respond_unless_known(request, structs.replace(explanation, steps=steps))


@endpoint(PLAN)
async def plan_definition(request: ApiRequest, services: ServicesDep) -> Response[bytes]:
    parse_query(request.scope["query_string"], NoQuery)
    validated = await read_definition(request, services, await read_stored_parts(request, services))
    return Response(await encoded_plan(request, services, validated), media_type="application/json")


async def encoded_plan(request: ApiRequest, services: Services, validated: ValidatedWorkflow) -> bytes:
    """Return the plan of a run as JSON. Raises `InvalidRequest`."""
    tenant = request.user.tenant_for(validated.request.origin_tenant_id)
    if _inherited_members(validated.request) > MOST_INHERITED:
        raise _too_large(f"The steps of the plan would have more than {MOST_INHERITED:,} members from the defaults")
    await services.reads.check_reuse(tenant, validated.reuse)
    plan = await services.planner.plan(request.user.scope, tenant, validated)
    return json.encode(structs.replace(plan, steps=await _encode_steps(request, plan.steps)))


async def _encode_steps(request: ApiRequest, steps: Sequence[PlannedStep]) -> list[PlannedStep]:
    """Return the JSON of the steps instead of the list, at most `MOST_STEP_BYTES`.

    Each step shows the defaults that it inherits, so a small definition may have a plan of gigabytes.
    """
    memory = await resources_of(request.scope).memory()
    parts: list[bytes] = []
    size = reserved = 0
    for step in steps:
        parts.append(json.encode(step))
        size += len(parts[-1])
        if size > MOST_STEP_BYTES:
            raise _too_large(f"The steps of the plan would have more than {MOST_STEP_BYTES:,} bytes with the defaults")
        if size - reserved >= _PART_BYTES:
            await reserve_memory(memory, memory.held + size - reserved)
            reserved = size
            await asyncio.sleep(0)
    return cast("list[PlannedStep]", cast("Any", Raw(b"[" + b",".join(parts) + b"]")))


def _inherited_members(definition: CreateWorkflow) -> int:
    defaults = definition.config.get("step_defaults") or {}
    sizes = {key: len(members or ()) for key, members in defaults.items()}
    return sum(sizes.get(EVERY_TYPE, 0) + sizes.get(step.task_type, 0) for step in definition.steps)


def _too_large(message: str) -> InvalidRequest:
    return InvalidRequest([Fault(("body", "config", "step_defaults"), message, "too_large")])
