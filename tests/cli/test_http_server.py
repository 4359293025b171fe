"""The HTTP server by itself: what becomes of clients that are slow with their requests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from litestar import Litestar, get

from stepwell.api.connection_limits import ClosedFor, ConnectionLimits, RefusedBy
from stepwell.cli.http_server import HttpServer, address_of, bound_socket
from stepwell.settings import Settings
from support.providers.scripted import eventually

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A server whose only answer, *body*, waits for `release`."""

    def __init__(self, body: bytes = b"done") -> None:
        self.body = body
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def running(
        self, head_s: float = 3600, limits: ConnectionLimits | None = None, stalled_s: float = 3600
    ) -> AsyncIterator["Served"]:
        @get("/")
        async def answer() -> bytes:
            self.asked.set()
            await self.release.wait()
            return self.body

        settings = Settings(port=0)
        with bound_socket(settings) as listener:
            self.port = listener.getsockname()[1]
            server = HttpServer(Litestar([answer]), settings, limits, head_s=head_s, stalled_s=stalled_s)
            async with asyncio.timeout(20), asyncio.TaskGroup() as group:
                group.create_task(server.serve(sockets=[listener]))
                await server.opened.wait()
                yield self
                server.should_exit = True

    async def connect(self, sent: bytes) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
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


async def test_connections_without_a_request_do_not_delay_the_stop() -> None:
    async with Served().running(head_s=3600) as served:
        reader, writer = await served.connect(GET[:-2])
        served.release.set()
        other, other_writer = await served.connect(GET)
        assert (await other.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
    assert await reader.read() == b""
    writer.close()
    other_writer.close()


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
        await eventually(lambda: limits.closed[ClosedFor.STALLED] == 1)
        await eventually(lambda: limits.connections == 0)
        writer.close()


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
        assert limits.refused == {RefusedBy.CONNECTIONS: 1}
        served.release.set()
        assert (await busy.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        assert (await third.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        for writer in (silent_writer, busy_writer, third_writer, refused_writer):
            writer.close()


async def test_requests_in_a_pipeline_are_answered_in_order() -> None:
    async with Served().running() as served:
        reader, writer = await served.connect(GET * 3)
        served.release.set()
        for _ in range(3):
            assert (await reader.readuntil(b"done")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_an_answer_to_http_1_0_ends_with_its_connection() -> None:
    async with Served().running() as served:
        served.release.set()
        reader, writer = await served.connect(GET.replace(b"1.1", b"1.0"))
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert answer.endswith(b"done")
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
