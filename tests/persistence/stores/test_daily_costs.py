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
from stepwell.persistence.stores.cost_queries import PostgresDailyCosts
from stepwell.rules.costs import ExpiredCosts
from support.database.stored_workflows import ME, OTHER, Bench, dispatched
from support.workflows.definitions import body, draw

_ROUNDS, _MODELS = 25, ("a", "b", "c", "d")


async def paid(bench: Bench, owner: UUID, model: str) -> Decision:
    """A decision of *owner* that completes a step at the price of 0.1."""
    handle, task_id = await bench.make(body(draw("a")), owner=owner), uuid4()
    sent = Sent(model, "aa", bench.clock.now())
    done = Succeeded(0, task_id, b"{}", (), Cost(0.1, "USD", "settings"))
    return bench.decide(handle, dispatched(0, task_id), Sending(0, task_id, sent), done)


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
