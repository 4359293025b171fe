"""Concurrent inserts share one statement, and each caller gets the outcome of its own workflow alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import pytest

from stepwell.basics.errors import Unavailable
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.database import Observer, asyncpg_connect
from stepwell.persistence.stores.batched_inserts import MAX_CONNECTIONS, MAX_SIZE, MAX_STEPS, WorkflowInserter
from support.database.stored_workflows import CHAIN, ME, Bench
from support.providers.scripted import eventually

BUSY = MAX_CONNECTIONS


class Many:
    """Inserts on a bench, and how many statements they took. *max_weight* are the limits of a statement."""

    def __init__(self, bench: Bench, max_weight: tuple[int, int] = (MAX_STEPS, MAX_SIZE)) -> None:
        self.bench, self.statements = bench, 0
        connect = asyncpg_connect(bench.dsn, timeout_s=10, observer=Observer(self._count))
        self.inserter = WorkflowInserter(connect, timeout_s=10, max_weight=max_weight)

    def _count(self) -> None:
        self.statements += 1

    def draft(self) -> NewWorkflow:
        return self.bench.draft(CHAIN, "t", ME)[1]

    def insert(self, *batch: NewWorkflow) -> list["asyncio.Future[None]"]:
        return [asyncio.ensure_future(self.inserter.insert(new)) for new in batch]

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Within, all connections are at work at a locked table."""
        await self.bench.sql.execute("BEGIN; LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE")
        others = []
        for number in range(1, BUSY + 1):
            others += self.insert(self.draft())
            await eventually(lambda number=number: self.statements == number)  # type: ignore[misc]
        yield
        await self.bench.sql.execute("ROLLBACK")
        await asyncio.gather(*others)

    async def stored(self, *batch: NewWorkflow) -> list[bool]:
        ids: set[UUID] = {row["id"] for row in await self.bench.sql.fetch("SELECT id FROM workflows")}
        return [new.record.state.id in ids for new in batch]


@pytest.fixture
async def many(bench: Bench) -> AsyncIterator[Many]:
    many = Many(bench)
    yield many
    many.inserter.close()


def broken(new: NewWorkflow) -> NewWorkflow:
    return NewWorkflow(new.record, new.final_position, 0, (*new.events, new.events[0]))


async def test_inserts_that_arrive_while_others_run_share_one_statement(many: Many) -> None:
    batch = [many.draft() for _ in range(20)]
    async with many.busy():
        inserts = many.insert(*batch)
    assert await asyncio.gather(*inserts) == [None] * 20
    assert many.statements == BUSY + 1
    assert await many.stored(*batch) == [True] * 20
    rows = await many.bench.rows()
    assert [len(rows[table]) for table in ("workflows", "steps", "events")] == [n * (BUSY + 20) for n in (1, 2, 2)]


async def test_no_statement_has_more_steps_than_others_may_wait_for(bench: Bench) -> None:
    many = Many(bench, (6, MAX_SIZE))
    async with many.busy():
        inserts = many.insert(*[many.draft() for _ in range(7)])
    await asyncio.gather(*inserts)
    assert many.statements == BUSY + 3
    many.inserter.close()


async def test_no_insert_waits_for_a_long_one_in_its_statement(bench: Bench) -> None:
    many = Many(bench, (MAX_STEPS, 5_000))
    long = many.draft()
    long.record.config = {"text": "x" * 10_000}
    async with many.busy():
        inserts = many.insert(many.draft(), long, many.draft(), many.draft())
    await asyncio.gather(*inserts)
    assert many.statements == BUSY + 3
    many.inserter.close()


async def test_a_refused_insert_fails_alone(many: Many) -> None:
    batch = [many.draft(), broken(many.draft()), many.draft()]
    async with many.busy():
        inserts = many.insert(*batch)
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert [type(each) for each in outcomes] == [type(None), asyncpg.UniqueViolationError, type(None)]
    assert await many.stored(*batch) == [True, False, True]


@pytest.mark.parametrize("leaving", [0, 1])
async def test_a_cancelled_insert_takes_nothing_from_the_others(many: Many, leaving: int) -> None:
    """Not even the first of them, which was to write for all."""
    batch = [many.draft() for _ in range(3)]
    async with many.busy():
        inserts = many.insert(*batch)
        await asyncio.sleep(0)  # until they wait for a connection
        inserts[leaving].cancel()
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    expected: list[type] = [type(None)] * 3
    expected[leaving] = asyncio.CancelledError
    assert [type(each) for each in outcomes] == expected
    assert await many.stored(*batch) == [number != leaving for number in range(3)]


async def test_if_the_writing_insert_is_cancelled_the_others_learn_that_nobody_knows(many: Many) -> None:
    batch = [many.draft() for _ in range(3)]
    await many.bench.sql.execute("BEGIN; LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE")
    inserts = many.insert(*batch)  # the first opens a connection, so all three are in its batch
    await many.bench.until_blocked()
    inserts[0].cancel()
    outcomes = await asyncio.gather(*inserts, return_exceptions=True)
    assert [type(each) for each in outcomes] == [asyncio.CancelledError, Unavailable, Unavailable]
    await many.bench.sql.execute("ROLLBACK")
    again = many.insert(many.draft())
    assert await asyncio.gather(*again) == [None]
