"""Who may take over what: leases, claims, and when the next claim may find something."""

import asyncio
from uuid import UUID, uuid4

import pytest

from stepwell.domain.lifecycle.inputs import Cancel, Pause
from stepwell.domain.tenancy import EVERY_TENANT
from support.database.stored_workflows import ME, OTHER, THIRD, Stored, admitted, renamed


@pytest.mark.parametrize(
    ("lease", "claimed", "crashes"),
    [("60 s", False, 0), ("endless", False, 0), ("over", True, 1), ("released", True, 0), ("never", True, 0)],
)
async def test_a_claim_takes_what_has_no_live_process(
    stored: Stored,
    lease: str,
    claimed: bool,  # noqa: FBT001
    crashes: int,
) -> None:
    handle = await stored.make(owner=OTHER)
    await stored.write(handle, admitted())
    await stored.make(owner=None)
    seconds = {"60 s": 60.0, "endless": None, "over": -1.0, "released": 60.0}
    if lease in seconds:
        await stored.leases.renew(OTHER, seconds[lease])
    if lease == "released":
        await stored.leases.release(OTHER)
    found = [(one.state.id, one.state.owner, one.state.epoch, one.state.crashes) for one in await stored.claim()]
    epoch = handle.run.state.epoch + 1
    assert found == ([(handle.workflow_id, ME, epoch, crashes)] if claimed else [])


async def test_a_claim_changes_neither_the_history_nor_the_version_of_the_state(stored: Stored) -> None:
    handle = await stored.make(owner=OTHER)
    (claimed,) = await stored.claim()
    assert claimed.state.last_event == handle.run.state.last_event
    assert claimed.state.updated_at == handle.run.state.updated_at


async def test_a_claim_leaves_out_what_the_caller_holds(stored: Stored) -> None:
    held, other = await stored.make(owner=OTHER), await stored.make(owner=OTHER)
    assert [one.state.id for one in await stored.claim(ME, (held,))] == [other.workflow_id]


async def test_a_claim_of_one_takes_only_that_one(stored: Stored) -> None:
    wanted, other = await stored.make(owner=OTHER), await stored.make(owner=OTHER)
    found = await stored.workflow_store.claim(ME, [], stored.clock.now(), 1, wanted.workflow_id)
    assert [one.state.id for one in found] == [wanted.workflow_id]
    assert [one.state.id for one in await stored.claim(THIRD, (wanted,))] == [other.workflow_id]


async def test_ones_own_are_claimed_only_where_they_are_unknown_and_older_than_the_claim(stored: Stored) -> None:
    held, unknown, newer = await stored.make(), await stored.make(), await stored.make()
    await stored.leases.renew(ME, 60)
    now = stored.clock.now()
    await stored.write(newer, renamed())
    found = await stored.workflow_store.claim(ME, [held.workflow_id], now, 100)
    assert [(one.state.id, one.state.crashes) for one in found] == [(unknown.workflow_id, 0)]


async def test_what_needs_no_process_is_not_claimed(stored: Stored) -> None:
    running, paused, idle, cancelled = [await stored.make() for _ in range(4)]
    await stored.write(paused, admitted(), Pause("alice"))
    await stored.write(idle, Pause("alice"))
    await stored.write(cancelled, Cancel("alice"))
    await stored.make(owner=None)
    assert {one.state.id for one in await stored.claim(OTHER)} == {running.workflow_id, paused.workflow_id}


async def test_a_crash_counts_only_where_an_attempt_was_under_way(stored: Stored) -> None:
    guilty, waiting = await stored.make(owner=OTHER), await stored.make(owner=OTHER)
    await stored.write(guilty, admitted())
    await stored.leases.renew(OTHER, -1)
    crashes = {one.state.id: one.state.crashes for one in await stored.claim()}
    assert crashes == {guilty.workflow_id: 1, waiting.workflow_id: 0}


