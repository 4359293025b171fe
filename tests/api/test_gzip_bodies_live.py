"""Bodies in gzip: they are read like others, and their limits hold for what they inflate to."""

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.basics.strict_json.size import MAX_VALUES
from stepwell.testing import ManualClock, MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 1024 * 1024
GZIP = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
SOUND = json.dumps({"name": "a", "origin_instance": "tests", "steps": [passthrough_step("a")]}).encode()


def bomb(size: int) -> bytes:
    """Gzip data that inflates to so many bytes. It is made in parts, so that the test needs no memory for it."""
    deflater = zlib.compressobj(wbits=31)
    parts = [deflater.compress(b" " * MIB) for _ in range(size // MIB)]
    return b"".join([*parts, deflater.compress(b" " * (size % MIB)), deflater.flush()])


async def create(client: httpx.AsyncClient, content: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    return await client.post(WORKFLOWS, params={"start": False}, content=content, headers=GZIP | headers)


async def in_parts(data: bytes, size: int) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), size):
        yield data[begin : begin + size]


def held(api: Service) -> int:
    return api.app.services.memory.held


@pytest.mark.parametrize(
    ("text", "encoding"),
    [("x", "gzip"), ("x", "x-gzip"), ("x", "GZIP"), ("x" * 70_000, "gzip"), ("é" * 3_000_000, "gzip")],
    ids=["short", "x-gzip", "GZIP", "longer", "6 MB"],
)
async def test_a_gzip_body_is_read_like_a_plain_one(api: Service, text: str, encoding: str) -> None:
    body = json.loads(SOUND) | {"config": {"text": text}}
    data = gzip.compress(json.dumps(body, ensure_ascii=False).encode())
    async with api.unchecked_client() as client:
        response = await create(client, data, **{"Content-Encoding": encoding})
    assert (response.status_code, response.json()["config"]["text"]) == (201, text)
    assert held(api) == 0


async def test_a_gzip_body_that_comes_byte_by_byte_is_read(api: Service) -> None:
    async with api.unchecked_client() as client:
        assert (await create(client, in_parts(gzip.compress(SOUND), 1))).status_code == 201


async def test_a_key_fits_the_same_body_in_any_encoding(client: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "one-order"}
    first = await create(client, gzip.compress(SOUND), **key)
    again = await client.post(WORKFLOWS, params={"start": False}, json=json.loads(SOUND), headers=key)
    assert again.status_code == 422, "httpx writes other blanks"
    plain = {"Content-Type": "application/json"}
    again = await client.post(WORKFLOWS, params={"start": False}, content=SOUND, headers=key | plain)
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


@pytest.mark.parametrize("size", [16 * MIB + 1, 64 * MIB])
@pytest.mark.parametrize("parts", [None, pytest.param(16 * 1024, marks=pytest.mark.extended)])
async def test_a_body_that_inflates_to_too_much_is_a_413(
    api: Service, client: httpx.AsyncClient, size: int, parts: int | None
) -> None:
    data = bomb(size)
    assert len(data) < 2 * MIB
    response = await create(client, data if parts is None else in_parts(data, parts))
    assert (response.status_code, response.json()["detail"]) == (413, "The body is larger than 16,777,216 bytes.")
    assert held(api) == 0
    assert api.app.services.memory.most_held <= 40 * MIB


async def test_a_body_of_16_mib_is_inflated_and_one_for_a_verb_is_not(client: httpx.AsyncClient) -> None:
    blanks = b" " * (16 * MIB - len(SOUND))
    created = await create(client, gzip.compress(blanks + SOUND))
    assert created.status_code == 201
    response = await client.post(f"{created.headers['location']}/start", content=bomb(64 * 1024 + 1), headers=GZIP)
    assert (response.status_code, response.json()["detail"]) == (413, "The body is larger than 65,536 bytes.")
    response = await client.post(f"{created.headers['location']}/start", content=gzip.compress(b"{}"), headers=GZIP)
    assert response.status_code == 200


async def test_too_many_values_in_gzip_are_a_413(client: httpx.AsyncClient) -> None:
    response = await create(client, gzip.compress(b"[" + b"{}," * MAX_VALUES + b"0]"))
    assert (response.status_code, "1,000,000 JSON values" in response.json()["detail"]) == (413, True)


COMPRESSED = gzip.compress(SOUND)
LARGE = gzip.compress(json.dumps(list(range(200_000))).encode())


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (COMPRESSED[:-1], "Expected gzip data that is complete"),
        (COMPRESSED[:5], "Expected gzip data that is complete"),
        (LARGE[: len(LARGE) // 2], "Expected gzip data that is complete"),
        (SOUND, "Expected gzip data"),
        (zlib.compress(SOUND), "Expected gzip data"),
        (COMPRESSED[:20] + b"\xff\xff" + COMPRESSED[22:], "Expected gzip data"),
        (COMPRESSED[:-8] + bytes(8), "Expected gzip data"),
        (LARGE[:-8] + bytes(8), "Expected gzip data"),
        (COMPRESSED + b"x", "Expected nothing after the end of the gzip data"),
        (COMPRESSED * 2, "Expected nothing after the end of the gzip data"),
    ],
    # The data have the time in them, and every worker of the test run must collect the same names.
    ids=[
        *("one byte less", "header only", "half", "plain", "zlib", "damaged"),
        *("wrong checksum", "wrong checksum of much", "one byte more", "twice"),
    ],
)
@pytest.mark.parametrize("parts", [1, 20])
async def test_gzip_data_that_is_cut_off_or_damaged_is_a_422(
    api: Service, client: httpx.AsyncClient, data: bytes, why: str, parts: int
) -> None:
    response = await create(client, data if parts == 1 else in_parts(data, len(data) // parts + 1))
    assert response.status_code == 422
    assert response.json()["detail"] == [{"loc": ["body"], "msg": why, "type": "gzip_invalid"}]
    assert held(api) == 0


async def test_the_encoding_of_an_empty_body_counts_for_nothing(client: httpx.AsyncClient) -> None:
    created = await create(client, gzip.compress(SOUND))
    assert (await client.post(f"{created.headers['location']}/start", headers=GZIP)).status_code == 200


@pytest.mark.parametrize(("memory", "status"), [(12 * MIB, 413), (64 * MIB, 201)])
async def test_an_inflated_body_needs_room_in_the_memory(
    clock: ManualClock, tmp_path: Path, memory: int, status: int
) -> None:
    data = gzip.compress(b" " * (8 * MIB) + SOUND)
    settings: dict[str, Any] = {"memory_max_bytes": memory}
    async with running_service(MemoryDatabase(clock), tmp_path, **settings) as service:
        assert (await create(service.client, data)).status_code == status
        assert held(service) == 0
