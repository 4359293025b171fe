"""What the database in memory does as its clock goes on, and in an outage. The contract suite covers the rest."""

from uuid import UUID

import pytest

from stepwell.basics.errors import Unavailable
from stepwell.basics.tenancy import TenantScope
from stepwell.testing import ManualClock, MemoryDatabase

ME, OTHER = UUID(int=1), UUID(int=2)
FIRST, SECOND = UUID(int=11), UUID(int=12)
T = TenantScope("t")
DAY_S = 86_400


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(clock: ManualClock) -> MemoryDatabase:
    return MemoryDatabase(clock)


async def test_a_key_is_free_again_after_48_hours(database: MemoryDatabase, clock: ManualClock) -> None:
    keys = database.connect(ME).keys
    await keys.claim(T, "k", FIRST, b"one")
    clock.advance(2 * DAY_S - 1)
    assert not (await keys.claim(T, "k", SECOND, b"two")).mine
    clock.advance(2)
    assert (await keys.claim(T, "k", SECOND, b"two")).mine


async def test_a_live_process_may_be_at_work_on_a_key_for_five_minutes(
    database: MemoryDatabase, clock: ManualClock
) -> None:
    here, there = database.connect(ME), database.connect(OTHER)
    await here.leases.renew(ME, DAY_S)
    await here.keys.claim(T, "k", FIRST, b"one")
    clock.advance(299)
    assert (await there.keys.claim(T, "k", SECOND, b"one")).elsewhere
    clock.advance(2)
    assert (await there.keys.claim(T, "k", SECOND, b"one")).mine


async def test_a_lease_ends_with_its_time(database: MemoryDatabase, clock: ManualClock) -> None:
    leases = database.connect(ME).leases
    await leases.renew(OTHER, 6)
    clock.advance(4)
    assert await leases.next_expiry(ME) == pytest.approx(2, abs=0.001)
    clock.advance(3)
    assert await leases.next_expiry(ME) is None, "it has left nothing"


async def test_in_an_outage_every_call_is_refused_and_listeners_are_disconnected(database: MemoryDatabase) -> None:
    here = database.connect(ME)
    async with here.notifications.listen(lambda _: None) as subscription:
        database.available = False
        await subscription.until_disconnected()
    with pytest.raises(Unavailable):
        await here.reader.ping()
    with pytest.raises(Unavailable):
        async with here.presence.watch(lambda: None):
            pass
    database.available = True
    await here.reader.ping()
