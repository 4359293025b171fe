"""The HTTP server by itself: what becomes of clients that are slow with their requests."""

import asyncio
import gc
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
from litestar import Litestar, Request, get
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stepwell.api.requests.connection_limits import RESERVED, CloseReason, ConnectionLimits, RequestBound
from stepwell.basics.setting_values import Networks, Origins
from stepwell.cli import http_protocol
from stepwell.cli.http_server import HttpServer
from stepwell.cli.listeners import address_of, bound_socket
from stepwell.settings import Settings
from support.providers.scripted import eventually

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
NGINX_GIVES_UP_S = 60  # https://nginx.org/en/docs/http/ngx_http_upstream_module.html#keepalive_timeout
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A server whose only response, *body*, waits for `release`."""

    def __init__(self, body: bytes = b"done") -> None:
        self.body = body
        self.seen: list[tuple[str, str]] = []
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.lost = asyncio.Event()
        self.port = self.admin_port = 0

    @asynccontextmanager
    async def running(
        self,
        head_s: float = 3600,
        limits: ConnectionLimits | None = None,
        stalled_s: float = 3600,
        idle_s: int = 3600,
        trusted: str = "",
        origins: str = "",
    ) -> AsyncIterator["Served"]:
        @get(["/", "/health/live"])
        async def response(request: Request[Any, Any, Any]) -> bytes:
            assert request.client is not None
            self.seen.append((request.url.scheme, request.client.host))
            self.asked.set()
            await self.release.wait()
            return self.body

        @get("/until-lost")
        async def wait_until_lost(request: Request[Any, Any, Any]) -> None:
            self.asked.set()
            while (await request.receive())["type"] != "http.disconnect":
                pass
            self.lost.set()

        settings = Settings(port=0, trusted_proxies=Networks.read(trusted), cors_origins=Origins.read(origins))
        with bound_socket(settings) as listener, bound_socket(settings) as admin:
            self.port, self.admin_port = listener.getsockname()[1], admin.getsockname()[1]
            api = Litestar([response, wait_until_lost])
            server = HttpServer(api, settings, limits, admin=admin, head_s=head_s, stalled_s=stalled_s, idle_s=idle_s)
            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]))
                await server.opened.wait()
                yield self
                server.should_exit = True

    async def connect(self, sent: bytes, port: int | None = None) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
        writer.write(sent)
        return reader, writer


@pytest.mark.parametrize("sent", [b"", b"GET / HT", GET[:-2]])
async def test_a_request_head_that_never_ends_ends_its_connection(sent: bytes) -> None:
    async with Served().running(head_s=0.1) as served:
        reader, writer = await served.connect(sent)
        assert await reader.read() == b""
        writer.close()


async def test_a_slow_request_is_not_limited_and_the_next_head_has_its_deadline() -> None:
    async with Served().running(head_s=0.1) as served:
        reader, writer = await served.connect(GET)
        await served.asked.wait()
        silent_reader, silent_writer = await served.connect(b"")
        assert await silent_reader.read() == b""  # so the first one's deadline, were there one, has passed too
        served.release.set()
        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        writer.write(GET)
        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        writer.write(GET[:-2])
        assert await reader.read() == b""
        writer.close()
        silent_writer.close()


async def test_a_connection_without_a_further_request_is_closed_but_later_than_clients_give_it_up() -> None:
    served = Served()
    served.release.set()
    async with served.running(idle_s=0):
        reader, writer = await served.connect(GET)
        assert (await reader.read()).endswith(b"done")
        writer.close()
    clients_give_up_s = httpx.Limits().keepalive_expiry
    assert clients_give_up_s is not None
    assert clients_give_up_s < NGINX_GIVES_UP_S < http_protocol.IDLE_S


@pytest.mark.extended
async def test_a_connection_that_is_reset_between_two_requests_is_forgotten_at_once() -> None:
    served = Served()
    served.release.set()

    def is_in_memory() -> bool:
        gc.collect()
        # `isinstance` would make Celery's lazy objects load their configuration.
        protocols = [each for each in gc.get_objects() if issubclass(type(each), HttpToolsProtocol)]
        return any(each.server is not None and each.server[1] == served.port for each in protocols)

    async with served.running():
        reader, writer = await served.connect(GET)
        await reader.readuntil(b"done")
        assert is_in_memory()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        await eventually(lambda: not is_in_memory())


async def test_connections_without_a_request_do_not_delay_the_stop() -> None:
    async with Served().running(head_s=3600) as served:
        reader, writer = await served.connect(GET[:-2])
        served.release.set()
        other, other_writer = await served.connect(GET)
        assert (await other.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
    assert await reader.read() == b""
    writer.close()
    other_writer.close()


async def test_the_first_request_of_a_new_connection_gets_a_response_though_the_server_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_protocol, "_FIRST_REQUEST_S", 10)
    served = Served()
    served.release.set()

    async def send_once_nobody_listens(client: Client) -> bytes:
        with suppress(OSError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", served.port)
                writer.close()
                await writer.wait_closed()
        client[1].write(GET)
        received = await client[0].read()
        client[1].close()
        return received

    async with asyncio.TaskGroup() as group, served.running():
        client = await served.connect(b"")
        response = group.create_task(send_once_nobody_listens(client))
    assert response.result().startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in response.result().lower()


async def test_a_head_that_is_too_long_is_refused() -> None:
    async with Served().running() as served:
        reader, writer = await served.connect(GET[:-2])
        line = b"X-A: " + b"a" * 1_000 + b"\r\n"
        with suppress(ConnectionError):
            for _ in range(1_000):
                writer.write(line)
                await writer.drain()
        assert (await reader.read(12)) == b"HTTP/1.1 431"
        writer.close()


async def test_a_client_that_does_not_read_its_response_is_cut_off() -> None:
    limits = ConnectionLimits()
    served = Served(b"x" * 50_000_000)
    served.release.set()
    async with served.running(limits=limits, stalled_s=0.2):
        _, writer = await served.connect(GET)
        await eventually(lambda: limits.closed[CloseReason.STALLED] == 1)
        await eventually(lambda: limits.connections == 0)
        writer.close()


async def test_a_lost_connection_ends_its_running_request_also_if_another_is_behind_it() -> None:
    async with Served().running() as served:
        _, writer = await served.connect(GET.replace(b"/", b"/until-lost", 1) * 2)
        await served.asked.wait()
        writer.transport.abort()
        await served.lost.wait()


async def test_a_connection_is_closed_for_another_of_its_client() -> None:
    limits = ConnectionLimits(per_client=2)
    async with Served().running(limits=limits) as served:
        silent, silent_writer = await served.connect(b"")
        await eventually(lambda: limits.connections == 1)
        busy, busy_writer = await served.connect(GET)
        await served.asked.wait()
        third, third_writer = await served.connect(GET)
        assert await silent.read() == b""
        refused, refused_writer = await served.connect(GET)
        assert (await refused.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 503 ")
        assert limits.refused == {RequestBound.CONNECTIONS: 1}
        served.release.set()
        assert (await busy.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        assert (await third.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        for writer in (silent_writer, busy_writer, third_writer, refused_writer):
            writer.close()


async def test_a_refused_connection_has_the_headers_that_a_page_of_another_origin_needs() -> None:
    page = "https://app.example.com"
    limits = ConnectionLimits(per_client=1)
    asked = f"Origin: {page}\r\nAccess-Control-Request-Method: GET\r\n\r\n".encode()
    async with Served().running(limits=limits, origins=page) as served:
        busy, busy_writer = await served.connect(GET)
        await served.asked.wait()
        for sent, status in ((GET[:-2] + asked, b"503"), (GET.replace(b"GET", b"OPTIONS")[:-2] + asked, b"204")):
            refused, writer = await served.connect(sent)
            head = await refused.readuntil(b"\r\n\r\n")
            assert head.split(b" ")[1] == status
            assert f"access-control-allow-origin: {page}\r\n".encode() in head
            writer.close()
        served.release.set()
        assert (await busy.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        busy_writer.close()


async def test_the_admin_port_serves_health_alone_and_always_a_newcomer() -> None:
    async with Served().running() as served:
        served.release.set()
        probe = GET.replace(b"/", b"/health/live", 1)
        silent = [await served.connect(b"", served.admin_port) for _ in range(2 * RESERVED)]
        for sent, status in ((probe, b"200"), (GET, b"404"), (probe, b"200")):
            reader, writer = await served.connect(sent, served.admin_port)
            assert (await reader.read()).split(b" ")[1] == status
            writer.close()
        reader, writer = await served.connect(GET)
        assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        writer.close()
        for _, each in silent:
            each.close()


def forwarded_for(address: str) -> bytes:
    return GET[:-2] + f"X-Forwarded-For: 192.0.2.1, {address}\r\nX-Forwarded-Proto: https\r\n\r\n".encode()


async def test_a_trusted_proxy_says_who_the_client_is_and_each_client_has_its_bound() -> None:
    limits = ConnectionLimits(per_client=2)
    async with Served().running(limits=limits, trusted="127.0.0.0/8") as served:
        held = [await served.connect(forwarded_for(client)) for client in ["203.0.113.7"] * 2 + ["203.0.113.8"] * 2]
        held += [await served.connect(GET) for _ in range(3)]  # the proxy's own
        await eventually(lambda: len(served.seen) == 7)
        assert Counter(served.seen) == {
            ("https", "203.0.113.7"): 2,
            ("https", "203.0.113.8"): 2,
            ("http", "127.0.0.1"): 3,
        }
        refused, refused_writer = await served.connect(forwarded_for("203.0.113.7"))
        assert (await refused.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 429 ")
        assert limits.refused == {RequestBound.CLIENT: 1}
        refused_writer.close()
        served.release.set()
        for reader, writer in held:
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
            writer.close()


async def test_without_trusted_proxies_nobody_chooses_who_they_are() -> None:
    async with Served().running() as served:
        served.release.set()
        reader, writer = await served.connect(forwarded_for("203.0.113.7"))
        await reader.readuntil(b"done")
        assert served.seen == [("http", "127.0.0.1")]
        writer.close()


async def test_requests_in_a_pipeline_are_served_in_order() -> None:
    async with Served().running() as served:
        reader, writer = await served.connect(GET * 3)
        served.release.set()
        for _ in range(3):
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_a_client_that_sends_more_requests_than_may_wait_gets_some_responses_and_a_close() -> None:
    async with Served().running() as served:
        reader, writer = await served.connect(GET * 1_000)
        await served.asked.wait()
        served.release.set()
        responses = (await reader.read()).split(b"HTTP/1.1 ")[1:]
        assert len(served.seen) == len(responses) == 5  # one is served while 4 wait
        assert {response[:3] for response in responses} == {b"200"}
        assert [b"connection: close" in response for response in responses] == [False] * 4 + [True]
        writer.close()


async def test_a_response_to_http_1_0_ends_with_its_connection() -> None:
    async with Served().running() as served:
        served.release.set()
        reader, writer = await served.connect(GET.replace(b"1.1", b"1.0"))
        response = await reader.read()
        assert response.startswith(b"HTTP/1.1 200 ")
        assert response.endswith(b"done")
        writer.close()


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


REACHED = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1"}
if _has_ipv6():
    REACHED |= {"::1": "[::1]", "::": "[::1]"}


@pytest.mark.parametrize("host", REACHED)
def test_the_address_of_a_listener_is_one_that_this_machine_reaches(host: str) -> None:
    with bound_socket(Settings(host=host, port=0)) as listener:
        assert address_of(listener) == f"http://{REACHED[host]}:{listener.getsockname()[1]}"
