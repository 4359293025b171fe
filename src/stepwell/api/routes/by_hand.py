"""The operations that end steps and items by hand, and the route that they share with decisions.

A step's id may contain slashes, so the route of a step takes the rest of the path, and the end of the path says which
operation it is: `…/items/{item}/result` is about an item, even if a step has an id that ends like that. Such a step is
reached if its id is percent-encoded.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import unquote
from uuid import UUID

from litestar import Response
from litestar.types import ASGIApp
from msgspec import json
from msgspec.structs import replace

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import CHANGING, ETAG
from stepwell.api.requests.operations import Operation, endpoint, operation_of
from stepwell.api.requests.query_parameters import VerbQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import ignore_empty_body, read_struct
from stepwell.api.responses.conditional_requests import read_preconditions
from stepwell.api.responses.dry_run import DRY_RUN_RESPONSE, MEDIA_TYPE
from stepwell.api.responses.idempotency import idempotency_key, idempotent
from stepwell.api.responses.serializers import item_to_public, step_to_public
from stepwell.api.responses.workflow_etags import dry_run_etag
from stepwell.api.routes.steps import STEP, raw_path_after
from stepwell.api.routes.waits import DECIDE, decide
from stepwell.basics.idempotency import StoredResponse
from stepwell.contract.forecasts import DryRunVerb
from stepwell.contract.scopes import Permission
from stepwell.contract.workflows import GiveResult, ItemPublic, WorkflowStepPublic
from stepwell.engine.files.ends_by_hand import WantedEnd
from stepwell.engine.service import Services
from stepwell.lifecycle.preconditions import Preconditions
from stepwell.rules.large_workflow_records import FoundWorkflow

_WHEN = "The workflow is FAILED or PAUSED, and {0} is neither COMPLETED nor RUNNING; otherwise it is a 409. Nothing "
_WHEN += "starts before resume. dry_run=true only reports what would change."

GIVE_RESULT = Operation(
    method="POST",
    path=STEP.path + "/result",
    served_at=STEP.path,
    id="give_step_result",
    description="Completes a step with a result that a person gives. The result has the members that results of its "
    "task type have. Files are uploaded before, and named by their paths. That of a step with for_each has items, the "
    "results in their order. A step that waits, or runs a sub-workflow, takes none. " + _WHEN.format("the step"),
    tag="workflows",
    permission=Permission.WRITE,
    query=VerbQuery,
    body=GiveResult,
    response=WorkflowStepPublic,
    also=DRY_RUN_RESPONSE,
    optional_headers=(ETAG,),
    problems=(409,),
    takes=CHANGING,
)
SKIP = replace(
    GIVE_RESULT,
    path=STEP.path + "/skip",
    id="skip_step",
    description="Skips a step: it counts as done, resume leaves it, and its dependants follow their run_if. "
    + _WHEN.format("the step"),
    body=None,
)
GIVE_ITEM_RESULT = replace(
    GIVE_RESULT,
    path=STEP.path + "/items/{item}/result",
    id="give_item_result",
    description="Completes an item of a step with a result that a person gives, as give_step_result does. Items of a "
    "step that is COMPLETED or SKIPPED stay as they are. " + _WHEN.format("the item"),
    response=ItemPublic,
)
SKIP_ITEM = replace(
    SKIP,
    path=STEP.path + "/items/{item}/skip",
    id="skip_item",
    description="Skips an item of a step: its result is null, it counts as done, and resume leaves it. "
    + _WHEN.format("the item"),
    response=ItemPublic,
)


def _target(request: ApiRequest) -> tuple[UUID, str, int | None]:
    """Return the workflow, the id of the step, and the number of the item; None for the step itself."""
    workflow_id, path = parse_id(request.path_params["workflow_id"], "workflow"), raw_path_after(request, "steps")
    path, item = path.rpartition("/")[0], None
    if operation_of(request.scope) in (GIVE_ITEM_RESULT, SKIP_ITEM):
        path, _, number = path.rpartition("/items/")
        item = int(number)
    return workflow_id, unquote(path), item


async def _end(request: ApiRequest, services: Services, preconditions: Preconditions) -> StoredResponse:
    wanted = WantedEnd(*_target(request), await _result(request))
    await services.workflows.end_by_hand(request.user.scope, request.user.subject, wanted, preconditions)
    return await _ended(request, services)


async def _result(request: ApiRequest) -> dict[str, Any] | None:
    """Return the result of the body; None if the operation takes none."""
    if operation_of(request.scope) in (GIVE_RESULT, GIVE_ITEM_RESULT):
        return (await read_struct(request, GiveResult)).result
    await ignore_empty_body(request)
    return None


async def _ended(request: ApiRequest, services: Services, _: FoundWorkflow | None = None) -> StoredResponse:
    """Return the response with the step or the item as it is now."""
    (workflow_id, step_id, number), scope = _target(request), request.user.scope
    step = await services.reads.step(scope, workflow_id, step_id)
    if number is None:
        return StoredResponse(200, {}, json.encode(step_to_public(step)))
    item = await services.reads.item(scope, workflow_id, step_id, number)
    repeats = step.resolved.flow is not None and step.resolved.flow.repeat is not None
    return StoredResponse(200, {}, json.encode(item_to_public(item, repeats=repeats)))


_end_once = idempotent(_ended)(_end)


async def _end_or_forecast(request: ApiRequest, services: Services) -> ASGIApp:
    if not parse_query(request.scope["query_string"], VerbQuery).dry_run:
        return await _end_once(request, services)
    idempotency_key(request)  # refuses a malformed one, as the verb does
    wanted, caller = WantedEnd(*_target(request), await _result(request)), request.user
    by_hand = await services.workflows.input_by_hand(caller.scope, caller.subject, wanted, refer=False)
    verb: DryRunVerb = "skip" if wanted.result is None else "give_result"
    version, forecast = await services.dry_runner.run(
        caller.scope, wanted.workflow_id, verb, read_preconditions(request), by_hand=by_hand
    )
    response = Response(json.encode(forecast), media_type=MEDIA_TYPE, headers={ETAG: dry_run_etag(version)})
    return response.to_asgi_response(None, request)


_HANDLERS: Mapping[str, Callable[[ApiRequest, Services], Awaitable[ASGIApp]]] = {
    DECIDE.id: decide,
    **dict.fromkeys((each.id for each in (GIVE_RESULT, SKIP, GIVE_ITEM_RESULT, SKIP_ITEM)), _end_or_forecast),
}


# Of two templates that fit a path, the first one is meant.
@endpoint(DECIDE, GIVE_ITEM_RESULT, SKIP_ITEM, GIVE_RESULT, SKIP)
async def change_step(request: ApiRequest, services: ServicesDep) -> ASGIApp:
    operation = operation_of(request.scope)
    assert operation is not None
    return await _HANDLERS[operation.id](request, services)
