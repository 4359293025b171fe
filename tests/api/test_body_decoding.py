"""The turns in which big bodies are decoded."""

import asyncio
import threading
from contextlib import nullcontext
from pathlib import Path

import pytest
from msgspec import json

from stepwell.api.requests.body_decoding import BigBodyDecoder
from stepwell.basics.errors import NeverFits, TooManyValues
from stepwell.runtime.memory import MemoryGovernor
from stepwell.testing import MemoryDatabase
from support.providers.configured_by_steps import WORKFLOWS, passthrough_step
from support.providers.scripted import eventually
from support.service.live_service import running_service

BODY = b"[" + b"0," * 50_000 + b"0]"


async def test_bodies_are_decoded_one_at_a_time_and_tenant_after_tenant() -> None:
    decoder, governor = BigBodyDecoder(), MemoryGovernor(2**30)
    order: list[str] = []
    go = threading.Event()

    async def decode(tenant: str) -> None:
        def work() -> None:
            go.wait(30)
            order.append(tenant)

        with governor.reservation(tenant) as memory:
            assert await decoder.reserve(BODY, memory) == memory.held > 0
            await decoder.run(tenant, work)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for tenant in ["a"] * 4:
            group.create_task(decode(tenant))
        while decoder.waiting < 3:
            await asyncio.sleep(0)
        for tenant in ["b", "b", "c"]:
            group.create_task(decode(tenant))
        while decoder.waiting < 6:
            await asyncio.sleep(0)
        go.set()
    assert order == ["a", "a", "b", "c", "a", "b", "a"]
    assert decoder.most_at_once == 1


async def test_a_body_whose_request_ends_gets_no_turn() -> None:
    decoder, governor = BigBodyDecoder(), MemoryGovernor(2**30)
    go, done = threading.Event(), list[str]()

    async def decode(name: str) -> None:
        def work() -> None:
            go.wait(30)
            done.append(name)

        with governor.reservation("a") as memory:
            await decoder.reserve(BODY, memory)
            await decoder.run("a", work)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        asyncio_tasks = [group.create_task(decode(name)) for name in "xyz"]
        while decoder.waiting < 2:
            await asyncio.sleep(0)
        asyncio_tasks[1].cancel()
        await asyncio.sleep(0)
        go.set()
    assert done == ["x", "z"]
    assert governor.held == decoder.waiting == 0


async def test_a_body_is_refused_before_its_turn() -> None:
    decoder = BigBodyDecoder()
    with MemoryGovernor(2**20).reservation("a") as memory, pytest.raises(NeverFits):
        await decoder.reserve(BODY, memory)
    with MemoryGovernor(2**20).reservation("a") as memory, pytest.raises(TooManyValues):
        await decoder.reserve(b"[" + b"0," * 1_000_000 + b"0]", memory)


@pytest.mark.parametrize(("members", "refused"), [(500_000, False), (500_001, True)])
async def test_an_object_with_too_many_members_is_refused_before_it_is_decoded(members: int, *, refused: bool) -> None:
    decoder, governor = BigBodyDecoder(), MemoryGovernor(2**30)
    body = b'{"k:":' + b'0,"k:":' * (members - 1) + b"0}"
    expected = pytest.raises(TooManyValues, match="500,000 members") if refused else nullcontext()
    with governor.reservation("a") as memory, expected:
        await decoder.reserve(body, memory)


async def test_a_create_has_its_memory_before_its_turn_and_waits_for_none_within_it(tmp_path: Path) -> None:
    body = {"name": "n", "origin_instance": "tests", "steps": [passthrough_step(str(n)) for n in range(1_500)]}
    size = len(json.encode(body))
    async with (
        running_service(MemoryDatabase(), tmp_path, memory_max_bytes=16 * 2**20) as service,
        service.unchecked_client("t") as client,
        asyncio.timeout(60),
        asyncio.TaskGroup() as group,
    ):
        governor, turns = service.app.services.memory, service.app.services.create_turns
        with governor.reservation("t") as many, governor.reservation("t") as another:
            async with turns.turn("t", 2**20):
                create = group.create_task(client.post(f"{WORKFLOWS}?start=false", json=body))
                await eventually(lambda: governor.held > 2 * size)
                await many.grow(2 * 2**20)
                await another.grow(100_000)
                await another.grow(5 * 2**20)  # has the reserve, like a body that then waits for its turn
            async with asyncio.timeout(60), turns.turn("t", 2**20):
                pass  # the create's turn is over, although its response may wait for memory
        assert (await create).status_code == 201
        assert governor.held == 0
