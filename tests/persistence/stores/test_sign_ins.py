"""The sign-ins in PostgreSQL: old codes are deleted, and a use of a code sees an end of all sessions beside it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.sign_ins import END_ALL, PostgresSignIns
from stepwell.ports.sign_ins import CodeRefusal
from support.database.postgres import connected

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


@pytest.fixture
async def sign_ins(dsn: str) -> AsyncIterator[PostgresSignIns]:
    pool = SmallPool(asyncpg_connect(dsn, timeout_s=30), size=1, timeout_s=30)
    yield PostgresSignIns(pool)
    pool.close()


async def test_each_use_deletes_some_codes_that_expired_more_than_an_hour_ago(
    sign_ins: PostgresSignIns, sql: asyncpg.Connection
) -> None:
    now = await sign_ins.now()
    old = [(uuid4(), now - timedelta(minutes=61)) for _ in range(30)]
    recent = [(uuid4(), now - timedelta(minutes=59)) for _ in range(3)]
    await sql.executemany("INSERT INTO used_sign_in_codes (id, expires_at) VALUES ($1, $2)", old + recent)
    ids: set[UUID] = {code for code, _ in recent}
    for left in (10, 0, 0):
        new = uuid4()
        await sign_ins.use_code(new, now, now + timedelta(minutes=10))
        ids.add(new)
        found = {row["id"] for row in await sql.fetch("SELECT id FROM used_sign_in_codes")}
        assert ids <= found
        assert len(found) - len(ids) == left


async def test_a_code_signs_nobody_in_while_all_sessions_are_being_ended(
    dsn: str, sign_ins: PostgresSignIns, sql: asyncpg.Connection
) -> None:
    now, code = await sign_ins.now(), uuid4()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        async with sql.transaction():
            await sql.execute(END_ALL)
            using = group.create_task(sign_ins.use_code(code, now, now + timedelta(minutes=10)), name="use")
            async with connected(dsn) as other:
                while not using.done() and not await other.fetchval(WAITING):
                    await asyncio.sleep(0.01)
        assert await using is CodeRefusal.ENDED
    assert await sql.fetchval("SELECT count(*) FROM used_sign_in_codes") == 0


async def test_an_end_of_all_sessions_ends_the_one_whose_code_is_being_used(
    dsn: str, sign_ins: PostgresSignIns, sql: asyncpg.Connection
) -> None:
    now, code = await sign_ins.now(), uuid4()
    insert = "INSERT INTO used_sign_in_codes (id, expires_at) VALUES ($1, now())"
    async with asyncio.timeout(30), connected(dsn) as ender, connected(dsn) as observer, asyncio.TaskGroup() as group:
        same_code = sql.transaction()
        await same_code.start()
        await sql.execute(insert, code)
        using = group.create_task(sign_ins.use_code(code, now, now + timedelta(minutes=10)), name="use")
        while await observer.fetchval(WAITING) < 1:
            await asyncio.sleep(0.01)
        # The code has been found valid.
        ending = group.create_task(ender.execute(END_ALL), name="end")
        while not ending.done() and await observer.fetchval(WAITING) < 2:
            await asyncio.sleep(0.01)
        await same_code.rollback()
    begun, ended_at = using.result(), await sign_ins.ended_at()
    assert not isinstance(begun, CodeRefusal)
    assert ended_at is not None
    assert begun < ended_at
