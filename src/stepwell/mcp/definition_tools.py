"""The tools `run_<name>`: one for each stored definition that has the label `mcp: tool`."""

import re
from contextlib import aclosing, suppress
from typing import Any, Final

from anyio import move_on_after
from mcp_types import Tool
from msgspec import json

from stepwell.client import StepwellError
from stepwell.contract.definition import DEFINITION_NAME
from stepwell.contract.stored_definitions import DefinitionSummary
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.tool_errors import ToolFailed

_LABEL: Final = {"mcp": "tool"}
_MOST: Final = 40
_LIST_S: Final = 10
_LONGEST_NAME: Final = 60  # clients of the protocol accept tools of up to 64 characters
_NAME: Final = re.compile(f"run_(?={DEFINITION_NAME}$)(.{{1,{_LONGEST_NAME}}})")
_BYTES_A_BYTE: Final = 8  # in memory, of the JSON of a schema


async def list_definition_tools(access: ServiceAccess, submit: Tool) -> list[Tool]:
    """Return the tools that the caller's tenant has, the first 40 by name. They have the result and hints of *submit*.

    What the token can't read is left out, and what takes too long.
    """
    tools: list[Tool] = []
    with suppress(StepwellError, ToolFailed), move_on_after(_LIST_S):
        async with aclosing(access.client.stored_definitions(labels=_LABEL)) as definitions:
            async for each in definitions:
                if len(each.name) <= _LONGEST_NAME:
                    with suppress(StepwellError, ToolFailed):
                        tools.append(await _tool(access, each, submit))
                if len(tools) == _MOST:
                    break
    return tools


async def _tool(access: ServiceAccess, stored: DefinitionSummary, submit: Tool) -> Tool:
    definition = (await access.client.stored_definition(stored.name, stored.default_version)).definition
    schema = {**(definition.get("inputs_schema") or {}), "type": "object"}
    await access.reserve(_BYTES_A_BYTE * len(json.encode(schema)))
    description = stored.description or f"Run the stored definition {stored.name}."
    text = f"{description} It creates a workflow, and its steps may cost money at providers."
    named = {"name": f"run_{stored.name}", "title": stored.name, "description": text}
    return submit.model_copy(update={**named, "input_schema": schema})


def definition_of_run(tool: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    """Return the definition that a call of *tool* submits; None if it isn't one of these tools."""
    match = _NAME.fullmatch(tool)
    return None if match is None else {"definition": {"name": match[1]}, "inputs": arguments}
