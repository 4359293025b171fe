"""Builds the ASGI app: every route, the middleware, the dependencies of the handlers, and the responses of paths.

OPTIONS, and the 404 of a path that doesn't exist, are responses of paths instead of operations.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from copy import copy
from functools import cache, partial
from http import HTTPStatus
from typing import Any, Self

from litestar import HttpMethod, Litestar, Response, Router, route
from litestar.di import Provide
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.template import TemplateConfig
from litestar.types import ExceptionHandlersMap
from litestar.types.internal_types import RouteHandlerMapItem
from msgspec import Struct

from stepwell import __version__
from stepwell.api.auth.authentication import AccessControl, TokenVerifier
from stepwell.api.auth.cross_origin import CrossOrigin, is_preflight
from stepwell.api.auth.dependencies import ApiDescription, ApiRequest
from stepwell.api.auth.session_cookies import SessionCookies
from stepwell.api.openapi.document import build_document, encode, response_headers
from stepwell.api.requests.body_decoding import BigBodyDecoder
from stepwell.api.requests.connection_limits import ConnectionLimits
from stepwell.api.requests.headers import prefers
from stepwell.api.requests.operations import OPT_KEY, SHARED_KEY, WITH_SLASHES, Operation
from stepwell.api.requests.request_bodies import MAX_BODY_BYTES
from stepwell.api.requests.request_resources import ProcessResources
from stepwell.api.responses import problems
from stepwell.api.routes import artifacts as artifact_routes
from stepwell.api.routes import (
    by_hand,
    deliveries,
    diagnostics,
    events,
    providers,
    reruns,
    steps,
    stored_definitions,
    system,
    uploads,
    usage,
    waits,
    workflow_outputs,
    workflows,
)
from stepwell.api.routes.middleware import RequestMiddleware, start_hook
from stepwell.basics.strict_json.normalise import Handling
from stepwell.engine.service import Services
from stepwell.ports.artifacts import Artifacts
from stepwell.ports.clock import Clock
from stepwell.rules.access.cursors import PageCursors
from stepwell.rules.access.signed_urls import DecisionLinks, SignedUrls
from stepwell.rules.access.stream_tickets import StreamTickets
from stepwell.runtime.telemetry import Metrics

_MODULES = [
    workflows,
    reruns,
    steps,
    waits,
    by_hand,
    diagnostics,
    workflow_outputs,
    deliveries,
    events,
    uploads,
    artifact_routes,
]
_MODULES += [stored_definitions, providers, usage, system]
HANDLERS = tuple(each for module in _MODULES for each in vars(module).values() if isinstance(each, HTTPRouteHandler))
_MAX_PATH = 200
_PARAMETERS = re.compile(r"(\{\w+\})")


class WebPages(Struct, frozen=True):
    """The web page: its handlers, the dependencies that only they have, its templates, and its 404."""

    handlers: tuple[HTTPRouteHandler, ...]
    dependencies: dict[str, Any]
    templates: TemplateConfig[Any]
    no_such_page: Callable[[], Response[Any]]


class _App(Litestar):
    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        """Return the plugins. Litestar adds those of Pydantic, which no handler uses: 0.1 s and 10 MB."""
        return [*plugins, MsgspecDIPlugin()]


class _Routes(Router):
    """All routes of one app, which takes them at once. One by one, it would visit all earlier ones again for each."""

    def __init__(self, handlers: Sequence[HTTPRouteHandler]) -> None:
        super().__init__("/", route_handlers=())
        self._handlers = handlers

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # an app copies its routers, but this one belongs to one app only

    @property
    def route_handler_method_map(self) -> dict[str, RouteHandlerMapItem]:
        found = defaultdict[str, RouteHandlerMapItem](dict)
        for handler in map(copy, self._handlers):
            handler.owner = self
            for path in handler.paths:
                found[path].update(dict.fromkeys(handler.http_methods, handler))
        return found


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
    """Return the ASGI app, with the web page unless *pages* is None. *providers* are the names of the installed ones.

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
            **page_dependencies,
        }.items()
    }
    dependencies["description"] = Provide(lambda: describe(providers), use_cache=True, sync_to_thread=True)
    return _App(
        [_Routes(_parsed_handlers(frozenset(dependencies), handlers))],
        dependencies=dependencies,
        middleware=[
            RequestMiddleware(
                ProcessResources(
                    services.memory, connections, services.reads, BigBodyDecoder(), body_timeout_s, handling
                ),
                AccessControl(verifier, signed_urls, tickets, cookies, clock, lambda: services.availability.draining),
            )
        ],
        before_send=[start_hook(metrics, services.admission, cross_origin)],
        exception_handlers={**_EXCEPTION_HANDLERS, NotFoundException: partial(_on_not_found, pages)},
        template_config=pages.templates if pages else None,
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=list(lifespan),
        openapi_config=None,
        logging_config=None,
    )


