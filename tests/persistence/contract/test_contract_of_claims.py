"""Who may take over what: leases, claims, and when the next claim may find something."""

import asyncio
from uuid import UUID, uuid4

import pytest

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel, Input, Pause, TrialBegun
from support.database.stored_workflows import ME, OTHER, THIRD, Stored, dispatched, renamed

every_lease = pytest.mark.parametrize(
    ("lease", "claimed"),
    [("60 s", False), ("endless", False), ("over", True), ("released", True), ("never", True)],
)


async def set_lease(stored: Stored, lease: str) -> None:
    seconds = {"60 s": 60.0, "endless": None, "over": -1.0, "released": 60.0}
    if lease in seconds:
        await stored.leases.renew(OTHER, seconds[lease])
    if lease == "released":
        await stored.leases.release(OTHER)


@every_lease
async def test_a_claim_takes_what_has_no_live_process(
    stored: Stored,
    lease: str,
    claimed: bool,  # noqa: FBT001
) -> None:
    handle = await stored.make(owner=OTHER)
    await stored.write(handle, dispatched())
    await stored.make(owner=None)
    await set_lease(stored, lease)
    found = [(one.state.id, one.state.owner, one.state.epoch, one.crashes_on_trial) for one in await stored.claim()]
    epoch = handle.run.state.epoch + 1
    assert found == ([(handle.workflow_id, ME, epoch, None)] if claimed else [])


async def test_what_is_handed_over_may_be_claimed_while_its_owner_lives(stored: Stored) -> None:
    handle, kept = await stored.make(owner=OTHER), await stored.make(owner=OTHER)
    await stored.write(handle, dispatched())
    await stored.leases.renew(OTHER, 60)
    await stored.workflow_store.hand_over(ME, [kept.workflow_id])
    await stored.workflow_store.hand_over(OTHER, [handle.workflow_id])
    found = [(one.state.id, one.state.owner, one.crashes_on_trial) for one in await stored.claim()]
    assert found == [(handle.workflow_id, ME, None)]


async def test_a_claim_changes_neither_the_history_nor_the_version_of_the_state(stored: Stored) -> None:
    handle = await stored.make(owner=OTHER)
    (claimed,) = await stored.claim()
    assert claimed.state.last_event == handle.run.state.last_event
    assert claimed.state.updated_at == handle.run.state.updated_at


async def test_a_claim_leaves_out_what_the_caller_holds(stored: Stored) -> None:
    held, other = await stored.make(owner=OTHER), await stored.make(owner=OTHER)
    assert [one.state.id for one in await stored.claim(ME, (held,))] == [other.workflow_id]


@every_lease
async def test_a_fence_keeps_a_dead_owner_and_refuses_what_that_still_writes(
    stored: Stored,
    lease: str,
    claimed: bool,  # noqa: FBT001
) -> None:
    handle = await stored.make(owner=OTHER)
    await stored.write(handle, dispatched())
    await set_lease(stored, lease)
    loaded = await stored.workflow_store.fence(ME, handle.workflow_id)
    late = await stored.workflow_store.write([stored.decide(handle, renamed("late"))])
    if not claimed:
        assert (loaded, late) == (None, set())
        return
    assert late == {handle.workflow_id}
    assert loaded is not None
    assert (loaded.state.owner, len(loaded.open_tasks), loaded.crashes_on_trial) == (OTHER, 1, None)
    await stored.write(ActiveWorkflow(loaded), renamed("fenced"))
    (found,) = await stored.claim()
    assert (found.state.name, found.state.epoch) == ("fenced", loaded.state.epoch + 1)


async def test_a_fence_includes_own_workflows_and_none_without_an_owner(stored: Stored) -> None:
    mine, waiting = await stored.make(), await stored.make_waiting()
    await stored.leases.renew(ME, 60)
    epoch = mine.run.state.epoch
    loaded = await stored.workflow_store.fence(ME, mine.workflow_id)
    assert loaded is not None
    assert (loaded.state.owner, loaded.state.epoch) == (ME, epoch + 1)
    for workflow_id in (waiting.workflow_id, uuid4()):
        assert await stored.workflow_store.fence(ME, workflow_id) is None


async def test_ones_own_are_claimed_only_where_they_are_unknown_and_older_than_the_claim(stored: Stored) -> None:
    held, unknown, newer = await stored.make(), await stored.make(), await stored.make()
    await stored.leases.renew(ME, 60)
    now = stored.clock.now()
    await stored.write(newer, renamed())
    claims = await stored.workflow_store.claim(ME, [held.workflow_id], now, 100)
    assert [one.state.id for one in claims] == [unknown.workflow_id]


