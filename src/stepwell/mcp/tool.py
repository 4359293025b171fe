"""Tools: their arguments, results and descriptions, and the texts by which failures are explained."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import cache, partial
from typing import Any, Final

import msgspec
from msgspec import Struct, convert, json

from stepwell.client import (
    Conflict,
    ConnectionFailed,
    Forbidden,
    Invalid,
    NotFound,
    StepwellError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
)
from stepwell.contract.enums import ProviderType
from stepwell.contract.problems import ValidationError, place_text
from stepwell.contract.scopes import Permission
from stepwell.mcp.arguments import Arguments
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool_errors import ToolFailed
from stepwell.mcp.tool_results import Result


class Image(Struct, frozen=True):
    data: bytes
    media_type: str


class ToolOutcome(Struct, frozen=True):
    result: Result
    images: Sequence[Image] = ()


class Tool(Struct, frozen=True, kw_only=True):
    """A tool. *run* gets a caller's access and arguments of the type *arguments*.

    `permission` is what its token must allow. `writes`: it changes something. `destructive`: it may end or delete
    something. `idempotent`: a repeated call has no further effect.
    """

    name: str
    title: str
    description: str
    arguments: type[Arguments]
    result: type[Result]
    run: Callable[[ServiceAccess, Any], Awaitable[ToolOutcome]]
    permission: Permission = Permission.READ
    writes: bool = False
    destructive: bool = False
    idempotent: bool = True

    def parse(self, arguments: dict[str, Any]) -> Arguments:
        """Return the arguments of a call. Raises `ToolFailed`, which names the place of the fault."""
        try:
            return convert(arguments, self.arguments)
        except msgspec.ValidationError as error:
            raise ToolFailed(f"The arguments of {self.name} don't fit: {error}") from None


writing_tool = partial(Tool, permission=Permission.WRITE, writes=True)


@cache
def schema_of(kind: type[Struct], *, with_texts: bool = True) -> dict[str, Any]:
    """Return the JSON Schema of *kind*, whose root is an object, as the protocol requires.

    *with_texts*: with the descriptions. Those of results would be most of what an assistant reads about the tools.
    """
    (root,), definitions = json.schema_components([kind], ref_template="#/$defs/{name}")
    name = root["$ref"].rpartition("/")[2]
    rest = {key: value for key, value in definitions.items() if key != name}
    if (providers := rest.get(ProviderType.__name__)) is not None:
        del providers["enum"]  # the service may have others, which packages bring
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


_MAX_FAULTS: Final = 50
_ADVICE: Final[dict[type[StepwellError], str]] = {
    Conflict: "Read the workflow with get_workflow, and choose a tool that its status allows.",
    ConnectionFailed: "The service doesn't respond: ask the user whether it runs, and whether its address is right.",
    Forbidden: "The token doesn't allow this. Ask the user for another one.",
    NotFound: "Check the id: list_workflows lists the workflows that you may see.",
    TooManyRequests: "Wait, then call the tool again.",
    Unauthorized: "The token isn't accepted. Ask the user for a new one; `stepwell token` makes it.",
    Unavailable: "Wait, then call the tool again.",
}


def describe_error(error: StepwellError) -> str:
    if isinstance(error, Invalid) and error.faults:
        return describe_faults(error.faults)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(error, kind)), None)
    lines = [str(error)]
    if isinstance(error, Conflict) and error.allowed_from:
        lines.append(f"Allowed from: {', '.join(error.allowed_from)}.")
    if error.retry_after_s is not None:
        lines.append(f"Retry after {error.retry_after_s:g} s.")
    if advice is not None:
        lines.append(advice)
    return "\n".join(lines)


def describe_faults(faults: Sequence[ValidationError]) -> str:
    """Return a line for each fault, with its place in the arguments as a path like `steps[0].config.prompt`."""
    lines = [f"- {place_text(fault.loc)}: {fault.msg} ({fault.type})" for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        lines.append(f"- and {len(faults) - _MAX_FAULTS} more")
    noun = "fault" if len(faults) == 1 else "faults"
    return "\n".join([f"The service refuses this: {len(faults)} {noun}. Correct each, then call again.", *lines])