@cache
def _parsed_handlers(dependencies: frozenset[str], pages: tuple[HTTPRouteHandler, ...]) -> tuple[HTTPRouteHandler, ...]:
    """Return the handlers of all routes, those of *pages* among them. `_Routes` copies them for each app.

    Their signatures are parsed once, and not for each app of a test run. A model of a signature depends on the names of
    the app's dependencies, so the handlers belong to a router with those names until an app takes them.
    """
    provided = {name: Provide(_always(name), sync_to_thread=False) for name in dependencies}
    router = Router("/", route_handlers=(), dependencies=provided)
    handlers = (*_options_handlers(operations()), *HANDLERS, *pages)
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


_describing = threading.Lock()


def describe(providers: tuple[str, ...]) -> ApiDescription:
    """Return the document. It takes 0.1 s to build, so a thread does it at the first request for it."""
    with _describing:  # `cache` would let each of many first requests build it
        return _describe(providers)


@cache
def _describe(providers: tuple[str, ...]) -> ApiDescription:
    return ApiDescription(encode(openapi_document(providers)))


def _always(value: Any) -> Callable[[], Any]:
    def provide() -> Any:
        return value

    return provide


def _options_handlers(operations: Iterable[Operation]) -> Iterator[HTTPRouteHandler]:
    """Yield an OPTIONS handler for each path of *operations*.

    Register them before the operations. Otherwise Litestar adds its own, which allow the methods of one operation only.
    """
    operations = list(operations)
    methods: dict[str, set[str]] = {}
    patch_types: dict[str, dict[str, str]] = {}
    for operation in operations:
        methods.setdefault(operation.route_path, {"OPTIONS"}).update(operation.methods)
        if operation.method == "PATCH":
            patch_types[operation.route_path] = {"Accept-Patch": ", ".join(operation.body_types)}  # RFC 5789
    for path, allowed in methods.items():
        headers = {"Allow": ", ".join(sorted(allowed))} | patch_types.get(path, {})
        yield _options_handler(path, headers, [each for each in operations if each.route_path == path])


def _options_handler(path: str, headers: dict[str, str], operations: Sequence[Operation]) -> HTTPRouteHandler:
    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False)
    async def options(request: ApiRequest) -> Response[None]:
        return Response(None, status_code=204, headers=headers | _shared_route(request, operations))

    return options


def _on_wrong_method(request: ApiRequest, error: MethodNotAllowedException) -> Response[object]:
    if shared := _shared_route(request, operations()):
        error.headers = shared
    return problems.on_http_exception(request, error)


def _shared_route(request: ApiRequest, operations: Sequence[Operation]) -> dict[str, str]:
    """Return the header Allow of a path whose route serves operations of several paths; else nothing."""
    path = request.scope["path"]
    if any(_matches(each.path, path) for each in operations if "{" not in each.path):
        return {}
    sharing = [each for each in operations if each.served_at]
    for shared in sharing:
        if _matches(shared.path, path):
            # If the parameter may contain slashes, the whole rest of the path may be its value, too.
            both = (
                _methods_at(shared.served_at, operations) if WITH_SLASHES.intersection(shared.path_parameters) else ()
            )
            return {"Allow": ", ".join(sorted({"OPTIONS", *both, *shared.methods}))}
    for shared in sharing:
        if _matches(shared.served_at, path):
            return {"Allow": ", ".join(sorted({"OPTIONS", *_methods_at(shared.served_at, operations)}))}
    return {}


def _methods_at(path: str, operations: Sequence[Operation]) -> set[str]:
    return {method for each in operations if each.path == path for method in each.methods}


def _matches(template: str, path: str) -> bool:
    pattern = "".join(
        ".+" if part[1:-1] in WITH_SLASHES else "[^/]+" if part.startswith("{") else re.escape(part)
        for part in _PARAMETERS.split(template.rstrip("/"))
    )
    return re.fullmatch(f"{pattern}/?", path) is not None


def _on_not_found(pages: WebPages | None, request: ApiRequest, error: NotFoundException) -> Response[Any]:
    """Return the 404 of a path that doesn't exist: a page for a browser, or else a problem.

    A preflight and `OPTIONS *`, which is about the server, get 204.
    """
    path = (request.scope.get("raw_path") or b"").decode("latin-1")
    if is_preflight(request.scope) or (request.method == "OPTIONS" and path == "*"):
        return Response(None, status_code=204)
    if pages is not None and prefers(request.scope, "text/html"):
        return pages.no_such_page()
    is_unrouted = error.detail == HTTPStatus.NOT_FOUND.phrase
    no_route = f"No route: {request.method} {path[:_MAX_PATH]}. {system.DOCS} lists all routes."
    return problems.path_not_found(request, no_route if is_unrouted else error.detail)


_EXCEPTION_HANDLERS: ExceptionHandlersMap = {**problems.HANDLERS, MethodNotAllowedException: _on_wrong_method}
