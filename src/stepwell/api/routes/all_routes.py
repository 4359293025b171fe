"""Builds the ASGI app: every route, the middleware, and the dependencies of the handlers."""

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cache
from http import HTTPMethod
from time import perf_counter
from typing import Any, Protocol

from litestar import Litestar, Router
from litestar.di import Provide
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.template import TemplateConfig
from litestar.types import ExceptionHandlersMap, Message, Scope
from prometheus_client import Counter, Histogram

from stepwell import __version__
from stepwell.api.auth.authentication import AccessControl, TokenVerifier
from stepwell.api.auth.cross_origin import CrossOrigin
from stepwell.api.auth.dependencies import ApiDescription
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.api.openapi.document import build_document, encode, response_headers
from stepwell.api.openapi.schema_page import render_page
from stepwell.api.requests.body_decoding import BigBodyDecoder
from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.api.requests.operations import OPT_KEY, SHARED_KEY, Operation
from stepwell.api.requests.preferences import report_handling
from stepwell.api.requests.request_bodies import MAX_BODY_BYTES
from stepwell.api.requests.request_resources import ProcessResources
from stepwell.api.responses import problems
from stepwell.api.responses.secret_urls import protect_secret_url
from stepwell.api.routes import artifacts as artifact_routes
from stepwell.api.routes import (
    deliveries,
    diagnostics,
    events,
    manual,
    providers,
    steps,
    system,
    uploads,
    usage,
    waits,
    workflow_outputs,
    workflows,
)
from stepwell.api.routes.middleware import BEGAN, RequestMiddleware
from stepwell.api.routes.routing import on_no_route, options_handlers, wrong_method_handler
from stepwell.api.routes.usage import add_rate_limit
from stepwell.basics.strict_json.normalise import Handling
from stepwell.engine.execution.workflow_admission import WorkflowAdmission
from stepwell.engine.service import Services
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock
from stepwell.rules.access.decision_links import DecisionLinks
from stepwell.rules.access.page_cursors import PageCursors
from stepwell.rules.access.signed_urls import SignedUrls
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.telemetry import Metrics

_MODULES = [workflows, steps, waits, diagnostics, workflow_outputs, deliveries, events, uploads, artifact_routes]
_MODULES += [providers, usage, system, manual]
HANDLERS = tuple(each for module in _MODULES for each in vars(module).values() if isinstance(each, HTTPRouteHandler))
_METHODS = frozenset(HTTPMethod)


class WebPages(Protocol):
    """The web page: its handlers, the dependencies that only they have, and its templates."""

    @property
    def handlers(self) -> tuple[HTTPRouteHandler, ...]: ...
    @property
    def dependencies(self) -> dict[str, Any]: ...
    @property
    def templates(self) -> TemplateConfig[Any]: ...


Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]] | AbstractAsyncContextManager[None]


def build_api(
    *,
    services: Services,
    artifacts: Artifacts,
    verifier: TokenVerifier,
    signed_urls: SignedUrls,
    providers: tuple[str, ...],
    tickets: StreamTickets,
    cookies: SessionCookies,
    cursors: PageCursors,
    decision_links: DecisionLinks,
    clock: Clock,
    metrics: Metrics,
    connections: ConnectionLimits,
    body_timeout_s: float,
    handling: Handling,
    cross_origin: CrossOrigin | None,
    pages: WebPages | None = None,
    lifespan: Sequence[Lifespan] = (),
) -> Litestar:
    """Return the ASGI app, with the web page if *pages* are given. *providers* are the names of the installed ones.

    It opens and closes none of its arguments; *lifespan* may do that.
    """
    handlers, page_dependencies = (pages.handlers, pages.dependencies) if pages else ((), {})
    dependencies = {
        name: Provide(_always(value), use_cache=True, sync_to_thread=False)
        for name, value in {
            "services": services,
            "artifacts": artifacts,
            "signed_urls": signed_urls,
            "clock": clock,
            "tickets": tickets,
            "session_cookies": cookies,
            "cursors": cursors,
            "decision_links": decision_links,
            "metrics": metrics,
            "description": describe(providers),
            **page_dependencies,
        }.items()
    }
    return Litestar(
        _parsed_handlers(frozenset(dependencies), handlers),
        dependencies=dependencies,
        middleware=[
            RequestMiddleware(
                ProcessResources(
                    services.memory, connections, services.reads, BigBodyDecoder(), body_timeout_s, handling
                ),
                AccessControl(verifier, signed_urls, tickets, cookies, clock, lambda: services.availability.draining),
            )
        ],
        before_send=[_start_hook(metrics, services.admission, cross_origin)],
        exception_handlers=_exception_handlers(),
        template_config=pages.templates if pages else None,
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
    )


