"""Connections that are kept are closed when it is said, wherever they are then."""

import asyncio

import asyncpg
import pytest

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Connect, asyncpg_connect


@pytest.fixture
def connect(shared_dsn: str) -> Connect:
    return asyncpg_connect(shared_dsn, timeout_s=10)


async def test_a_borrowed_connection_is_closed_when_it_is_released(connect: Connect) -> None:
    kept = SmallPool(connect, size=2, timeout_s=10)
    async with kept.borrow() as lent:
        async with kept.borrow() as idle:
            pass
        kept.close()
        assert idle.is_closed()
        assert await lent.fetchval("SELECT 1") == 1
    assert lent.is_closed()


async def test_a_connection_that_is_being_opened_is_closed_when_it_is_released(connect: Connect) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> asyncpg.Connection:
        asked.set()
        await go_on.wait()
        return await connect()

    kept = SmallPool(slow, size=1, timeout_s=10)

    async def borrow() -> asyncpg.Connection:
        async with kept.borrow() as lent:
            return lent

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        borrowing = group.create_task(borrow())
        await asked.wait()
        kept.close()
        go_on.set()
    assert borrowing.result().is_closed()


async def test_a_closed_pool_keeps_new_connections_open(connect: Connect) -> None:
    """The workflow store closes those for inserts after a failed write, and goes on."""
    kept = SmallPool(connect, size=1, timeout_s=10)
    kept.close()
    async with kept.borrow() as first:
        pass
    async with kept.borrow() as second:
        assert second is first
    kept.close()
    assert first.is_closed()


async def _take(pool: SmallPool, taken: list[int], number: int, until: asyncio.Event) -> None:
    async with pool.borrow():
        taken.append(number)
        await until.wait()


async def _started(group: asyncio.TaskGroup, pool: SmallPool, taken: list[int], number: int) -> asyncio.Task[None]:
    free = asyncio.Event()
    free.set()
    asyncio_task = group.create_task(_take(pool, taken, number, free))
    await asyncio.sleep(0)
    return asyncio_task


async def test_callers_get_the_connection_in_the_order_in_which_they_came(connect: Connect) -> None:
    pool, taken = SmallPool(connect, size=1, timeout_s=10), list[int]()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, pool.borrow():
        for number in range(3):
            _ = await _started(group, pool, taken, number)
        assert taken == []
    assert taken == [0, 1, 2]
    pool.close()


async def test_a_cancelled_caller_takes_no_connection_from_the_others(connect: Connect) -> None:
    pool, taken = SmallPool(connect, size=1, timeout_s=10), list[int]()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        async with pool.borrow():
            while_waiting = await _started(group, pool, taken, 0)
            just_granted = await _started(group, pool, taken, 1)
            _ = await _started(group, pool, taken, 2)
            while_waiting.cancel()
            await asyncio.sleep(0)
        just_granted.cancel()  # the slot was handed to it, but it has not run yet
    assert taken == [2]
    async with asyncio.timeout(60), pool.borrow():
        pass
    pool.close()


async def test_a_caller_that_waits_too_long_gets_a_timeout_and_leaves_the_queue(connect: Connect) -> None:
    pool = SmallPool(connect, size=1, timeout_s=0.01)
    async with pool.borrow():
        with pytest.raises(TimeoutError):
            await pool.acquire()
    async with asyncio.timeout(60), pool.borrow():
        pass
    pool.close()


async def test_a_connection_that_cannot_be_opened_frees_its_slot(connect: Connect) -> None:
    opened = 0

    async def fail_once() -> asyncpg.Connection:
        nonlocal opened
        opened += 1
        if opened == 1:
            raise OSError("no server")
        return await connect()

    pool = SmallPool(fail_once, size=1, timeout_s=10)
    with pytest.raises(OSError, match="no server"):
        await pool.acquire()
    async with asyncio.timeout(60), pool.borrow():
        pass
    pool.close()
