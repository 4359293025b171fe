"""The statements of the idempotency keys: several processes at once, and rows that have become old."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest

from stepwell.basics.errors import StillRunning
from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.records import NewWorkflow
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect
from stepwell.persistence.stores.idempotency_keys import PostgresIdempotencyKeys
from support.database.stored_workflows import CHAIN, ME, OTHER, Bench

T = TenantScope("t")
FIRST, SECOND = UUID(int=11), UUID(int=12)
MAKE_OLDER = "UPDATE idempotency_keys SET created_at = created_at - $1::text::interval"


@pytest.fixture
async def connections(bench: Bench) -> AsyncIterator[SmallPool]:
    for owner in (ME, OTHER):
        await bench.lease(owner, 3600)
    connections = SmallPool(asyncpg_connect(bench.dsn, timeout_s=10), size=2, timeout_s=10)
    yield connections
    connections.close()


@pytest.fixture
def here(connections: SmallPool) -> PostgresIdempotencyKeys:
    return PostgresIdempotencyKeys(connections, ME)


@pytest.fixture
def there(connections: SmallPool) -> PostgresIdempotencyKeys:
    return PostgresIdempotencyKeys(connections, OTHER)


async def test_of_two_processes_that_claim_a_key_at_once_one_gets_it(
    here: PostgresIdempotencyKeys, there: PostgresIdempotencyKeys
) -> None:
    for number in range(50):
        pair = await asyncio.gather(
            here.claim(T, f"k{number}", FIRST, b"f"), there.claim(T, f"k{number}", SECOND, b"f")
        )
        assert sorted((each.mine, each.elsewhere) for each in pair) == [(False, True), (True, False)]
        assert pair[0].claim == pair[1].claim


async def test_the_key_of_a_request_that_takes_five_minutes_is_taken_over(
    here: PostgresIdempotencyKeys, there: PostgresIdempotencyKeys, bench: Bench
) -> None:
    await here.claim(T, "k", FIRST, b"f")
    await bench.sql.execute(MAKE_OLDER, "299 seconds")
    assert (await there.claim(T, "k", SECOND, b"f")).elsewhere
    await bench.sql.execute(MAKE_OLDER, "2 seconds")
    assert (await there.claim(T, "k", SECOND, b"f")).mine


async def test_the_two_days_of_a_key_begin_anew_when_it_is_taken_over(
    here: PostgresIdempotencyKeys, bench: Bench
) -> None:
    await here.claim(T, "k", FIRST, b"f")
    await bench.sql.execute(MAKE_OLDER, "47 hours")
    assert (await here.claim(T, "k", SECOND, b"f")).mine
    await bench.sql.execute(MAKE_OLDER, "47 hours")
    state = await here.claim(T, "k", FIRST, b"another")
    assert (state.mine, state.fingerprint) == (False, b"f")


async def test_expired_keys_are_deleted_with_the_next_claim(here: PostgresIdempotencyKeys, bench: Bench) -> None:
    await here.claim(T, "old", FIRST, b"f")
    await bench.sql.execute(MAKE_OLDER, "49 hours")
    assert (await here.claim(T, "new", SECOND, b"f")).mine
    assert [row["key"] for row in await bench.sql.fetch("SELECT key FROM idempotency_keys")] == ["new"]


async def test_a_create_whose_key_was_taken_over_leaves_no_row(here: PostgresIdempotencyKeys, bench: Bench) -> None:
    key_claim = (await here.claim(T, "k", FIRST, b"f")).claim
    await here.claim(T, "k", SECOND, b"f")
    _, new = bench.draft(CHAIN, "t", ME)
    with pytest.raises(StillRunning):
        await bench.workflow_store.insert(T, NewWorkflow(new.record, new.final_position, 0, new.events, key_claim))
    assert not any((await bench.rows()).values())
