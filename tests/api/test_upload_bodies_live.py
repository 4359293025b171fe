"""Bodies of uploads over real sockets: streamed at constant memory, and nothing is left of those that end early."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.test_body_limits_live import Client, connect, head, served, status_of
from stepwell.testing import MemoryDatabase
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service, token

ARTIFACTS = "/api/v1/artifacts"
MIB = 1024 * 1024


def database_of(service: Service) -> MemoryDatabase:
    assert isinstance(service.database, MemoryDatabase)
    return service.database


def assert_nothing_stored(service: Service) -> None:
    assert database_of(service).tables.uploads == {}
    assert service.stored_files() == []
    assert service.app.services.memory.held == 0


async def begin(stack: AsyncExitStack, port: int, sent: bytes, *lines: str) -> Client:
    return await connect(stack, port, head("acme", *lines, path=ARTIFACTS) + sent)


async def upload_of(port: int, tenant: str, data: bytes | AsyncIterator[bytes]) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token(tenant, every=False)}", "Content-Type": "text/plain"}
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=60) as client:
        return await client.post(ARTIFACTS, content=data)


async def test_a_large_upload_takes_constant_memory(tmp_path: Path) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"a line of text\n" * (MIB // 15)

    async with served(tmp_path) as (service, port):
        response = await upload_of(port, "acme", body())
        assert response.status_code == 201, response.text
        (artifact,) = response.json()["artifacts"]
        assert artifact["size"] == 40 * (MIB // 15) * 15
        assert (service.artifacts / artifact["path"]).stat().st_size == artifact["size"]
        assert service.app.services.memory.most_held == MIB
        assert service.app.services.memory.held == 0


@pytest.mark.parametrize("lines", [(f"Content-Length: {30 * MIB}",), ("Transfer-Encoding: chunked",)])
async def test_an_upload_that_stalls_is_a_408_and_nothing_is_left(tmp_path: Path, lines: tuple[str, ...]) -> None:
    async with served(tmp_path, body_timeout_s=0.2) as (service, port), AsyncExitStack() as stack:
        part = b"100000\r\n" + b" " * MIB if "chunked" in lines[0] else b" " * MIB
        reader, _ = await begin(stack, port, part, *lines)
        assert await status_of(reader) == 408
        await eventually(lambda: service.app.services.memory.held == 0)
        assert_nothing_stored(service)


async def test_nothing_is_left_of_an_upload_whose_client_leaves(tmp_path: Path) -> None:
    async with served(tmp_path) as (service, port), AsyncExitStack() as stack:
        _, writer = await begin(stack, port, b" " * MIB, f"Content-Length: {30 * MIB}")
        await eventually(lambda: service.app.services.memory.held > 0)
        writer.close()
        await eventually(lambda: service.app.services.memory.held == 0)
        assert_nothing_stored(service)


async def test_an_upload_that_is_too_large_is_a_413_as_soon_as_that_is_known(tmp_path: Path) -> None:
    async with served(tmp_path, upload_max_bytes=2 * MIB) as (service, port), AsyncExitStack() as stack:
        reader, _ = await begin(stack, port, b"", f"Content-Length: {2 * MIB + 1}")
        assert await status_of(reader) == 413
        reader, _ = await begin(stack, port, b"200001\r\n" + b" " * (2 * MIB + 1), "Transfer-Encoding: chunked")
        assert await status_of(reader) == 413
        reader, _ = await begin(stack, port, b" " * (2 * MIB), f"Content-Length: {2 * MIB}")
        assert await status_of(reader) == 201
        assert len(database_of(service).tables.uploads) == 1


async def test_the_uploads_of_a_tenant_that_are_being_received_are_bounded_together(tmp_path: Path) -> None:
    async with served(tmp_path, upload_max_bytes=2 * MIB) as (service, port), AsyncExitStack() as stack:
        length = f"Content-Length: {2 * MIB}"
        for _ in range(2):
            await begin(stack, port, b" " * (2 * MIB - 1), length)
        received = service.app.services.uploads.received
        await eventually(lambda: received["acme"] == 4 * MIB - 2)
        reader, _ = await begin(stack, port, b" " * MIB, f"Content-Length: {MIB}")
        assert await status_of(reader) == 429
        other = await upload_of(port, "other", b" " * MIB)
        assert other.status_code == 201


async def test_uploads_beyond_the_quota_are_a_507(tmp_path: Path) -> None:
    limits: dict[str, Any] = {"upload_quota_bytes": 2_000, "max_uploads_per_tenant": 2}
    async with running_service(MemoryDatabase(), tmp_path, **limits) as service, service.as_tenant("acme") as client:
        headers = {"Content-Type": "text/plain"}
        for size, status in ((1_500, 201), (501, 507), (500, 201), (0, 415)):
            response = await client.post(ARTIFACTS, content=b"x" * size, headers=headers)
            assert response.status_code == status, response.text
        paths = [artifact["path"] for artifact in (await client.get(ARTIFACTS)).json()["artifacts"]]
        assert (await client.delete(f"{ARTIFACTS}/{paths[1]}")).status_code == 200
        assert (await client.post(ARTIFACTS, content=b"y" * 100, headers=headers)).status_code == 201
        refused = await client.post(ARTIFACTS, content=b"y" * 101, headers=headers)
        assert (refused.status_code, refused.headers["retry-after"]) == (507, "3600")
        assert "2,000 bytes" in refused.json()["detail"]
