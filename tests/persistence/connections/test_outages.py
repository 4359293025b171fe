"""How each kind of connection reports an outage, and the write probe."""

import asyncio
import os
from errno import EDQUOT

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from stepwell.basics.errors import DiskFull, ReadOnly, ResourcesExhausted, Unavailable
from stepwell.persistence.connections.database import (
    Observer,
    asyncpg_connect,
    create_api_engine,
    is_outage,
    outage_of,
)
from stepwell.persistence.connections.write_probe import try_to_write
from support.database.postgres import TABLES

RAISED = "DO $$ BEGIN RAISE EXCEPTION '{}' USING ERRCODE = '{}'; END $$"
KINDS = [
    (RAISED.format("could not extend file", "53100"), DiskFull),
    (RAISED.format(f"could not extend file: {os.strerror(EDQUOT)}", "XX000"), DiskFull),
    (RAISED.format("cannot execute UPDATE", "25006"), ReadOnly),
    (RAISED.format("out of memory", "53200"), ResourcesExhausted),
    (RAISED.format("too many clients", "53300"), ResourcesExhausted),
    (RAISED.format("temp_file_limit", "53400"), ResourcesExhausted),
    (RAISED.format("going down", "57P01"), Unavailable),
]


@pytest.mark.parametrize(("statement", "kind"), KINDS)
async def test_every_outage_is_reported_by_its_kind(shared_dsn: str, statement: str, kind: type[Unavailable]) -> None:
    met: list[Unavailable] = []
    observer = Observer(on_outage=met.append)
    connection = await asyncpg_connect(shared_dsn, timeout_s=10, observer=observer)()
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute(statement)
    await connection.close()
    engine = create_api_engine(shared_dsn, pool=1, timeout_s=10, observer=observer)
    with pytest.raises(SQLAlchemyError):
        async with engine.begin() as api:
            await api.execute(text(statement))
    await engine.dispose()
    assert [type(outage) for outage in met] == [kind, kind]
    assert [str(outage.__cause__) for outage in met] == [statement.split("'")[1]] * 2


async def test_a_wrong_statement_is_no_outage(shared_dsn: str) -> None:
    met: list[Unavailable] = []
    connection = await asyncpg_connect(shared_dsn, timeout_s=10, observer=Observer(on_outage=met.append))()
    for statement in ("SELECT 1 / 0", RAISED.format("a bug", "XX000")):
        with pytest.raises(asyncpg.PostgresError) as raised:
            await connection.execute(statement)
        assert not is_outage(raised.value)
    await connection.close()
    assert met == []


@pytest.mark.parametrize(("disk_full", "kind"), [(True, DiskFull), (False, Unavailable)])
async def test_a_server_without_room_to_start_is_reported_as_a_full_disk(
    shared_dsn: str, *, disk_full: bool, kind: type[Unavailable]
) -> None:
    met: list[Unavailable] = []
    nowhere = shared_dsn.replace("port=", "port=1")
    observer = Observer(on_outage=met.append, server_disk_full=lambda: disk_full)
    with pytest.raises(kind) as raised:
        await try_to_write(asyncpg_connect(nowhere, timeout_s=1, observer=observer))
    assert [type(raised.value), *map(type, met)] == [kind, kind]


def test_the_servers_message_is_only_in_the_cause_of_an_outage() -> None:
    error = asyncpg.DiskFullError('could not extend file "base/1/2"')
    outage = outage_of(error)
    assert outage.__cause__ is error
    assert "base/1/2" not in str(outage)


async def test_the_write_probe_needs_room_and_leaves_no_row(shared_dsn: str) -> None:
    sql = await asyncpg.connect(shared_dsn)
    await sql.execute(f"TRUNCATE {TABLES}")
    size = "SELECT temp_bytes FROM pg_stat_database WHERE datname = current_database()"
    before = await sql.fetchval(size)
    await try_to_write(asyncpg_connect(shared_dsn, timeout_s=10))
    for table in TABLES.split(", "):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0
    # PostgreSQL 14 counts after the session has ended, and a transaction sees the count of its beginning.
    async with asyncio.timeout(30):
        while await sql.fetchval(size) - before <= 500_000:
            await asyncio.sleep(0.05)
    await sql.close()
