"""The API put together: every route, what stands before it, and what it is handed."""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from http import HTTPMethod
from time import perf_counter
from typing import Any

from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.enums import ScopeType
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.types import ASGIApp, Guard, Message, Receive, Scope, Send

from stepwell import __version__
from stepwell.api import artifacts as artifact_routes
from stepwell.api import problems, system, tasks, workflows
from stepwell.api.auth import Authentication, TokenVerifier, require_permission
from stepwell.api.bodies import MAX_BODY_BYTES
from stepwell.api.dependencies import ApiDescription, Workflows
from stepwell.api.openapi import build_document, encode
from stepwell.api.operations import OPT_KEY, Operation, Permission
from stepwell.api.schema_page import render_page
from stepwell.domain.errors import Unavailable
from stepwell.domain.signing import SignedUrls
from stepwell.ports import Artifacts, Clock
from stepwell.telemetry import Metrics

HANDLERS: tuple[HTTPRouteHandler, ...] = (
    *workflows.HANDLERS,
    *tasks.HANDLERS,
    *artifact_routes.HANDLERS,
    *system.HANDLERS,
)
_METHODS = frozenset(HTTPMethod)
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]] | AbstractAsyncContextManager[None]


def build_api(
    *,
    service: Workflows,
    artifacts: Artifacts,
    verifier: TokenVerifier,
    signed_urls: SignedUrls,
    clock: Clock,
    metrics: Metrics,
    lifespan: Sequence[Lifespan] = (),
) -> Litestar:
    """The ASGI app. It owns none of what it is handed: *lifespan* opens and closes that, if anything does."""
    description = describe()
    return Litestar(
        HANDLERS,
        dependencies={
            name: Provide(_always(value), use_cache=True, sync_to_thread=False)
            for name, value in {
                "service": service,
                "artifacts": artifacts,
                "metrics": metrics,
                "description": description,
            }.items()
        },
        middleware=[_Timing(), Authentication(verifier, signed_urls, clock)],
        guards=[require_permission, _refuse_writes_while_draining(service)],
        before_send=[_counting(metrics)],
        exception_handlers=problems.HANDLERS,
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
    )


def operations() -> list[Operation]:
    """All operations. A handler without one is a KeyError: it would have neither guard nor documentation."""
    return [handler.opt[OPT_KEY] for handler in HANDLERS]


def openapi_document() -> dict[str, Any]:
    return build_document(operations(), __version__)


def describe() -> ApiDescription:
    document = openapi_document()
    return ApiDescription(encode(document), render_page(document))


def _always(value: Any) -> Callable[[], Any]:
    def provide() -> Any:
        return value

    return provide


def _refuse_writes_while_draining(service: Workflows) -> Guard:
    def guard(_connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
        operation: Operation | None = handler.opt.get(OPT_KEY)
        if operation is not None and operation.permission is Permission.WRITE and service.draining:
            raise Unavailable("The service is stopping and takes no more work.")

    return guard


class _Timing(ASGIMiddleware):
    scopes = (ScopeType.HTTP,)

    async def handle(self, scope: Scope, receive: Receive, send: Send, next_app: ASGIApp) -> None:
        scope["state"]["began"] = perf_counter()
        await next_app(scope, receive, send)


def _counting(metrics: Metrics) -> Callable[[Message, Scope], Any]:
    """Counts where answers begin, not in a middleware: those don't see what routing refuses."""

    async def count(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        # Templates and known methods only, for a caller must not be able to make up time series.
        route = scope.get("path_template") or "unmatched"
        method = str(scope.get("method"))
        method = method if method in _METHODS else "other"
        metrics.requests.labels(route, method, message["status"]).inc()
        if "began" in scope["state"]:
            metrics.latency.labels(route, method).observe(perf_counter() - scope["state"]["began"])

    return count
