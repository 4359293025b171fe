"""One workflow is read by one statement, whatever its size, and by a plan that doesn't depend on when it was made."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.lifecycle.records import WorkflowParts, WorkflowRecord
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import Observer, asyncpg_connect, create_api_engine
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from stepwell.rules.large_workflow_records import FoundWorkflow
from support.database.stored_workflows import Bench
from support.workflows.definitions import body, join

ONE = "SELECT pg_backend_pid()"


class Counted:
    """A store that reads over one connection, and how many statements that took."""

    def __init__(self, dsn: str, wait_s: float) -> None:
        self.sent = self.opened = 0
        connect = asyncpg_connect(dsn, timeout_s=10, observer=Observer(self.count))

        async def opening() -> asyncpg.Connection:
            self.opened += 1
            return await connect()

        self.readers = SmallPool(opening, size=1, timeout_s=wait_s)
        self.engine = create_api_engine(dsn, pool=1, timeout_s=10, observer=Observer(self.count))
        self.store = PostgresWorkflowReader(self.engine, self.readers, self.readers)

    def count(self) -> None:
        self.sent += 1

    async def get(
        self, workflow_id: UUID, scope: TenantScope = EVERY_TENANT, *, include_steps: bool = True
    ) -> FoundWorkflow | None:
        return await self.store.find(scope, workflow_id, WorkflowParts(steps=include_steps))


@pytest.fixture
async def counted(shared_dsn: str, request: pytest.FixtureRequest) -> AsyncIterator[Counted]:
    """Reads wait for the connection for the seconds of an indirect parameter, else for longer than a test takes."""
    counted = Counted(shared_dsn, getattr(request, "param", 60))
    yield counted
    counted.readers.close()
    await counted.engine.dispose()


async def test_a_workflow_is_read_by_one_statement_with_steps_or_without(bench: Bench, counted: Counted) -> None:
    many = body(*(join(f"s{i}", *([f"s{i - 1}"] if i else [])) for i in range(100)))
    await counted.get(uuid4())  # a new connection asks what types there are
    for handle in (await bench.make(), await bench.make(many)):
        for include_steps in (True, False):
            await asyncio.sleep(0)
            counted.sent = 0
            record = await counted.get(handle.workflow_id, include_steps=include_steps)
            await asyncio.sleep(0)  # it is told of in a turn of its own
            assert counted.sent == 1
            assert isinstance(record, WorkflowRecord)
            assert record.steps is None if not include_steps else len(record.steps or ()) == record.total_steps
            assert record.summary.final_step_id == handle.run.resolved_steps[-1].step_id
    assert counted.opened == 1


@pytest.mark.parametrize("include_steps", [True, False])
async def test_a_workflow_is_found_only_in_its_scope(bench: Bench, counted: Counted, include_steps: bool) -> None:  # noqa: FBT001
    owned, free = await bench.make(tenant="t"), await bench.make(tenant=None)
    records = {
        (name, scope.tenant, scope.every)
        for name, handle in {"owned": owned, "free": free}.items()
        for scope in (EVERY_TENANT, TenantScope("t"), TenantScope("u"), TenantScope())
        if await counted.get(handle.workflow_id, scope, include_steps=include_steps) is not None
    }
    assert records == {("owned", None, True), ("owned", "t", False), ("free", None, True), ("free", None, False)}
    assert await counted.get(uuid4(), include_steps=include_steps) is None


async def test_reads_that_arrive_meanwhile_share_a_statement(bench: Bench, counted: Counted) -> None:
    handles = [await bench.make() for _ in range(34)]
    await counted.get(uuid4())
    await asyncio.sleep(0)
    counted.sent = 0
    asked = [handle.workflow_id for handle in handles] + [uuid4(), handles[0].workflow_id]
    records = await asyncio.gather(*map(counted.get, asked))
    assert [record and record.id for record in records] == [*asked[:-2], None, asked[-1]]
    assert all(len(record.steps or ()) == 2 for record in records if isinstance(record, WorkflowRecord))
    await asyncio.sleep(0)
    assert counted.sent == 5  # the first alone, then 16 each, and one that finds nothing else about the unknown one


async def test_reads_that_share_a_statement_see_only_their_own_scope(bench: Bench, counted: Counted) -> None:
    owned = (await bench.make(tenant="t")).workflow_id
    scopes = [EVERY_TENANT, TenantScope("t"), TenantScope("u"), TenantScope()]
    records = await asyncio.gather(*(counted.get(owned, scope) for scope in scopes))
    assert [record is not None for record in records] == [True, True, False, False]


async def test_an_unreadable_row_fails_only_its_own_workflow(bench: Bench, counted: Counted) -> None:
    broken, sound = (await bench.make()).workflow_id, (await bench.make()).workflow_id
    await bench.sql.execute("UPDATE steps SET definition = '{}' WHERE workflow_id = $1", broken)
    asked = [sound, broken, sound, broken]
    records = await asyncio.gather(*map(counted.get, asked), return_exceptions=True)
    assert [isinstance(one, WorkflowRecord) for one in records] == [True, False, True, False]


async def test_a_cancelled_read_takes_nothing_from_the_others(bench: Bench, counted: Counted) -> None:
    ids = [(await bench.make()).workflow_id for _ in range(3)]
    await bench.sql.execute("BEGIN; LOCK TABLE workflows")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        under_way = group.create_task(counted.get(ids[0]))
        await bench.until_blocked()
        first, second = (group.create_task(_outcome(counted, one)) for one in ids[1:])
        await asyncio.sleep(0)
        first.cancel()  # it would have read both
        await asyncio.sleep(0)
        await bench.sql.execute("ROLLBACK")
        assert await under_way is not None
        assert await second == "found"


async def _outcome(counted: Counted, workflow_id: UUID) -> str:
    try:
        return "found" if await counted.get(workflow_id) else "none"
    except Unavailable:
        return "Unavailable"


async def test_a_connection_that_was_lost_is_replaced(bench: Bench, counted: Counted) -> None:
    [row] = await counted.readers.fetch(ONE)
    await bench.sql.execute("SELECT pg_terminate_backend($1, 10000)", row[0])
    async with asyncio.timeout(30):
        while not counted.readers._idle[0].is_closed():
            await asyncio.sleep(0.01)
    [row] = await counted.readers.fetch(ONE)
    assert counted.opened == 2


async def test_after_an_error_the_connection_isn_t_used_again(counted: Counted) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await counted.readers.fetch("SELECT 1 / 0")
    await counted.readers.fetch(ONE)
    assert counted.opened == 2


@pytest.mark.parametrize("counted", [0.5], indirect=True)
async def test_a_read_that_gets_no_connection_in_time_fails(bench: Bench, counted: Counted) -> None:
    handle = await bench.make()
    await bench.sql.execute("BEGIN; LOCK TABLE workflows")
    async with asyncio.TaskGroup() as group:
        holding = group.create_task(counted.get(handle.workflow_id))
        await bench.until_blocked()
        with pytest.raises(Unavailable):
            await counted.get(handle.workflow_id)
        await bench.sql.execute("ROLLBACK")
    assert holding.result() is not None
    assert await counted.get(handle.workflow_id) is not None
