"""Whose deliveries are whose, and how they are found."""

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID, uuid4

import pytest

from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores import outbox as sql
from stepwell.persistence.stores.outbox import PostgresOutbox
from support.database.stored_workflows import ME, OTHER, Bench

GONE, LAPSED, NOBODY = uuid4(), uuid4(), None


@pytest.fixture
async def outbox(bench: Bench) -> AsyncIterator[PostgresOutbox]:
    connections = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=1, timeout_s=10)
    yield PostgresOutbox(connections)
    connections.close()


async def put(bench: Bench, owner: UUID | None, lane: str, due: str = "-1 second", number: int = 1) -> None:
    await bench.sql.execute(
        "INSERT INTO deliveries (workflow_id, event_id, type, lane, status, owner, created_at, next_at, attempts)"
        f" SELECT gen_random_uuid(), n, 'step.started', $1, 'PENDING', $2, now(), now() + '{due}'::interval, '[]'"
        " FROM generate_series(1, $3) AS n",
        lane,
        owner,
        number,
    )


async def owned(bench: Bench, owner: UUID) -> dict[str, int]:
    rows = await bench.sql.fetch("SELECT lane, count(*) FROM deliveries WHERE owner = $1 GROUP BY 1 ORDER BY 1", owner)
    return {row[0]: row[1] for row in rows}


async def lease(bench: Bench, owner: UUID, until: str) -> None:
    await bench.sql.execute(f"INSERT INTO processes VALUES ($1, now() + '{until}'::interval)", owner)


async def test_deliveries_of_a_dead_process_are_taken_over(bench: Bench, outbox: PostgresOutbox) -> None:
    await lease(bench, OTHER, "1 hour")
    await lease(bench, LAPSED, "-1 second")
    for owner, name in ((ME, "mine"), (OTHER, "other"), (GONE, "gone"), (LAPSED, "lapsed"), (NOBODY, "nobody")):
        await put(bench, owner, f"{name}-due")
        await put(bench, owner, f"{name}-later", "1 hour")
    await put(bench, GONE, "many", number=2_100)
    at = await outbox.take_over(ME)
    mine = ["gone-due", "gone-later", "lapsed-due", "many", "mine-due", "mine-later", "nobody-due", "nobody-later"]
    assert list(await owned(bench, ME)) == sorted(at) == mine
    assert (await owned(bench, ME))["many"] == 2_100
    assert await owned(bench, OTHER) == {"other-due": 1, "other-later": 1}
    assert await owned(bench, LAPSED) == {"lapsed-later": 1}
    assert all(isinstance(moment, datetime) for moment in at.values())


async def test_all_deliveries_are_taken_over_if_all_others_are_declared_dead(
    bench: Bench, outbox: PostgresOutbox
) -> None:
    await lease(bench, LAPSED, "1 hour")
    await put(bench, LAPSED, "later", "1 hour")
    await bench.leases.expire_others(ME)
    assert list(await outbox.take_over(ME)) == ["later"]


@pytest.mark.parametrize("owner", [GONE, NOBODY])
async def test_a_delivery_without_an_owner_makes_the_next_expiry_zero(bench: Bench, owner: UUID | None) -> None:
    await put(bench, ME, "mine", "1 hour")
    assert await bench.leases.next_expiry(ME) is None
    await put(bench, owner, "later", "1 hour")
    assert await bench.leases.next_expiry(ME) == 0


@pytest.mark.parametrize("name", ["DUE", "FREEZE", "FROZEN", "CHANGE_LANE", "RECORD", "LANES"])
async def test_deliveries_are_found_by_indexes(bench: Bench, name: str) -> None:
    connection = await asyncpg_connect(bench.dsn, timeout_s=10)()
    await connection.execute(f"PREPARE explained AS {getattr(sql, name)}")
    (count,) = await connection.fetchrow(
        "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'"
    )
    plan = await connection.fetch(f"EXPLAIN EXECUTE explained ({', '.join(['NULL'] * count)})")
    await connection.close()
    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text
    assert "deliveries_due" in text if name in ("DUE", "LANES") else "deliveries_pkey" in text


async def test_the_backlog_counts_the_owners_unsent_deliveries_and_has_their_oldest_event(
    bench: Bench, outbox: PostgresOutbox
) -> None:
    assert await outbox.backlog(ME) == (0, None)
    await put(bench, ME, "due", number=2)
    await put(bench, ME, "later", "1 hour")
    await put(bench, OTHER, "other")
    await bench.sql.execute("UPDATE deliveries SET created_at = now() - interval '1 day' WHERE lane = 'later'")
    await put(bench, ME, "done")
    await bench.sql.execute(
        "UPDATE deliveries SET next_at = NULL, created_at = now() - interval '1 year' WHERE lane = 'done'"
    )
    oldest = await bench.sql.fetchval("SELECT created_at FROM deliveries WHERE lane = 'later'")
    assert await outbox.backlog(ME) == (3, oldest)


async def test_an_event_of_another_version_is_due_without_its_content(bench: Bench, outbox: PostgresOutbox) -> None:
    workflow_id = (await bench.make(webhook_url="http://hooks.example/")).workflow_id
    await put(bench, ME, "lane", "-1 second")
    await bench.sql.execute("UPDATE deliveries SET workflow_id = $1", workflow_id)
    await bench.sql.execute("UPDATE events SET type = 'of another version' WHERE id = 1")
    (due,) = await outbox.due(ME, ["lane"], 10)
    assert (due.workflow_id, due.event_id, due.event) == (workflow_id, 1, None)
    assert "of another version" in str(due.unreadable)
