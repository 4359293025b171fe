"""The order of all events as it is stored: what a page reads of it, and what becomes of it in a backup."""

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy.dialects import postgresql

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine, create_asyncpg_pool
from stepwell.persistence.stores import event_feed as feed_statements
from stepwell.persistence.stores.event_feed import PostgresEventFeed, page_query
from stepwell.rules.event_feed import BEGINNING, EVERYTHING, FeedCursor, FeedFilter, FeedPage
from support.database.query_plans import plan_nodes
from support.service.live_service import running_service

EVENT = (
    "INSERT INTO events (workflow_id, id, type, at, actor, data) VALUES ($1, $2, 'workflow.updated', now(), '', '{}')"
)
WORKFLOW = """
INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, status, name,
                       updated_at)
VALUES ($1, 'someone', 'o', '{}', 1, 0, now(), 'PENDING', 'n', now())
"""
DIALECT = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
OURS = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
async def feed(dsn: str) -> AsyncIterator[PostgresEventFeed]:
    engine = create_api_engine(dsn, pool=2, timeout_s=10)
    async with create_asyncpg_pool(asyncpg_connect(dsn, timeout_s=10)) as pool:
        yield PostgresEventFeed(engine, pool)
    await engine.dispose()


async def all_of_it(feed: PostgresEventFeed) -> list[int]:
    found: list[int] = []
    after, more = BEGINNING, True
    while more:
        page: FeedPage = await feed.page(EVERY_TENANT, EVERYTHING, after, 2)
        found += [each.event.id for each in page.events]
        after, more = page.position, page.more
    return found


async def test_events_of_a_restored_backup_move_to_the_beginning(
    sql: asyncpg.Connection, feed: PostgresEventFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    await sql.execute(WORKFLOW, OURS)
    for number in range(1, 6):
        await sql.execute(EVENT, OURS, number)
    await sql.execute("UPDATE events SET txid = txid + 1000000000 WHERE id <= 3")
    assert await all_of_it(feed) == [4, 5]
    page = await feed.page(EVERY_TENANT, EVERYTHING, BEGINNING, 10)
    assert page.lagging  # and would be for years
    monkeypatch.setattr(feed_statements, "_RENUMBERED", 2)
    assert [await feed.renumber_restored() for _ in range(3)] == [True, True, False]
    assert await all_of_it(feed) == [1, 2, 3, 4, 5]
    assert not (await feed.page(EVERY_TENANT, EVERYTHING, FeedCursor.before(1), 10)).lagging


async def test_all_other_events_keep_their_place(dsn: str, sql: asyncpg.Connection, feed: PostgresEventFeed) -> None:
    """Also while others write."""
    await sql.execute(WORKFLOW, OURS)
    await sql.execute(EVENT, OURS, 1)
    other = await asyncpg.connect(dsn)
    async with other.transaction():
        await other.execute(EVENT, OURS, 2)
        before = await sql.fetch("SELECT id, txid, xmin::text FROM events")
        assert not await feed.renumber_restored()
        assert await sql.fetch("SELECT id, txid, xmin::text FROM events") == before
    await other.close()
    assert await sql.fetchval("SELECT count(*) FROM events WHERE txid > 0") == 2


async def test_restored_events_move_when_a_service_starts(sql: asyncpg.Connection, dsn: str, tmp_path: Path) -> None:
    await sql.execute(WORKFLOW, OURS)
    await sql.execute(EVENT, OURS, 1)
    await sql.execute("UPDATE events SET txid = txid + 1000000000")
    async with running_service(dsn, tmp_path) as service, asyncio.timeout(30):
        while not (await service.client.get("/api/v1/events")).json()["events"]:
            await asyncio.sleep(0.01)


SCOPES = [EVERY_TENANT, TenantScope("acme"), TenantScope()]
FILTERS = [EVERYTHING, FeedFilter(frozenset({EventType.WORKFLOW_FAILED}), WorkflowStatus.FAILED, "o")]


async def test_a_page_reads_no_more_than_it_needs(dsn: str, sql: asyncpg.Connection) -> None:
    """By an index, from the place that is asked for; whatever there is before and behind it."""
    await sql.execute(
        "INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, "
        "status, name, updated_at) SELECT gen_random_uuid(), 'someone', 'o', '{}', 1, 0, now(), 'PENDING', 'n', now() "
        "FROM generate_series(1, 2000)"
    )
    (middle,) = await sql.fetchrow("SELECT id FROM workflows ORDER BY id OFFSET 1000")
    (last_old,) = await sql.fetchrow("SELECT id FROM workflows ORDER BY id OFFSET 1500")
    for number, txid in ((0, "0"), (10, "1 + (row_number() OVER ())::bigint / 100")):
        await sql.execute(
            "INSERT INTO events (workflow_id, id, type, at, actor, data, txid) "
            f"SELECT w.id, n + {number}, 'workflow.updated', now(), '', '{{}}', {txid} "
            f"FROM workflows AS w, generate_series(1, 10) AS n WHERE {number} > 0 OR w.id <= '{last_old}'"
        )
    await sql.execute("ANALYZE")
    engine = create_api_engine(dsn, pool=1, timeout_s=10)
    async with engine.connect() as connection:
        newest = (await connection.exec_driver_sql("SELECT max(txid) FROM events")).scalar_one()
        old = [BEGINNING, FeedCursor(0, middle.int, 5), FeedCursor(0, last_old.int, 10)]
        places = [*old, FeedCursor(1, 0, 0), FeedCursor(newest // 2, middle.int, 5)]
        for scope, wanted, after in product(SCOPES, FILTERS, [*places, FeedCursor.before(newest + 1)]):
            query, parameters = page_query(scope, wanted, after, 100, 500)
            text = str(query.params(parameters).compile(dialect=DIALECT, compile_kwargs={"literal_binds": True}))
            plans = await connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}")
            whole = json.loads(plans.scalar_one())[0]["Plan"]
            read = [node for node in plan_nodes(whole) if node.get("Relation Name") == "events"]
            assert {node["Node Type"] for node in read} <= {"Index Scan", "Index Only Scan"}, (scope, wanted, after)
            # Beside them rows of workflows are looked up, one for each event.
            assert sum(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in read) < 1_200, (scope, after)
            assert all(node["Actual Loops"] == 1 for node in read)
            if after in old:
                assert not any(node.get("Rows Removed by Filter") for node in read), (scope, wanted, after)
    await engine.dispose()


async def test_the_numbers_of_the_last_events_are_those_of_the_scope(
    sql: asyncpg.Connection, feed: PostgresEventFeed
) -> None:
    await sql.execute(WORKFLOW, OURS)
    await sql.execute("UPDATE workflows SET last_event = 7")
    ids = [(await sql.fetchval("SELECT id FROM workflows")), (await sql.fetchval("SELECT gen_random_uuid()"))]
    assert await feed.last_events(EVERY_TENANT, ids) == {ids[0]: 7}
    assert await feed.last_events(EVERY_TENANT, []) == {}
