"""Commands in PostgreSQL, beside other statements on a second connection: what commits first decides."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.basics.idempotency import KeyClaim
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Pause
from stepwell.lifecycle.peer_commands import Command, CommandMark, CommandRequest, CommandWithdrawn, VerbApplied
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.stores.idempotency_keys import PostgresIdempotencyKeys
from stepwell.persistence.stores.peer_commands import PostgresCommands
from support.database.stored_workflows import ME, OTHER, Bench

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
APPLIED = VerbApplied(changed=True)
CHANGES = {
    "withdrawn": """UPDATE commands SET outcome = '{"type": "withdrawn"}'""",
    "key released": "DELETE FROM idempotency_keys",
    "key taken over": "UPDATE idempotency_keys SET token = gen_random_uuid()",
}


class Race:
    """The command of OTHER, with a key, to pause a workflow that ME runs; and a second connection."""

    def __init__(self, bench: Bench, pool: SmallPool, second: asyncpg.Connection) -> None:
        self.bench, self.second = bench, second
        self.commands, self.keys = PostgresCommands(pool), PostgresIdempotencyKeys(pool, OTHER)
        self.handle: ActiveWorkflow
        self.command: Command

    async def start(self) -> None:
        for owner in (ME, OTHER):
            await self.bench.leases.renew(owner, 60)
        self.handle = await self.bench.make()
        state = await self.keys.claim(EVERY_TENANT, "k", UUID(int=1), b"f")
        request = CommandRequest(Pause("alice"), EVERY_TENANT)
        self.command = Command(uuid4(), self.handle.workflow_id, request, state.claim)
        assert await self.commands.send(EVERY_TENANT, OTHER, self.command)

    @property
    def claim(self) -> KeyClaim:
        assert self.command.claim is not None
        return self.command.claim

    async def carry_out(self) -> bool:
        """Write the effect of the command. Return whether it was written."""
        decision = self.bench.decide(self.handle, Pause("alice"))
        decision.commands = (CommandMark(self.command.id, APPLIED),)
        decision.key_claims.append(self.claim)
        return await self.bench.workflow_store.write([decision]) == set()

    async def status(self) -> WorkflowStatus:
        loaded = await self.bench.workflow_store.load(EVERY_TENANT, self.handle.workflow_id)
        assert loaded is not None
        return loaded.state.status

    async def until_blocked(self) -> None:
        async with asyncio.timeout(30):
            while not await self.bench.sql.fetchval(WAITING):
                await asyncio.sleep(0.01)


@pytest.fixture
async def race(bench: Bench) -> AsyncIterator[Race]:
    pool = SmallPool(lambda: asyncpg.connect(bench.dsn), size=3, timeout_s=10)
    second = await asyncpg.connect(bench.dsn)
    race = Race(bench, pool, second)
    await race.start()
    yield race
    await second.close()
    pool.close()


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("change", CHANGES)
async def test_an_effect_waits_for_a_withdrawal_or_a_release_of_its_key(
    race: Race, change: str, *, commits: bool
) -> None:
    transaction = race.second.transaction()
    await transaction.start()
    await race.second.execute(CHANGES[change])
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        writing = group.create_task(race.carry_out())
        await race.until_blocked()
        await (transaction.commit() if commits else transaction.rollback())
    assert writing.result() is not commits
    assert await race.status() is (WorkflowStatus.RUNNING if commits else WorkflowStatus.PAUSED)


async def withdraw(race: Race) -> None:
    assert await race.commands.withdraw(OTHER, race.command.id) == APPLIED


async def release(race: Race) -> None:
    await race.keys.release([race.claim])
    repeated = await race.keys.claim(EVERY_TENANT, "k", UUID(int=2), b"f")
    assert (repeated.mine, repeated.applied_to) == (False, race.handle.workflow_id)


@pytest.mark.parametrize("late", [withdraw, release])
async def test_a_withdrawal_or_a_release_during_the_effect_waits_and_finds_it(
    race: Race, late: Callable[[Race], Coroutine[Any, Any, None]]
) -> None:
    transaction = race.second.transaction()
    await transaction.start()
    await race.second.execute("SELECT FROM workflows FOR UPDATE")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        writing = group.create_task(race.carry_out())
        await race.until_blocked()
        coming = group.create_task(late(race))
        while await race.bench.sql.fetchval(WAITING) < 2:
            assert not coming.done()
            await asyncio.sleep(0.01)
        await transaction.rollback()
    assert writing.result()


async def test_a_withdrawal_is_the_same_however_often_it_is_sent(race: Race) -> None:
    outcomes = await asyncio.gather(*(race.commands.withdraw(OTHER, race.command.id) for _ in range(5)))
    assert outcomes == [CommandWithdrawn()] * 5
    assert not await race.carry_out()


async def test_a_command_that_nobody_withdrew_is_neither_carried_out_later_nor_kept(race: Race) -> None:
    await race.bench.sql.execute("UPDATE commands SET created_at = created_at - interval '6 min'")
    assert await race.commands.waiting(ME, (), 10) == []
    another = Command(uuid4(), race.handle.workflow_id, race.command.request)
    assert await race.commands.send(EVERY_TENANT, OTHER, another)
    assert [row["id"] for row in await race.bench.sql.fetch("SELECT id FROM commands")] == [another.id]
