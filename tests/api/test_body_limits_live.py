"""Bodies that stall, are too many or hold too much, over real sockets: they end, and others aren't affected."""

import asyncio
import gc
import gzip
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.api.requests.request_resources import RequestResources
from stepwell.basics.strict_json.size import MAX_VALUES
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.providers.scripted import eventually
from support.service.listening_service import listening
from support.service.live_service import Service, running_service, token

MIB = 1024 * 1024
SOUND = json.dumps({"name": "a", "origin_instance": "tests", "steps": [passthrough_step("a")]}).encode()
Client = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def served(folder: Path, **settings: Any) -> AsyncIterator[tuple[Service, int]]:
    async with running_service(MemoryDatabase(), folder, **settings) as service, listening(service) as port:
        yield service, port


def head(tenant: str, *lines: str, method: str = "POST", path: str = WORKFLOWS + "?start=false") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: x", "Content-Type: application/json", *lines)
    return "\r\n".join([*lines, f"Authorization: Bearer {token(tenant, every=False)}", "", ""]).encode()


async def connect(stack: AsyncExitStack, port: int, sent: bytes) -> Client:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stack.callback(writer.close)
    writer.write(sent)
    return reader, writer


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(30):
        return int((await reader.readline()).split(b" ")[1])


async def create(port: int, tenant: str, body: bytes = SOUND) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token(tenant, every=False)}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        return await client.post(WORKFLOWS, params={"start": False}, content=body)


LENGTH = f"Content-Length: {15 * MIB}"
CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("lines", "sent"),
    [
        ((LENGTH,), b""),
        ((LENGTH,), b" " * MIB),
        ((CHUNKED,), b""),
        ((CHUNKED,), b"100000\r\n" + b" " * MIB),
        ((LENGTH, "Content-Encoding: gzip"), gzip.compress(b" " * (8 * MIB))[:-9]),
    ],
    ids=["nothing", "a part", "no chunk", "a chunk", "gzip"],
)
async def test_a_body_that_stalls_is_a_408_and_its_memory_is_free(
    tmp_path: Path, lines: tuple[str, ...], sent: bytes
) -> None:
    async with served(tmp_path, body_timeout_s=0.2) as (service, port), AsyncExitStack() as stack:
        reader, _ = await connect(stack, port, head("acme", *lines) + sent)
        assert await status_of(reader) == 408
        assert b"connection: close" in (await reader.readuntil(b"\r\n\r\n")).lower()
        assert service.app.metrics.value("stepwell_memory_held_bytes") == 0


async def test_a_body_that_only_trickles_is_a_408(tmp_path: Path) -> None:
    async with served(tmp_path, body_timeout_s=0.3) as (_, port), AsyncExitStack() as stack:
        reader, writer = await connect(stack, port, head("acme", LENGTH))

        async def trickle() -> None:
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.01)

        async with asyncio.TaskGroup() as group:
            trickling = group.create_task(trickle())
            assert await status_of(reader) == 408
            trickling.cancel()


async def test_stalled_bodies_of_one_tenant_hold_a_share_of_the_memory(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"memory_max_bytes": 48 * MIB, "body_timeout_s": 60.0}
    async with served(tmp_path, **settings) as (service, port), AsyncExitStack() as stack:
        for _ in range(20):
            _, writer = await connect(stack, port, head("attacker", LENGTH))
            writer.write(b" " * (14 * MIB))
        held = service.app.services.memory
        await eventually(lambda: held.waiting > 0)
        assert held.held <= held.max_bytes
        body = b" " * (2 * MIB) + SOUND
        assert (await create(port, "other", body)).status_code == 201
        assert held.most_held <= held.max_bytes
    assert held.held == 0


@pytest.mark.extended
async def test_too_many_values_are_a_413_without_decoding(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, port):
        empties = b"[" + b"{}," * MAX_VALUES + b"0]"
        responses = await asyncio.gather(*(create(port, "attacker", empties) for _ in range(8)))
        assert {response.status_code for response in responses} == {413}
        assert "1,000,000 JSON values" in responses[0].json()["detail"]
        assert service.app.services.memory.held == 0
        assert (await create(port, "attacker", b"[" + b"{}," * (MAX_VALUES - 2) + b"0]")).status_code == 422


@pytest.mark.extended
@pytest.mark.parametrize(("body", "status"), [(b"[0" + b",{}" * 100_000 + b"]", 422), (b" " * MIB + SOUND, 201)])
async def test_a_body_is_forgotten_when_the_response_is_sent(tmp_path: Path, body: bytes, status: int) -> None:
    def held() -> int:
        """The number of bodies of requests, and of lists that are as long as the body's."""
        objects = gc.get_objects()  # `isinstance` would make Celery's lazy objects load their configuration
        bodies = sum(each.body is not None for each in objects if type(each) is RequestResources)
        return bodies + sum(type(each) is list and len(each) == 100_001 for each in objects)

    async with served(tmp_path) as (_, port), AsyncExitStack() as stack:
        gc.collect()
        gc.disable()  # cycles of errors and frames would hold it until a collection, which is rare
        stack.callback(gc.enable)
        reader, _ = await connect(stack, port, head("acme", f"Content-Length: {len(body)}") + body)
        assert await status_of(reader) == status
        await eventually(lambda: held() == 0)


async def test_commas_and_brackets_in_strings_are_no_values(tmp_path: Path) -> None:
    async with served(tmp_path) as (_, port):
        body = json.loads(SOUND) | {"steps": [passthrough_step("a", text=",[{" * MAX_VALUES)]}
        assert (await create(port, "acme", json.dumps(body).encode())).status_code == 201


async def test_a_body_that_fits_into_no_memory_is_a_413(tmp_path: Path) -> None:
    async with served(tmp_path, memory_max_bytes=12 * MIB) as (_, port), AsyncExitStack() as stack:
        reader, _ = await connect(stack, port, head("acme", LENGTH))
        assert await status_of(reader) == 413


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head("acme", LENGTH).replace(b"Bearer ", b"Bearer x"), 401),
        (head("acme", f"Content-Length: {16 * MIB + 1}"), 413),
        (head("acme", LENGTH).replace(b"application/json", b"text/plain"), 415),
        (head("acme", LENGTH, path=f"{WORKFLOWS}00000000-0000-0000-0000-000000000000/start"), 413),
        (head("acme", LENGTH, path="/api/v1/callbacks/00"), 404),
    ],
    ids=["token", "length", "type", "an operation without a body", "callback"],
)
async def test_a_body_that_will_be_refused_is_refused_before_it_comes(tmp_path: Path, sent: bytes, status: int) -> None:
    async with served(tmp_path, body_timeout_s=60.0) as (_, port), AsyncExitStack() as stack:
        reader, _ = await connect(stack, port, sent)
        assert await status_of(reader) == status
        reader, _ = await connect(stack, port, sent.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue"))
        assert await status_of(reader) == status, "it isn't asked for"
