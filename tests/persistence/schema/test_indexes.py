"""Indexes that existing tables lack are built while the tables are in use."""

import asyncio

import asyncpg
import pytest

from stepwell.persistence.schema.indexes import INDEX_LOCK, build_missing_indexes
from stepwell.persistence.schema.startup import DatabaseRefused, prepare_database
from stepwell.persistence.tables.workflows import workflows
from support.database.postgres import connected

INDEXES = {str(index.name) for index in workflows.indexes}
IN_USE = """
SELECT c.relname FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE i.indrelid = 'workflows'::regclass AND NOT i.indisprimary AND i.indisvalid
"""
INVALID = IN_USE.replace("AND i.indisvalid", "AND NOT i.indisvalid")
POLLED = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_try_advisory_lock%' AND state = 'idle'"


@pytest.fixture
def live(sql: asyncpg.Connection) -> asyncpg.Connection:
    """Another process that uses the database."""
    return sql


async def prepare(dsn: str, index_wait_s: float | None = 30) -> None:
    await prepare_database(dsn, timeout_s=30, waiting=lambda _: None, index_wait_s=index_wait_s)


async def names(live: asyncpg.Connection, query: str = IN_USE) -> set[str]:
    return {row["relname"] for row in await live.fetch(query)}


async def until_building(live: asyncpg.Connection) -> None:
    """Until a build waits for the end of an old transaction."""
    waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'virtualxid'"
    async with asyncio.timeout(60):
        while not await live.fetchval(waits):
            await asyncio.sleep(0.01)


async def drop_all(live: asyncpg.Connection) -> None:
    for name in INDEXES:
        await live.execute(f"DROP INDEX {name}")


async def test_a_start_builds_all_indexes_that_tables_lack(dsn: str, live: asyncpg.Connection) -> None:
    await drop_all(live)
    assert await names(live) == set()
    await prepare(dsn)
    assert await names(live) == INDEXES


async def test_nobody_waits_for_a_build(dsn: str, live: asyncpg.Connection) -> None:
    await live.execute("DROP INDEX workflows_list_by_zone")
    async with connected(dsn) as other, asyncio.timeout(60), asyncio.TaskGroup() as group:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.fetchval("SELECT count(*) FROM workflows")  # a snapshot for which the build must wait
        building = group.create_task(prepare(dsn))
        await until_building(live)
        await live.execute("UPDATE workflows SET name = 'n'", timeout=30)
        assert await live.fetchval("SELECT count(*) FROM workflows", timeout=30) == 0
        assert not building.done()
        await other.execute("COMMIT")
    assert await names(live) == INDEXES


async def test_two_processes_at_once_build_each_index_once(dsn: str, live: asyncpg.Connection) -> None:
    await drop_all(live)
    built: list[str] = []
    async with asyncio.timeout(60):
        await asyncio.gather(*(build_missing_indexes(dsn, built.append) for _ in range(3)))
    assert sorted(built) == sorted(INDEXES)
    assert await names(live) == INDEXES


async def test_a_process_waits_while_another_builds(dsn: str, live: asyncpg.Connection) -> None:
    await live.execute("DROP INDEX workflows_list_by_zone")
    await live.fetchval("SELECT pg_advisory_lock($1)", INDEX_LOCK)
    built: list[str] = []
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        building = group.create_task(build_missing_indexes(dsn, built.append))
        while not await live.fetchval(POLLED):
            await asyncio.sleep(0.01)
        assert not building.done()
        assert built == []
        await live.fetchval("SELECT pg_advisory_unlock($1)", INDEX_LOCK)
    assert built == ["workflows_list_by_zone"]


async def test_an_interrupted_build_is_repeated_at_the_next_start(dsn: str, live: asyncpg.Connection) -> None:
    await live.execute("DROP INDEX workflows_list_by_zone")
    async with connected(dsn) as other, asyncio.timeout(60):
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.fetchval("SELECT count(*) FROM workflows")
        async with asyncio.TaskGroup() as group:
            building = group.create_task(prepare(dsn))
            await until_building(live)
            building.cancel()
        while await names(live, INVALID) != {"workflows_list_by_zone"}:
            await asyncio.sleep(0.01)
        await other.execute("COMMIT")
    await prepare(dsn)
    assert await names(live) == INDEXES
    assert await names(live, INVALID) == set()


async def test_a_start_goes_on_without_an_index_that_takes_too_long(dsn: str, live: asyncpg.Connection) -> None:
    await live.execute("DROP INDEX workflows_list_by_zone")
    async with connected(dsn) as other:
        await other.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await other.fetchval("SELECT count(*) FROM workflows")
        await prepare(dsn, 0.1)
        assert "workflows_list_by_zone" not in await names(live)


async def test_an_index_that_the_database_refuses_stops_the_migration_but_no_start(
    dsn: str, live: asyncpg.Connection
) -> None:
    await live.execute("DROP INDEX workflows_list_by_zone; CREATE TABLE workflows_list_by_zone (a int)")
    await prepare(dsn)
    with pytest.raises(DatabaseRefused, match=r"an index can't be built: .*workflows_list_by_zone"):
        await prepare(dsn, None)


async def test_an_index_of_another_schema_is_left_alone(dsn: str, live: asyncpg.Connection) -> None:
    await live.execute("CREATE SCHEMA stepwell")  # of the user's name, so it is the first in the search path
    await live.execute(
        "CREATE TABLE stepwell.other (zone text); CREATE INDEX workflows_list_by_zone ON stepwell.other (zone)"
    )
    built: list[str] = []
    await build_missing_indexes(dsn, built.append)
    assert built == []
    await live.execute("DROP INDEX public.workflows_list_by_zone")
    await build_missing_indexes(dsn, built.append)
    assert built == ["workflows_list_by_zone"]
    assert await names(live) == INDEXES
    assert await live.fetchval("SELECT to_regclass('stepwell.workflows_list_by_zone') IS NOT NULL")
