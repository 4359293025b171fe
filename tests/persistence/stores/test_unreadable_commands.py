"""Commands of another version: they are refused at once, and those that can be read are carried out."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
from structlog.testing import capture_logs

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.lifecycle.inputs import Pause
from stepwell.lifecycle.peer_commands import Command, CommandRequest, VerbRefused, error_of
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.peer_commands import PostgresCommands
from support.database.stored_workflows import ME, OTHER, THIRD, Bench

PAGE = 3
LATER_VERSION = """UPDATE commands SET request = '{"verb": {"type": "of a later version"}, "scope": {"every": true}}'"""


@pytest.fixture
async def commands(bench: Bench) -> AsyncIterator[PostgresCommands]:
    pool = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=3, timeout_s=10)
    yield PostgresCommands(pool)
    pool.close()


async def send(bench: Bench, commands: PostgresCommands, number: int) -> list[UUID]:
    """Send commands about a workflow that ME runs, and return their ids."""
    for owner in (ME, OTHER):
        await bench.leases.renew(owner, 60)
    workflow_id, ids = (await bench.make()).workflow_id, [uuid4() for _ in range(number)]
    for each in ids:
        command = Command(each, workflow_id, CommandRequest(Pause("alice"), EVERY_TENANT))
        assert await commands.send(EVERY_TENANT, OTHER, command)
    return ids


async def test_unreadable_commands_are_refused_once_and_hide_no_readable_ones(
    bench: Bench, commands: PostgresCommands
) -> None:
    unreadable = await send(bench, commands, 2 * PAGE + 1)
    await bench.sql.execute(LATER_VERSION)
    readable = await send(bench, commands, PAGE)
    with capture_logs() as logs:
        for _ in range(2):
            assert [each.id for each in await commands.waiting(ME, (), PAGE)] == readable
    assert [each["command_id"] for each in logs] == [str(each) for each in unreadable]
    for each in unreadable:
        outcome = (await commands.poll(OTHER, each)).outcome
        assert isinstance(outcome, VerbRefused)
        error = error_of(outcome)
        assert isinstance(error, Unavailable)
        assert error.retry_after_s > 0


async def test_a_process_refuses_no_command_of_a_workflow_that_another_one_has_taken_over(
    bench: Bench, commands: PostgresCommands
) -> None:
    [command] = await send(bench, commands, 1)
    await bench.sql.execute(LATER_VERSION)
    await bench.leases.renew(THIRD, 60)
    await bench.sql.execute("UPDATE workflows SET owner = $1", THIRD)
    assert await commands.waiting(ME, (), PAGE) == []
    assert (await commands.poll(OTHER, command)).outcome is None
