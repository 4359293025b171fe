"""Mounts the MCP server at `/mcp` of the service."""

from litestar import Litestar

from stepwell.mcp.http_endpoint import build_endpoint, refuse_without_sdk
from stepwell.mcp.sdk import has_sdk
from stepwell.settings import Settings

_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


def mount_mcp(api: Litestar, settings: Settings) -> None:
    """Let *api* answer at `/mcp`. The SDK is imported when the first request comes.

    Pages of the service itself may call it, and those of the configured origins. Without the extra `mcp`, the answer
    says what to install.
    """
    if not has_sdk():
        api.register(refuse_without_sdk)
        return
    own = [f"http://{host}:{settings.port}" for host in _LOOPBACK]
    # A browser's Origin has no path, which the public URL may have.
    public = "/".join(settings.base_url.split("/", 3)[:3])
    api.register(build_endpoint(api, [public, *own, *settings.cors_origins]))
