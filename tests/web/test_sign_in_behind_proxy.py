"""Sign-in behind a proxy that ends TLS: the scheme and the client are those that a trusted proxy reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from stepwell.basics.setting_values import Networks
from stepwell.cli.http_server import HttpServer
from stepwell.cli.listeners import bound_socket
from stepwell.settings import Settings
from stepwell.testing import MemoryDatabase
from support.service.live_service import running_service, token

BROWSER = {"Host": "stepwell.example.com", "Origin": "https://stepwell.example.com"}


@asynccontextmanager
async def proxy_to_service(folder: Path, *, trusted: str) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client as a proxy on this machine, whose requests the service on a socket gets."""
    settings = Settings(port=0, trusted_proxies=Networks.read(trusted))
    async with running_service(MemoryDatabase(), folder) as service:
        with bound_socket(settings) as listener:
            server = HttpServer(service.app.api, settings)
            async with asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]), name="http")
                await server.opened.wait()
                url = f"http://127.0.0.1:{listener.getsockname()[1]}"
                async with httpx.AsyncClient(base_url=url, headers=BROWSER, timeout=60) as proxy:
                    yield proxy
                server.should_exit = True


async def sign_in(proxy: httpx.AsyncClient, pasted: str, *, address: str, scheme: str = "https") -> httpx.Response:
    headers = {"X-Forwarded-For": address, "X-Forwarded-Proto": scheme}
    return await proxy.post("/ui/sign-in", data={"token": pasted}, headers=headers)


async def test_the_cookie_is_secure_if_the_request_came_by_https(tmp_path: Path) -> None:
    async with proxy_to_service(tmp_path, trusted="127.0.0.0/8") as proxy:
        response = await sign_in(proxy, token(), address="192.0.2.1")
        assert (response.status_code, response.headers["set-cookie"][-8:]) == (303, "; Secure")
        assert (await sign_in(proxy, token(), address="192.0.2.1", scheme="http")).status_code == 403  # another origin


@pytest.mark.parametrize(("trusted", "other_status"), [("127.0.0.0/8", 403), ("", 429)])
async def test_failures_count_for_the_client_that_a_trusted_proxy_reports(
    tmp_path: Path, trusted: str, other_status: int
) -> None:
    async with proxy_to_service(tmp_path, trusted=trusted) as proxy:
        if not trusted:
            proxy.headers["Origin"] = "http://stepwell.example.com"
        for _ in range(10):
            assert (await sign_in(proxy, "wrong", address="192.0.2.1")).status_code == 403
        assert (await sign_in(proxy, "wrong", address="192.0.2.1")).status_code == 429
        assert (await sign_in(proxy, "wrong", address="192.0.2.2")).status_code == other_status
