"""Sums of costs that several writers change at the same time, and those of the migration."""

import asyncio
from datetime import date
from decimal import Decimal
from uuid import UUID, uuid4

import asyncpg

from stepwell.contract.tasks import Cost
from stepwell.lifecycle.decision import Decision
from stepwell.lifecycle.inputs import Sending, Succeeded
from stepwell.lifecycle.model import Sent
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.schema.migrations import migrate
from stepwell.persistence.stores.cost_queries import PostgresDailyCosts
from stepwell.rules.daily_costs import ExpiredCosts
from support.database.old_versions import migrate_to
from support.database.postgres import TestServer, database
from support.database.stored_workflows import ME, OTHER, Bench, admitted
from support.workflows.definitions import body, draw

_ROUNDS, _MODELS = 25, ("a", "b", "c", "d")


async def paid(bench: Bench, owner: UUID, model: str) -> Decision:
    """A decision of *owner* that completes a step at the price of 0.1."""
    handle, task_id = await bench.make(body(draw("a")), owner=owner), uuid4()
    sent = Sent(model, "aa", bench.clock.now())
    done = Succeeded(0, task_id, b"{}", (), Cost(0.1, "USD", "settings"))
    return bench.decide(handle, admitted(0, task_id), Sending(0, task_id, sent), done)


async def test_two_writers_that_change_the_same_sums_in_opposite_orders_lose_nothing_and_never_deadlock(
    bench: Bench,
) -> None:
    batches = [
        [await paid(bench, owner, model) for model in order]
        for _ in range(_ROUNDS)
        for owner, order in ((ME, _MODELS), (OTHER, _MODELS[::-1]))
    ]

    async def write(mine: list[list[Decision]]) -> None:
        for batch in mine:
            assert await bench.workflow_store.write(batch) == set()

    async with asyncio.TaskGroup() as group:
        group.create_task(write(batches[::2]))
        group.create_task(write(batches[1::2]))
    rows = await bench.sql.fetch("SELECT model, amount, attempts FROM daily_costs ORDER BY model")
    assert [tuple(row) for row in rows] == [(model, Decimal("0.1") * 2 * _ROUNDS, 2 * _ROUNDS) for model in _MODELS]


async def test_a_sum_that_another_transaction_changes_is_left_and_nobody_waits(bench: Bench) -> None:
    await bench.workflow_store.write([await paid(bench, ME, model) for model in ("a", "b")])
    pool = SmallPool(lambda: asyncpg.connect(bench.dsn), size=1, timeout_s=10)
    costs, due = PostgresDailyCosts(pool), date(9999, 1, 1)
    async with bench.sql.transaction():
        await bench.sql.execute("UPDATE daily_costs SET attempts = attempts + 1 WHERE model = 'a'")
        assert await asyncio.wait_for(costs.expire(due, 10), 60) == ExpiredCosts(1, None)
    assert await bench.sql.fetchval("SELECT array_agg(model) FROM daily_costs") == ["a"]
    assert await costs.expire(due, 10) == ExpiredCosts(1, None)
    pool.close()


async def test_the_migration_sums_the_costs_of_stored_attempts(server: TestServer) -> None:
    async with database(server) as dsn:
        await migrate_to(dsn, "0013")
        sql = await asyncpg.connect(dsn)
        await sql.execute(
            """
            INSERT INTO workflows (id, tenant, origin_instance, config, total_steps, final_position, created_at, status,
                                   name, updated_at)
            SELECT gen_random_uuid(), tenant, 'i', '{}', 1, 0, now(), 'COMPLETED', 'n', now()
            FROM unnest(ARRAY['t', NULL]) AS tenant
            """
        )
        await sql.execute(
            """
            INSERT INTO tasks (id, workflow_id, position, attempt, provider, started_at, completed_at, status, phase,
                               outputs, sent, cost)
            SELECT gen_random_uuid(), w.id, 0, n, 'FAL', '2026-01-01T20:00:00-05', '2026-01-02T20:00:00-05',
                   'COMPLETED', 'STORED', '[]', '{"model": "flux", "digest": "aa", "at": "2026-01-01T00:00:00Z"}',
                   CASE WHEN n > 1 THEN '{"amount": 0.1, "currency": "USD", "source": "settings"}'::json END
            FROM workflows AS w, generate_series(1, 4) AS n
            """
        )
        await migrate(dsn)
        rows = [tuple(row) for row in await sql.fetch("SELECT * FROM daily_costs ORDER BY tenant")]
        await sql.close()
    day = date(2026, 1, 3)
    assert rows == [(tenant, day, "FAL", "flux", "USD", Decimal("0.3"), 3) for tenant in ("", "t")]