async def test_a_claim_comes_in_pages_by_id(stored: Stored) -> None:
    made = [await stored.make(owner=OTHER) for _ in range(7)]
    pages: list[list[UUID]] = []
    while not pages or pages[-1]:
        taken = [one for page in pages for one in page]
        held = tuple(handle for handle in made if handle.workflow_id in taken)
        pages.append([one.state.id for one in await stored.claim(ME, held, limit=3)])
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [one for page in pages for one in page] == sorted(handle.workflow_id for handle in made)


async def test_two_processes_that_claim_at_once_never_both_have_one(stored: Stored) -> None:
    made = [await stored.make(owner=OTHER) for _ in range(20)]
    for owner in (ME, THIRD):
        await stored.leases.renew(owner, 60)
    both = await asyncio.gather(stored.claim(ME), stored.claim(THIRD))
    assert sorted(one.state.id for found in both for one in found) == sorted(handle.workflow_id for handle in made)


async def expiry(stored: Stored, owner: UUID = ME) -> float | None:
    return await stored.leases.next_expiry(owner)


async def test_the_next_expiry_is_none_where_nobody_else_is_known(stored: Stored) -> None:
    await stored.make()
    await stored.leases.renew(ME, 60)
    assert await expiry(stored) is None


async def test_the_next_expiry_is_now_where_a_workflow_is_left(stored: Stored) -> None:
    await stored.make(owner=OTHER)
    assert await expiry(stored) == 0, "its process ended in order"
    await stored.leases.renew(OTHER, -1)
    assert await expiry(stored) == 0, "its process's lease is over"
    assert await expiry(stored, OTHER) is None, "it is its own"


async def test_the_next_expiry_is_that_of_the_first_live_process(stored: Stored) -> None:
    await stored.make(owner=OTHER)
    await stored.leases.renew(OTHER, 60)
    due = await expiry(stored)
    assert due is not None
    assert 30 < due <= 60
    await stored.leases.renew(THIRD, 20)
    due = await expiry(stored)
    assert due is not None
    assert 0 < due <= 20, "the one without workflows may get some before"
    await stored.leases.renew(THIRD, -1)
    due = await expiry(stored)
    assert due is not None
    assert 30 < due <= 60, "the one whose lease is over has nothing"


async def test_a_lease_without_an_end_never_expires(stored: Stored) -> None:
    await stored.make(owner=OTHER)
    await stored.leases.renew(OTHER, None)
    assert await expiry(stored) is None
    assert await stored.claim() == []


async def test_all_others_can_be_declared_dead(stored: Stored) -> None:
    mine, theirs = await stored.make(), await stored.make(owner=OTHER)
    for owner in (ME, OTHER):
        await stored.leases.renew(owner, None)
    await stored.leases.expire_others(ME)
    assert [one.state.id for one in await stored.claim(ME, (mine,))] == [theirs.workflow_id]
    assert await stored.claim(THIRD, (theirs,)) == [], "the caller lives on"


async def test_the_ownership_of_a_workflow_names_the_process_that_runs_it(stored: Stored) -> None:
    handle = await stored.make(owner=OTHER)

    async def owner() -> tuple[UUID | None, bool, bool]:
        found = await stored.here.reader.ownership(EVERY_TENANT, handle.workflow_id)
        assert found is not None
        return found.owner, found.alive, found.lease_until is None

    assert await owner() == (OTHER, False, True)
    await stored.leases.renew(OTHER, 60)
    assert await owner() == (OTHER, True, False)
    await stored.leases.renew(OTHER, None)
    assert await owner() == (OTHER, True, True)
    await stored.leases.renew(OTHER, -1)
    assert await owner() == (OTHER, False, False)
    assert await stored.here.reader.ownership(EVERY_TENANT, uuid4()) is None


async def test_who_has_paused_a_workflow_is_known_while_it_is_paused(stored: Stored) -> None:
    handle = await stored.make()
    await stored.write(handle, admitted(), Pause("bob"))
    found = await stored.here.reader.ownership(EVERY_TENANT, handle.workflow_id)
    assert found is not None
    assert (found.owner, found.paused_by, found.paused_at) == (ME, "bob", handle.run.state.updated_at)