def _exception_handlers() -> ExceptionHandlersMap:
    return {
        **problems.HANDLERS,
        NotFoundException: on_no_route,
        MethodNotAllowedException: wrong_method_handler(operations()),
    }


@cache
def _parsed_handlers(dependencies: frozenset[str], pages: tuple[HTTPRouteHandler, ...]) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of all routes, those of *pages* among them. Each app copies them.

    Their signatures are parsed once, and not for each app of a test run. A model of a signature depends on the names of
    the app's dependencies, so the handlers belong to a router with those names until an app takes them.
    """
    provided = {name: Provide(_always(name), sync_to_thread=False) for name in dependencies}
    router = Router("/", route_handlers=(), dependencies=provided)
    handlers = (*options_handlers(operations()), *HANDLERS, *pages)
    for handler in handlers:
        handler.owner = router
        _ = handler.signature_model
    return handlers


def operations() -> list[Operation]:
    """Return all operations. A handler without one raises KeyError, because nothing would check access to it."""
    return [each for handler in HANDLERS for each in (handler.opt[OPT_KEY], *handler.opt[SHARED_KEY])]


def build_cross_origin(origins: Collection[str]) -> CrossOrigin | None:
    """Return the headers of CORS for pages of *origins*; None if there are none."""
    return CrossOrigin(origins, operations(), response_headers(operations())) if origins else None


def openapi_document(providers: Sequence[str]) -> dict[str, Any]:
    """Return the OpenAPI document of a service with these installed *providers*."""
    return build_document(operations(), __version__, providers)


@cache
def describe(providers: tuple[str, ...]) -> ApiDescription:
    """Return the document and its page. They take 0.1 s to build."""
    document = openapi_document(providers)
    return ApiDescription(encode(document), render_page(document))


def _always(value: Any) -> Callable[[], Any]:
    def provide() -> Any:
        return value

    return provide


def _start_hook(
    metrics: Metrics, admission: WorkflowAdmission, cross_origin: CrossOrigin | None
) -> Callable[[Message, Scope], Any]:
    """Return a hook that counts responses when they start, and adds the headers about the whole service:
    `RateLimit`, `Preference-Applied` and those of CORS.

    A middleware wouldn't see requests that routing refuses.
    """
    # By route, method and status. Finding a metric by its labels takes longer than counting.
    cache: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def metrics_of(key: tuple[str, str, int]) -> tuple[Counter, Histogram]:
        if key not in cache:
            cache[key] = metrics.requests.labels(*key), metrics.latency.labels(*key[:2])
        return cache[key]

    async def on_send(message: Message, scope: Scope) -> None:
        if message["type"] != "http.response.start":
            return
        # Only templates and known methods, so that callers can't create time series.
        route = scope.get("path_template") or "unmatched"
        method = str(scope.get("method"))
        requests, latency = metrics_of((route, method if method in _METHODS else "other", message["status"]))
        requests.inc()
        if BEGAN in scope["state"]:
            latency.observe(perf_counter() - scope["state"][BEGAN])
        add_rate_limit(message, scope, admission)
        report_handling(message, scope)
        if cross_origin is not None:
            cross_origin.add_headers(message, scope)
        protect_secret_url(message, scope)

    return on_send
