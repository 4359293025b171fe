"""The MCP server for the program that has started this process, over stdin and stdout."""

import anyio
from mcp.server.stdio import stdio_server

from stepwell.client import AsyncStepwell
from stepwell.mcp.assistant_server import build_server
from stepwell.mcp.service_access import ServiceAccess, scopes_of

_RETRY_S = 2.0


def serve_stdio(url: str, token: str | None) -> None:
    """Serve until stdin ends. The tools call the service at *url* with *token*."""
    anyio.run(_serve, url, token)


async def _serve(url: str, token: str | None) -> None:
    async with AsyncStepwell(url, token=token or "", retry_s=_RETRY_S) as client:
        server = build_server(ServiceAccess(client, scopes_of(token), local_files=True))
        async with stdio_server() as (read_stream, write_stream):
            await server.run(read_stream, write_stream, server.create_initialization_options())
