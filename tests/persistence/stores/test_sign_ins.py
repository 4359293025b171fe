"""The sign-ins in PostgreSQL: old codes are deleted."""

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.sign_ins import PostgresSignIns


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
