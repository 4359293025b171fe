"""The description of an operation, from which its route, its access checks and its documentation are made."""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, Literal

from litestar import HttpMethod, route
from litestar.handlers import HTTPRouteHandler
from litestar.types import Scope
from msgspec import Struct

from stepwell.api.requests.headers import ETAG, IF_NONE_MATCH, PREFER
from stepwell.contract.scopes import Permission

OPT_KEY = "operation"
SHARED_KEY = "shared_operations"
JSON_TYPE, MERGE_PATCH_TYPE = "application/json", "application/merge-patch+json"
SCHEMA_REF = "#/components/schemas/{name}"
_PARAMETER = re.compile(r"\{(\w+)\}")
WITH_SLASHES = frozenset({"path", "step_id", "signal_name"})  # parameters that may contain slashes
_VALUES = {**dict.fromkeys(WITH_SLASHES, ".+"), "item": "[0-9]{1,9}"}  # the patterns of values


class NoQuery(Struct, frozen=True):
    """The query of an operation without parameters. A malformed query is refused all the same."""


class Content(Struct, frozen=True):
    """The media type of a response that isn't JSON, and its description in the OpenAPI document."""

    media_type: str
    description: str = "Success"
    binary: bool = False


class Operation(Struct, frozen=True, kw_only=True):
    """An operation: the facts on which its route, its access checks and its documentation must agree.

    - `path` is the template in the OpenAPI document. A slash at its end is optional in requests. `served_at` is the
      template of the route if it is another one, because a route with {path} allows no other beside it.
    - `summary` is the `title` in the document, if that isn't the id in words: Get Task for get_task.
    - `permission` is what the token must allow; None if the operation needs no token.
    - `for_runs`: a token with `definitions:run` may use it, within its limits (see `authentication.Principal`).
    - `signable`: a signature in the query may replace the token. `ticketed`: a stream ticket may replace it.
    - `response` is the struct, or the content, of a success. `also` lists alternatives, with their media types.
      `streams` is the media type of the live stream, if the operation offers one.
    - `body` is the struct of the request's body, which may be absent if it is `body_optional`, and `other_body` an
      alternative to it. `body_types` are the media types in which it is accepted.
    - `files`: the body is a form of files, or one file. `repeat_status` is the status of a success that changes
      nothing.
    - `problems` lists failure statuses beside those that the other members imply (see `openapi`).
    - `headers` are those of the response; `optional_headers` may be missing. `takes` are the request headers that the
      operation reads (see `headers`), without `Prefer`. `waits`: with `Prefer: wait`, it waits for the workflow's end.
    """

    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
    path: str
    served_at: str = ""
    id: str
    tag: str
    permission: Permission | None
    response: type[Struct] | Content
    summary: str = ""
    description: str = ""
    status: int = 200
    repeat_status: int | None = None
    query: type[Struct] = NoQuery
    body: type[Struct] | None = None
    other_body: type[Struct] | None = None
    body_optional: bool = False
    body_types: tuple[str, ...] = (JSON_TYPE,)
    files: bool = False
    for_runs: bool = False
    signable: bool = False
    problems: tuple[int, ...] = ()
    headers: tuple[str, ...] = ()
    optional_headers: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    waits: bool = False
    also: tuple[tuple[str, type[Struct]] | Content, ...] = ()
    streams: Content | None = None
    ticketed: bool = False

    @property
    def title(self) -> str:
        return self.summary or self.id.replace("_", " ").title()

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods of the route. HEAD works wherever GET does."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)

    @property
    def reads_json(self) -> bool:
        """True if the operation reads a JSON body. One that takes none reads it to refuse any members."""
        return self.method != "GET" and self.permission is not None and not self.files

    @property
    def request_headers(self) -> tuple[str, ...]:
        return (*self.takes, PREFER) if self.reads_json or self.waits else self.takes

    @property
    def path_parameters(self) -> list[str]:
        return _PARAMETER.findall(self.path)

    @property
    def route_path(self) -> str:
        """The path in Litestar's notation. All parameters are strings, so that the token is checked before an id is.

        The handler responds with 404 for a malformed id.
        """
        path = self.served_at or self.path
        return _PARAMETER.sub(lambda match: f"{{{match[1]}:{'path' if match[1] in WITH_SLASHES else 'str'}}}", path)


read_operation = partial(Operation, method="GET", permission=Permission.READ)
# By the tag of a response, a client learns whether it has changed.
tagged_read_operation = partial(read_operation, headers=(ETAG,), takes=(IF_NONE_MATCH,))


@cache
def _path_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern of the encoded paths that have the form of *template*."""
    pattern = _PARAMETER.sub(lambda match: _VALUES.get(match[1], "[^/]+"), template.rstrip("/"))
    return re.compile(f"{pattern}/?")


def operation_of(scope: Scope) -> Operation | None:
    """Return the operation of a request; None if its handler has none.

    Of operations that share a route, it is the first shared one whose template the path has, or else the first.
    """
    opt: dict[str, Any] = scope["route_handler"].opt
    shared: Sequence[Operation] = opt.get(SHARED_KEY, ())
    for each in shared:
        if _path_pattern(each.path).fullmatch((scope.get("raw_path") or b"").decode("latin-1")):
            return each
    operation: Operation | None = opt.get(OPT_KEY)
    return operation


def endpoint(operation: Operation, *shared: Operation) -> Callable[[Callable[..., Any]], HTTPRouteHandler]:
    """Make the decorated function the handler of *operation*.

    It also serves *shared*: operations of the same method and route, which only the rest of the path distinguishes. See
    `operation_of`.
    """
    return route(
        operation.route_path,
        http_method=[HttpMethod(method) for method in operation.methods],
        status_code=operation.status,
        opt={OPT_KEY: operation, SHARED_KEY: shared},
        name=operation.id,
        include_in_schema=False,  # Litestar's own generator is off, see openapi
    )
