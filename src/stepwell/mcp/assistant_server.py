"""The MCP server of one caller: its tools, resources and prompts, and the results of calls."""

import base64
from functools import cache
from importlib.resources import files
from typing import Any, Final

import mcp_types
from anyio import fail_after
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from msgspec import json, to_builtins

from stepwell import __version__
from stepwell.client import StepwellError
from stepwell.mcp.definition_tools import definition_of_run, list_definition_tools
from stepwell.mcp.file_tools import FILE_TOOLS, LOCAL_UPLOAD, UPLOAD
from stepwell.mcp.resources import UnknownResource, list_resources, read_resource
from stepwell.mcp.service_access import ServiceAccess
from stepwell.mcp.shortening import shorten
from stepwell.mcp.step_tools import ITEM_TOOLS, WAIT_TOOLS
from stepwell.mcp.tool import Tool, ToolOutcome, describe_error, schema_of
from stepwell.mcp.tool_errors import ToolFailed
from stepwell.mcp.workflow_tools import SERVICE_TOOLS, SUBMIT, WORKFLOW_TOOLS

_CALL_S: Final = 120
_INSTRUCTIONS = (
    "Stepwell runs workflows of AI-media tasks. The prompt write_definition explains definitions. Plan a definition "
    "before you submit it, because providers may cost money. Ask the user before you cancel or delete anything."
)
_PROMPT = "write_definition"
TOOLS: Final = (*WORKFLOW_TOOLS, *ITEM_TOOLS, *WAIT_TOOLS, *FILE_TOOLS, *SERVICE_TOOLS)


def build_server(access: ServiceAccess) -> Server[Any]:
    caller = _Caller(access)
    return Server(
        "stepwell",
        version=__version__,
        title="Stepwell",
        instructions=_INSTRUCTIONS,
        get_tool_input_schema=caller.input_schema,
        on_list_tools=caller.list_tools,
        on_call_tool=caller.call_tool,
        on_list_resources=caller.list_resources,
        on_read_resource=caller.read_resource,
        on_list_prompts=caller.list_prompts,
        on_get_prompt=caller.get_prompt,
    )


def definition_prompt(task: str | None = None) -> str:
    """Return the text that explains definitions, and then asks for one for *task*."""
    text = (files("stepwell") / "mcp" / "definition_prompt.md").read_text(encoding="utf-8")
    return text if not task else f"{text}\nThe task: {task}\n"


class _Caller:
    """The handlers of the requests of one caller."""

    def __init__(self, access: ServiceAccess) -> None:
        self._access = access
        tools = (*TOOLS, LOCAL_UPLOAD if access.local_files else UPLOAD)
        self._tools = {tool.name: tool for tool in tools}

    def input_schema(self, name: str) -> dict[str, Any] | None:
        tool = self._tools.get(name)
        return None if tool is None else schema_of(tool.arguments)

    async def list_tools(
        self, _context: Any, _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListToolsResult:
        allowed = [tool for tool in self._tools.values() if self._access.allows(tool.permission)]
        tools = list(map(_sdk_tool, allowed))
        if SUBMIT in allowed:
            tools += await list_definition_tools(self._access, _sdk_tool(SUBMIT))
        return mcp_types.ListToolsResult(tools=tools)

    async def call_tool(self, _context: Any, params: mcp_types.CallToolRequestParams) -> mcp_types.CallToolResult:
        tool, arguments = self._tools.get(params.name), params.arguments or {}
        if tool is None and (definition := definition_of_run(params.name, arguments)) is not None:
            tool, arguments = SUBMIT, {"definition": definition}
        if tool is None:
            raise MCPError(mcp_types.INVALID_PARAMS, f"Unknown tool: {params.name[:100]!r}. tools/list lists all.")
        if not self._access.allows(tool.permission):
            return _failure(f"{tool.name} needs a token with the scope {tool.permission}, and this one lacks it.")
        try:
            with fail_after(_CALL_S):
                return _success(await tool.run(self._access, tool.parse(arguments)))
        except StepwellError as error:
            return _failure(describe_error(error))
        except ToolFailed as error:
            return _failure(str(error))
        except TimeoutError:
            return _failure(f"{tool.name} took more than {_CALL_S} s. Call it again, or with less to return.")
        except (ValueError, OverflowError, RecursionError) as error:
            # A depth that JSON can't have, or an id that can't be part of a path.
            return _failure(f"The arguments of {tool.name} can't be sent to the service: {error}")

    async def list_resources(
        self, _context: Any, _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListResourcesResult:
        return mcp_types.ListResourcesResult(
            resources=[
                mcp_types.Resource(
                    uri=each.uri, name=each.name, description=each.description, mime_type=each.media_type
                )
                for each in list_resources()
            ]
        )

    async def read_resource(
        self, _context: Any, params: mcp_types.ReadResourceRequestParams
    ) -> mcp_types.ReadResourceResult:
        uri = str(params.uri)
        try:
            media_type, text = await read_resource(self._access, uri)
        except UnknownResource as error:
            raise MCPError(mcp_types.INVALID_PARAMS, str(error)) from None
        except StepwellError as error:
            raise MCPError(mcp_types.INVALID_PARAMS, describe_error(error)) from None
        return mcp_types.ReadResourceResult(
            contents=[mcp_types.TextResourceContents(uri=uri, mime_type=media_type, text=text)]
        )

    async def list_prompts(
        self, _context: Any, _params: mcp_types.PaginatedRequestParams | None
    ) -> mcp_types.ListPromptsResult:
        task = mcp_types.PromptArgument(name="task", description="What the workflow should do", required=False)
        return mcp_types.ListPromptsResult(
            prompts=[
                mcp_types.Prompt(
                    name=_PROMPT,
                    title="Write a workflow definition",
                    description="Explains the definition of a workflow, with an example.",
                    arguments=[task],
                )
            ]
        )

    async def get_prompt(self, _context: Any, params: mcp_types.GetPromptRequestParams) -> mcp_types.GetPromptResult:
        if params.name != _PROMPT:
            raise MCPError(
                mcp_types.INVALID_PARAMS, f"Unknown prompt: {params.name[:100]!r}. The only one is {_PROMPT}."
            )
        text = definition_prompt((params.arguments or {}).get("task"))
        return mcp_types.GetPromptResult(
            messages=[mcp_types.PromptMessage(role="user", content=mcp_types.TextContent(text=text))]
        )


@cache
def _sdk_tool(tool: Tool) -> mcp_types.Tool:
    return mcp_types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=schema_of(tool.arguments),
        output_schema=schema_of(tool.result, with_texts=False),
        annotations=mcp_types.ToolAnnotations(
            read_only_hint=not tool.writes,
            destructive_hint=tool.destructive,
            idempotent_hint=tool.idempotent,
            open_world_hint=tool.writes,
        ),
    )


def _success(outcome: ToolOutcome) -> mcp_types.CallToolResult:
    result, is_shortened = shorten(to_builtins(outcome.result))
    if is_shortened:
        result["shortened"] = True
    images = [
        mcp_types.ImageContent(data=base64.b64encode(each.data).decode(), mime_type=each.media_type)
        for each in outcome.images
    ]
    return mcp_types.CallToolResult(
        content=[mcp_types.TextContent(text=json.encode(result).decode()), *images], structured_content=result
    )


def _failure(text: str) -> mcp_types.CallToolResult:
    return mcp_types.CallToolResult(content=[mcp_types.TextContent(text=text)], is_error=True)
