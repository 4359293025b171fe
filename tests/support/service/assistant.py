"""An AI assistant: the SDK's own client, connected to the service over HTTP or to a process of `stepwell mcp`."""

import json
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult, ImageContent, TextContent

LEGACY, MODERN = "legacy", "2026-07-28"
"""The protocol versions with and without a handshake."""


@asynccontextmanager
async def assistant(
    url: str, token: str, *, mode: str = "auto", transport: httpx2.AsyncBaseTransport | None = None
) -> AsyncIterator[Client]:
    """Yield a client that is connected to `/mcp` of the service at *url*. *transport* replaces the network."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, transport=transport) as http_client,
        Client(streamable_http_client(f"{url}/mcp", http_client=http_client), mode=mode) as client,
    ):
        yield client


@asynccontextmanager
async def stdio_assistant(url: str, bearer: str, folder: Path, *, mode: str = "auto") -> AsyncIterator[Client]:
    """Yield an assistant that has started `stepwell mcp` for the service at *url*."""
    env = {"STEPWELL_URL": url, "STEPWELL_TOKEN": bearer, "HOME": str(folder)}
    server = StdioServerParameters(command=sys.executable, args=["-m", "stepwell", "mcp"], env=env, cwd=folder)
    with (folder / "stderr").open("w") as errors:
        async with Client(stdio_client(server, errlog=errors), mode=mode) as client:
            yield client


async def call(client: Client, tool: str, /, **arguments: Any) -> dict[str, Any]:
    """Return the structured result of a tool that succeeds. Its text is the same."""
    outcome = await client.call_tool(tool, arguments)
    assert isinstance(outcome, CallToolResult)
    assert not outcome.is_error, text_of(outcome)
    result: dict[str, Any] = outcome.structured_content
    assert json.loads(text_of(outcome)) == result
    return result


async def failure(client: Client, tool: str, /, **arguments: Any) -> str:
    """Return the text of a tool that fails."""
    outcome = await client.call_tool(tool, arguments)
    assert isinstance(outcome, CallToolResult)
    assert outcome.is_error, outcome
    return text_of(outcome)


async def images(client: Client, tool: str, /, **arguments: Any) -> Sequence[ImageContent]:
    outcome = await client.call_tool(tool, arguments)
    assert isinstance(outcome, CallToolResult)
    assert not outcome.is_error, text_of(outcome)
    return [each for each in outcome.content if isinstance(each, ImageContent)]


def text_of(outcome: CallToolResult) -> str:
    content = outcome.content[0]
    assert isinstance(content, TextContent)
    return content.text
