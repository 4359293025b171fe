"""The description of an operation, from which its route, its gate and its documentation are made."""

import re
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

from litestar import HttpMethod, route
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

OPT_KEY = "operation"
SCHEMA_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")


class Permission(StrEnum):
    READ = "workflows:read"
    WRITE = "workflows:write"


class NoQuery(Struct, frozen=True):
    """An operation without query parameters; a query that can't be read is refused all the same."""


class Content(Struct, frozen=True):
    """An answer that isn't JSON."""

    media_type: str
    description: str = "Success"
    binary: bool = False


class Operation(Struct, frozen=True, kw_only=True):
    """What the route, the gate and the documentation of an operation must agree on.

    `path` is the template of the OpenAPI document; a slash at its end is optional in requests. `permission` null
    means that no token is asked for; `signable`, that a valid signature in the query does instead of one.
    `problems` are the statuses beyond those that follow from the rest (see `openapi`); `headers` those of the answer,
    `takes` those that it reads of a request (see `repeats`). `also`: what it may answer instead, by media type;
    `streams`: what it sends for as long as there is something to send. `ticketed`: a ticket does instead of a token.
    """

    method: Literal["GET", "POST", "PATCH", "DELETE"]
    path: str
    id: str
    summary: str
    tag: str
    permission: Permission | None
    answers: type[Struct] | Content
    description: str = ""
    status: int = 200
    query: type[Struct] = NoQuery
    body: type[Struct] | None = None
    signable: bool = False
    problems: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    also: tuple[tuple[str, type[Struct]], ...] = ()
    streams: Content | None = None
    ticketed: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the route. HEAD works wherever GET does."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def path_parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def route_path(self) -> str:
        """The path as Litestar wants it. All parameters are strings: that an id is none is told after the
        token was looked at, as 404.
        """
        return _PARAMETER.sub(lambda match: f"{{{match[1]}:{'path' if match[1] == 'path' else 'str'}}}", self.path)


def endpoint(operation: Operation) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make the decorated function the handler of *operation*."""
    return route(
        operation.route_path,
        http_method=[HttpMethod(method) for method in operation.methods],
        status_code=operation.status,
        opt={OPT_KEY: operation},
        name=operation.id,
        include_in_schema=False,  # Litestar's own generator is off; see openapi
    )
