"""`Prefer: wait=N` (RFC 7240): the response is held until the workflow has ended, for at most N seconds."""

from collections.abc import Sequence
from uuid import UUID

from anyio import create_task_group

from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.headers import APPLIED, NO_HEADERS, Headers
from stepwell.api.requests.preferences import preferences_of
from stepwell.api.requests.request_resources import resources_of
from stepwell.api.responses.conditional_requests import workflow_response
from stepwell.api.responses.streamed_responses import ApiResponse, cancel_on_disconnect
from stepwell.basics.errors import StepwellError, Unavailable
from stepwell.contract.problems import DefinitionWarning
from stepwell.engine.service import Services
from stepwell.rules.large_workflow_records import FoundWorkflow


async def wait_if_preferred(request: ApiRequest, services: Services, workflow_id: UUID) -> Headers:
    """Wait for the workflow's end, for as long as the request prefers. Return the response headers that report it.

    Raises `Unavailable` if the client disconnects meanwhile: nobody reads the response then, and a request with an
    idempotency key stores none, so a repeat waits again.
    """
    seconds = preferences_of(request.scope).wait_s
    if seconds is None:
        return NO_HEADERS
    if seconds:
        await resources_of(request.scope).count_for_owner()
        await _wait(request, services, workflow_id, seconds)
    return {APPLIED: f"wait={seconds}"}


async def respond_after_wait(
    request: ApiRequest,
    services: Services,
    workflow: FoundWorkflow,
    headers: Headers = NO_HEADERS,
    status: int = 200,
    warnings: Sequence[DefinitionWarning] = (),
) -> ApiResponse:
    """Return the workflow: as it is after the wait if the request prefers one, else as *workflow* has it."""
    if applied := await wait_if_preferred(request, services, workflow.id):
        workflow, headers = await services.reads.find(request.user.scope, workflow.id), {**headers, **applied}
    return await workflow_response(workflow, headers, status, warnings=warnings)


async def respond_now(
    _request: ApiRequest,
    _services: Services,
    workflow: FoundWorkflow,
    headers: Headers = NO_HEADERS,
    status: int = 200,
    warnings: Sequence[DefinitionWarning] = (),
) -> ApiResponse:
    """Return the workflow as *workflow* has it."""
    return await workflow_response(workflow, headers, status, warnings=warnings)


async def _wait(request: ApiRequest, services: Services, workflow_id: UUID, seconds: int) -> None:
    failure: StepwellError | None = None
    ended = False
    async with create_task_group() as group:
        group.start_soon(cancel_on_disconnect, request.receive, group.cancel_scope, name="client of a waiting request")
        try:
            await services.completion.until_terminal(request.user.scope, workflow_id, seconds)
        except StepwellError as error:  # returned, because the group would wrap it in an ExceptionGroup
            failure = error
        else:
            ended = True
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not ended:
        raise Unavailable("the caller has disconnected")
