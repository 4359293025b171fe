"""`?dry_run=true` on a verb: what it would do, of its own code, and nothing is changed.

The answer is of another media type than the verb's, so that clients of the contract know what they get. Its ETag is
the workflow's version: with it as `If-Match` the verb itself does what was foretold, or nothing. No key is kept for it.
"""

from collections.abc import Awaitable, Callable

from litestar import Response
from msgspec import json

from stepwell.api.dependencies import ApiRequest, Service
from stepwell.api.idempotency import ETAG, foretold, idempotency_key, terms_of
from stepwell.api.queries import CleanupQuery, VerbQuery, parse_id, parse_query
from stepwell.api.request_bodies import ignore_empty_body
from stepwell.domain.diagnostics.plan_result import DryRun, Rehearsed

MEDIA_TYPE = "application/vnd.stepwell.dry-run+json"
FORETOLD = ((MEDIA_TYPE, DryRun),)
_Handler = Callable[..., Awaitable[Response[bytes]]]


def rehearsable(verb: Rehearsed) -> Callable[[_Handler], _Handler]:
    """Let the decorated handler of *verb* be asked for what it would do."""

    def decorate(real: _Handler) -> _Handler:
        async def handler(request: ApiRequest, service: Service) -> Response[bytes]:
            raw = request.scope["query_string"]
            asked = parse_query(raw, CleanupQuery) if verb == "cleanup" else parse_query(raw, VerbQuery)
            if not asked.dry_run:
                return await real(request, service)
            idempotency_key(request)  # refuses a malformed one, as the verb does
            workflow_id = parse_id(request.path_params["workflow_id"], "workflow")
            await ignore_empty_body(request)
            cleanup_tasks = isinstance(asked, CleanupQuery) and asked.cleanup_tasks
            version, told = await service.insight.rehearse(
                request.user.scope, workflow_id, verb, terms_of(request), cleanup_tasks=cleanup_tasks
            )
            return Response(json.encode(told), media_type=MEDIA_TYPE, headers={ETAG: foretold(version)})

        handler.__name__ = handler.__qualname__ = real.__name__
        return handler

    return decorate
