"""A tool: its arguments, its result, and its description for an assistant and its user."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import cache
from typing import Any

from msgspec import Struct, ValidationError, convert, json

from stepwell.mcp.arguments import Arguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool_errors import ToolFailed
from stepwell.mcp.tool_results import Result


class Image(Struct, frozen=True):
    """An image that a tool shows beside its result."""

    data: bytes
    media_type: str


class ToolOutcome(Struct, frozen=True):
    result: Result
    images: Sequence[Image] = ()


class Tool(Struct, frozen=True, kw_only=True):
    """A tool. *run* gets a caller's access and arguments of the type *arguments*.

    `writes`: it changes something. `decides`: it needs a token that may decide. Any other tool that writes needs one
    that allows changes. `destructive`: it may end or delete something. `idempotent`: a repeated call has no further
    effect.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    run: Callable[[ServiceAccess, Any], Awaitable[ToolOutcome]]
    writes: bool = False
    decides: bool = False
    destructive: bool = False
    idempotent: bool = True

    def parse(self, arguments: dict[str, Any]) -> Arguments:
        """Return the arguments of a call. Raises `ToolFailed`, which names the place of the fault."""
        try:
            return convert(arguments, self.arguments)
        except ValidationError as error:
            raise ToolFailed(f"The arguments of {self.name} don't fit: {error}") from None


@cache
def schema_of(kind: type[Struct], *, with_texts: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of *kind*, whose root is an object, as the protocol requires.

    *with_texts*: with the descriptions. Those of results would be most of what an assistant reads about the tools.
    """
    (root,), definitions = json.schema_components([kind], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    rest = {key: value for key, value in definitions.items() if key != name}
    schema = {**definitions[name], "$defs": rest} if rest else definitions[name]
    return _without(schema, {"title"} if with_texts else {"title", "description"})


def _without(schema: dict[str, Any], keywords: Collection[str]) -> dict[str, Any]:
    """Return *schema* without some of its keywords. The members that it describes may have the same names."""
    rest: dict[str, Any] = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):
            rest[key] = {name: _without(each, keywords) for name, each in value.items()}
        elif isinstance(value, dict):
            rest[key] = _without(value, keywords)
        elif isinstance(value, list):
            rest[key] = [_without(each, keywords) if isinstance(each, dict) else each for each in value]
        elif key not in keywords:
            rest[key] = value
    return rest