async def test_what_needs_no_process_is_not_claimed(stored: Stored) -> None:
    running, paused, idle, cancelled = [await stored.make() for _ in range(4)]
    await stored.write(paused, dispatched(), Pause("alice"))
    await stored.write(idle, Pause("alice"))
    await stored.write(cancelled, Cancel("alice"))
    await stored.make(owner=None)
    assert {one.state.id for one in await stored.claim(OTHER)} == {running.workflow_id, paused.workflow_id}


async def test_after_three_unclean_ends_what_was_under_way_is_claimed_one_at_a_time(stored: Stored) -> None:
    first, second, waiting = [await stored.make(owner=UUID(int=10)) for _ in range(3)]
    for handle in (first, second):
        await stored.write(handle, dispatched())
    await stored.leases.renew(UUID(int=10), -1)
    for process in (11, 12):
        assert {one.crashes_on_trial for one in await stored.claim(UUID(int=process))} == {None}
        await stored.leases.renew(UUID(int=process), -1)
    suspects = sorted((first, second), key=lambda handle: handle.workflow_id.int)
    for number, handle in enumerate(suspects):
        claims = await stored.claim(ME, tuple(suspects[:number]))
        assert [(one.state.id, one.crashes_on_trial) for one in claims] == [(handle.workflow_id, 0)]
    claims = await stored.claim(ME, (first, second))
    assert [(one.state.id, one.crashes_on_trial) for one in claims] == [(waiting.workflow_id, None)]


async def test_deaths_count_in_a_row_while_one_alone_was_on_trial(stored: Stored) -> None:
    guilty, other = await stored.make(owner=UUID(int=10)), await stored.make(owner=UUID(int=10))
    for handle in (guilty, other):
        await stored.write(handle, dispatched())

    async def next_life(process: int, *more: Input, trial: bool, alone: bool = True) -> list[int | None]:
        """A process claims one workflow, tries it, and dies. Return the deaths that the claim found."""
        owner = UUID(int=process)
        (claimed,) = await stored.claim(owner)
        if trial:
            await stored.write(ActiveWorkflow(claimed), TrialBegun((claimed.crashes_on_trial or 0) + 1), *more)
        for workflow_id in {guilty.workflow_id, other.workflow_id} - {claimed.state.id}:
            fenced = await stored.workflow_store.fence(owner, workflow_id)
            assert fenced is not None
            await stored.write(ActiveWorkflow(fenced), renamed())  # a verb needs it
        if not alone:
            await stored.claim(owner)
        await stored.leases.renew(owner, -1)
        return [claimed.crashes_on_trial]

    await stored.leases.renew(UUID(int=10), -1)
    for process in (11, 12):
        await stored.claim(UUID(int=process))
        await stored.leases.renew(UUID(int=process), -1)
    assert await next_life(13, trial=True) == [0]
    assert await next_life(14, renamed(), trial=True) == [1]
    assert await next_life(15, trial=True) == [2], "a verb is no checkpoint of its own"
    assert await next_life(16, trial=False) == [3], "it died before the trial began"
    assert await next_life(17, trial=True) == [0]
    assert await next_life(18, trial=True, alone=False) == [1]
    assert await next_life(19, trial=True) == [0], "another one was under way too"
    assert await stored.workflow_store.load(EVERY_TENANT, guilty.workflow_id) is not None


async def test_a_claim_comes_in_pages_by_id(stored: Stored) -> None:
    workflows = [await stored.make(owner=OTHER) for _ in range(7)]
    pages: list[list[UUID]] = []
    while not pages or pages[-1]:
        taken = [one for page in pages for one in page]
        held = tuple(handle for handle in workflows if handle.workflow_id in taken)
        pages.append([one.state.id for one in await stored.claim(ME, held, limit=3)])
    assert [len(page) for page in pages] == [3, 3, 1, 0]
    assert [one for page in pages for one in page] == sorted(handle.workflow_id for handle in workflows)


async def test_two_processes_that_claim_at_once_never_both_have_one(stored: Stored) -> None:
    workflows = [await stored.make(owner=OTHER) for _ in range(20)]
    for owner in (ME, THIRD):
        await stored.leases.renew(owner, 60)
    both = await asyncio.gather(stored.claim(ME), stored.claim(THIRD))
    assert sorted(one.state.id for found in both for one in found) == sorted(handle.workflow_id for handle in workflows)


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
        ownership = await stored.here.reader.ownership(EVERY_TENANT, handle.workflow_id)
        assert ownership is not None
        return ownership.owner, ownership.alive, ownership.lease_until is None

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
    await stored.write(handle, dispatched(), Pause("bob"))
    ownership = await stored.here.reader.ownership(EVERY_TENANT, handle.workflow_id)
    assert ownership is not None
    assert (ownership.owner, ownership.paused_by, ownership.paused_at) == (ME, "bob", handle.run.state.updated_at)
