"""The HTTP server by itself: what becomes of clients that are slow with their requests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from litestar import Litestar, get

from stepwell.cli.http_server import HttpServer, address_of, bound_socket
from stepwell.settings import Settings

Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Served:
    """A server whose only answer waits for `release`."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.release = asyncio.Event()
        self.port = 0

    @asynccontextmanager
    async def running(self, head_s: float) -> AsyncIterator["Served"]:
        @get("/")
        async def answer() -> str:
            self.asked.set()
            await self.release.wait()
            return "done"

        settings = Settings(port=0)
        with bound_socket(settings) as listener:
            self.port = listener.getsockname()[1]
            server = HttpServer(Litestar([answer]), settings, head_s)
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
