"""Responses of paths instead of operations: OPTIONS, and 404 for a path that doesn't exist."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from litestar import HttpMethod, Response, route
from litestar.exceptions import MethodNotAllowedException, NotFoundException
from litestar.handlers import HTTPRouteHandler

from stepwell.api.auth.cross_origin import is_preflight
from stepwell.api.auth.dependencies import ApiRequest
from stepwell.api.requests.operations import WITH_SLASHES, Operation
from stepwell.api.responses.problems import on_http_exception, path_not_found

_MAX_PATH = 200
_PARAMETERS = re.compile(r"(\{\w+\})")


def options_handlers(operations: Iterable[Operation]) -> Iterator[HTTPRouteHandler]:
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


def wrong_method_handler(
    operations: Sequence[Operation],
) -> Callable[[ApiRequest, MethodNotAllowedException], Response[object]]:
    """Return the handler of requests with a method that their path doesn't allow."""

    def on_wrong_method(request: ApiRequest, error: MethodNotAllowedException) -> Response[object]:
        if shared := _shared_route(request, operations):
            error.headers = shared
        return on_http_exception(request, error)

    return on_wrong_method


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


def on_no_route(request: ApiRequest, _error: NotFoundException) -> Response[object]:
    """Answer 404 for a path that doesn't exist, and 204 for a preflight or `OPTIONS *`, which is about the server."""
    path = (request.scope.get("raw_path") or b"").decode("latin-1")
    if is_preflight(request.scope) or (request.method == "OPTIONS" and path == "*"):
        return Response(None, status_code=204)
    return path_not_found(request, f"No route: {request.method} {path[:_MAX_PATH]}. /schema lists all routes.")
