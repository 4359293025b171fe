"""`?dry_run=true` on a verb: the response reports what the verb would change, and nothing changes.

The response has its own media type, so that no client confuses it with the verb's response. Its ETag names the
version of the workflow that it describes. A verb with that ETag as `If-Match` does exactly what was reported, or fails
with 412. A dry run stores no idempotency key.
"""

from collections.abc import Awaitable, Callable

from litestar import Response
from litestar.types import ASGIApp
from msgspec import json

from stepwell.api.auth.dependencies import ApiRequest, ServicesDep
from stepwell.api.requests.headers import ETAG
from stepwell.api.requests.query_parameters import CleanupQuery, VerbQuery, parse_id, parse_query
from stepwell.api.requests.request_bodies import ignore_empty_body
from stepwell.api.responses.conditional_requests import read_preconditions
from stepwell.api.responses.idempotency import idempotency_key
from stepwell.api.responses.workflow_etags import dry_run_etag
from stepwell.contract.forecasts import ControlVerb, DryRun

MEDIA_TYPE = "application/vnd.stepwell.dry-run+json"
DRY_RUN_RESPONSE = ((MEDIA_TYPE, DryRun),)
_Handler = Callable[..., Awaitable[ASGIApp]]


def supports_dry_run(verb: ControlVerb) -> Callable[[_Handler], _Handler]:
    """Add `?dry_run=true` to the decorated handler of *verb*."""

    def decorate(perform: _Handler) -> _Handler:
        async def handler(request: ApiRequest, services: ServicesDep) -> ASGIApp:
            raw = request.scope["query_string"]
            query = parse_query(raw, CleanupQuery) if verb == "cleanup" else parse_query(raw, VerbQuery)
            if not query.dry_run:
                return await perform(request, services)
            idempotency_key(request)  # refuses a malformed one, as the verb does
            workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
            await ignore_empty_body(request)
            cleanup_tasks = isinstance(query, CleanupQuery) and query.cleanup_tasks
            version, result = await services.dry_runner.run(
                request.user.scope, workflow_id, verb, read_preconditions(request), cleanup_tasks=cleanup_tasks
            )
            response = Response(json.encode(result), media_type=MEDIA_TYPE, headers={ETAG: dry_run_etag(version)})
            return response.to_asgi_response(None, request)

        handler.__name__ = handler.__qualname__ = perform.__name__
        return handler

    return decorate
