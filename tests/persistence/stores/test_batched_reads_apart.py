"""What is wrong with one workflow fails nobody's read but its own, though many are asked for by one statement."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from stepwell.runtime.batching import MAX_TIMEOUTS_IN_A_ROW
from support.database.stored_workflows import Bench

ENDLESS, BY_THE_SERVER = "SELECT pg_sleep(600)", "SET statement_timeout = 50; SELECT pg_sleep(600)"
WRONG, FATAL = "SELECT 1 / 0", "SELECT pg_terminate_backend(pg_backend_pid())"


class Faulty:
    """A store over one connection; a statement that asks for one of *ids* is *instead* in truth."""

    def __init__(self, dsn: str) -> None:
        self.ids, self.instead, self.asked = set[UUID](), ENDLESS, list[list[UUID]]()
        connect = asyncpg_connect(dsn, timeout_s=10)

        async def opening() -> "Connection":
            return Connection(await connect(), self)

        self.readers = SmallPool(opening, size=1, timeout_s=5)
        self.engine = create_api_engine(dsn, pool=1, timeout_s=10)
        self.store = PostgresWorkflowReader(self.engine, self.readers, self.readers)

    async def outcomes_of(self, *ids: UUID) -> list[str]:
        """What each is told who asks for one of *ids* while another is read."""
        await self.warm()
        one, *found = await asyncio.gather(*map(self.outcome_of, (uuid4(), *ids)))
        assert one == "none"
        return found

    async def warm(self) -> None:
        """With a connection at hand whoever asks first asks alone."""
        await self.outcome_of(uuid4())
        self.asked.clear()

    async def outcome_of(self, workflow_id: UUID) -> str:
        try:
            found = await self.store.get(EVERY_TENANT, workflow_id)
        except (Unavailable, asyncpg.PostgresError) as error:
            return type(error).__name__
        return "none" if found is None else "found"


class Connection:
    def __init__(self, real: asyncpg.Connection, faulty: Faulty) -> None:
        self._real, self._faulty = real, faulty
        self.is_closed, self.terminate = real.is_closed, real.terminate

    async def fetch(self, statement: str, *values: Any) -> object:
        [ids] = [value for value in values if isinstance(value, list)]
        self._faulty.asked.append(ids)
        if self._faulty.ids.isdisjoint(ids):
            return await self._real.fetch(statement, *values)
        timeout = 0.1 if self._faulty.instead == ENDLESS else 5
        return await self._real.execute(self._faulty.instead, timeout=timeout)


@pytest.fixture
async def faulty(shared_dsn: str) -> AsyncIterator[Faulty]:
    faulty = Faulty(shared_dsn)
    yield faulty
    faulty.readers.close()
    await faulty.engine.dispose()


@pytest.mark.parametrize(
    ("instead", "error"), [(ENDLESS, "Unavailable"), (BY_THE_SERVER, "Unavailable"), (WRONG, "DivisionByZeroError")]
)
async def test_a_read_that_fails_by_itself_fails_alone(bench: Bench, faulty: Faulty, instead: str, error: str) -> None:
    ids = [(await bench.make()).workflow_id for _ in range(4)]
    faulty.ids, faulty.instead = {ids[1]}, instead
    async with asyncio.timeout(30):
        assert await faulty.outcomes_of(*ids, ids[1], ids[0]) == ["found", error, "found", "found", error, "found"]
    assert faulty.asked[1:] == [ids, *([one] for one in ids)]


async def test_a_read_that_is_alone_in_its_statement_is_not_repeated(bench: Bench, faulty: Faulty) -> None:
    workflow_id = (await bench.make()).workflow_id
    faulty.ids, faulty.instead = {workflow_id}, WRONG
    assert await faulty.outcomes_of(workflow_id, workflow_id) == ["DivisionByZeroError"] * 2
    assert len(faulty.asked) == 2


async def test_after_a_lost_connection_no_read_is_repeated(bench: Bench, faulty: Faulty) -> None:
    ids = [(await bench.make()).workflow_id for _ in range(3)]
    faulty.ids, faulty.instead = {ids[1]}, FATAL
    assert await faulty.outcomes_of(*ids) == ["Unavailable"] * 3
    assert faulty.asked[1:] == [ids]


async def test_after_three_time_outs_the_other_reads_fail_at_once(bench: Bench, faulty: Faulty) -> None:
    ids = [(await bench.make()).workflow_id for _ in range(10)]
    faulty.ids = set(ids)
    assert await faulty.outcomes_of(*ids) == ["Unavailable"] * 10
    assert len(faulty.asked[2:]) == MAX_TIMEOUTS_IN_A_ROW


async def test_if_the_reader_of_a_split_batch_is_cancelled_the_others_get_an_outcome(
    bench: Bench, faulty: Faulty
) -> None:
    ids = [(await bench.make()).workflow_id for _ in range(3)]
    faulty.ids = {ids[1]}
    await faulty.warm()
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(faulty.outcome_of(uuid4()))
        asking = [group.create_task(faulty.outcome_of(one)) for one in ids]
        while len(faulty.asked) < 4:
            await asyncio.sleep(0.001)
        asking[0].cancel()
    assert asking[0].cancelled()
    assert [one.result() for one in asking[1:]] == ["Unavailable"] * 2
