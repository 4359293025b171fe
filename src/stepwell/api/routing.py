"""Responses of paths instead of operations: OPTIONS, and 404 for a path that doesn't exist."""

from collections.abc import Iterable, Iterator

from litestar import HttpMethod, Response, route
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler

from stepwell.api.cross_origin import is_preflight
from stepwell.api.dependencies import ApiRequest
from stepwell.api.operations import Operation
from stepwell.api.problems import path_not_found

_MAX_PATH = 200


def options_handlers(operations: Iterable[Operation]) -> Iterator[HTTPRouteHandler]:
    """Yield an OPTIONS handler for each path of *operations*.

    Register them before the operations. Otherwise Litestar adds its own, which allow the methods of one operation only.
    """
    methods: dict[str, set[str]] = {}
    patch_types: dict[str, dict[str, str]] = {}
    for operation in operations:
        methods.setdefault(operation.route_path, {"OPTIONS"}).update(operation.methods)
        if operation.method == "PATCH":
            patch_types[operation.route_path] = {"Accept-Patch": ", ".join(operation.body_types)}  # RFC 5789
    for path, allowed in methods.items():
        yield _options_handler(path, {"Allow": ", ".join(sorted(allowed))} | patch_types.get(path, {}))


def _options_handler(path: str, headers: dict[str, str]) -> HTTPRouteHandler:
    @route(path, http_method=HttpMethod.OPTIONS, status_code=204, include_in_schema=False)
    async def options() -> Response[None]:
        return Response(None, status_code=204, headers=headers)

    return options


def on_no_route(request: ApiRequest, _error: NotFoundException) -> Response[object]:
    """Answer 404 for a path that doesn't exist, and 204 for a preflight or `OPTIONS *`, which is about the server."""
    path = (request.scope.get("raw_path") or b"").decode("latin-1")
    if is_preflight(request.scope) or (request.method == "OPTIONS" and path == "*"):
        return Response(None, status_code=204)
    return path_not_found(request, f"No route: {request.method} {path[:_MAX_PATH]}. /schema lists all routes.")
