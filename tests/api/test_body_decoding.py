"""The turns in which big bodies are decoded."""

import asyncio
import threading

import pytest

from stepwell.api.body_decoding import BigBodyDecoder
from stepwell.domain.errors import NeverFits, TooManyValues
from stepwell.memory import MemoryGovernor

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
            await decoder.run(tenant, BODY, memory, work)
            assert memory.held == 0

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
            await decoder.run("a", BODY, memory, work)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(decode(name)) for name in "xyz"]
        while decoder.waiting < 2:
            await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        go.set()
    assert done == ["x", "z"]
    assert governor.held == decoder.waiting == 0


async def test_a_body_is_refused_before_its_turn() -> None:
    decoder = BigBodyDecoder()
    with MemoryGovernor(2**20).reservation("a") as memory, pytest.raises(NeverFits):
        await decoder.run("a", BODY, memory, lambda: pytest.fail("decoded"))
    with MemoryGovernor(2**20).reservation("a") as memory, pytest.raises(TooManyValues):
        await decoder.run("a", b"[" + b"0," * 1_000_000 + b"0]", memory, lambda: pytest.fail("decoded"))
