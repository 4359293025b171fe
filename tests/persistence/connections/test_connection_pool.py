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
