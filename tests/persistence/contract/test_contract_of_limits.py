"""The stored division of limits: what a process sees of the others, and which changes are made."""

from uuid import UUID

import pytest

from stepwell.ports.processes import LimitStore
from stepwell.rules.limit_division import DivisionChange, Share
from support.database.stored_workflows import ME, OTHER, THIRD, Stored
from support.providers.scripted import eventually

SHARES = {"provider FAL": Share(2, 1, 3, 5.5), "model FAL fal-ai/veo3": Share(0, 0, 1, 0.0)}


def change(version: int, **members: object) -> DivisionChange:
    usual: dict[str, object] = {
        "sole": None,
        "claiming": False,
        "shares": SHARES,
        "removed": (),
        "starts": {},
        "starts_from": 0.0,
        "notify": False,
    }
    return DivisionChange(version=version, **(usual | members))  # type: ignore[arg-type]


async def store_of(stored: Stored, owner: UUID, lease_s: float = 60) -> LimitStore:
    database = await stored.process(owner)
    await database.leases.renew(owner, lease_s)
    return database.limits


async def test_a_new_database_has_an_empty_division(stored: Stored) -> None:
    mine = await store_of(stored, ME)
    division = await mine.read(ME)
    assert (division.version, division.alive, division.others) == (0, True, 0)
    assert (division.sole, division.sole_member, division.members) == (None, None, [])
    assert (dict(division.starts), division.starts_from) == ({}, 0.0)


async def test_other_processes_see_shares_and_starts_as_they_were_written(stored: Stored) -> None:
    mine, theirs = await store_of(stored, ME), await store_of(stored, OTHER)
    starts = {"model FAL fal-ai/veo3": 17.25}
    assert await mine.write(ME, change(0, claiming=True, starts=starts, starts_from=3.5))
    division = await theirs.read(OTHER)
    assert (division.version, division.others, dict(division.starts), division.starts_from) == (1, 1, starts, 3.5)
    [member] = division.members
    assert (member.owner, member.alive, member.claiming, dict(member.shares)) == (ME, True, True, SHARES)
    assert await mine.write(ME, change(1, shares=None))
    assert (await theirs.read(OTHER)).members == []


async def test_of_two_changes_to_one_version_the_first_is_made(stored: Stored) -> None:
    mine, theirs = await store_of(stored, ME), await store_of(stored, OTHER)
    assert await mine.write(ME, change(0))
    assert not await theirs.write(OTHER, change(0, sole=OTHER, removed=[ME]))
    division = await theirs.read(OTHER)
    assert (division.version, division.sole, len(division.members)) == (1, None, 1)
    assert await theirs.write(OTHER, change(1, sole=OTHER, removed=[ME], shares=None))
    division = await mine.read(ME)
    assert (division.sole, division.members) == (OTHER, [])
    assert division.sole_member is not None
    assert (division.sole_member.alive, division.sole_member.claimed) == (True, True)


async def test_a_process_without_a_lease_changes_nothing(stored: Stored) -> None:
    theirs = await store_of(stored, OTHER, lease_s=-1)
    assert not (await theirs.read(OTHER)).alive
    assert not await theirs.write(OTHER, change(0))
    assert (await theirs.read(OTHER)).version == 0


async def test_a_dead_member_is_claimed_once_it_owns_no_workflow(stored: Stored) -> None:
    mine, theirs = await store_of(stored, ME), await store_of(stored, OTHER)
    workflow = await stored.make(owner=OTHER)
    assert await theirs.write(OTHER, change(0))
    await stored.leases.renew(OTHER, -1)
    [member] = (await mine.read(ME)).members
    assert (member.alive, member.claimed, member.overdue) == (False, False, False)
    await stored.claim(ME)
    [member] = (await mine.read(ME)).members
    assert (member.alive, member.claimed, member.overdue) == (False, True, False), workflow.workflow_id
    await stored.leases.renew(OTHER, -3_600)
    await stored.leases.release(OTHER)
    [member] = (await mine.read(ME)).members
    assert (member.alive, member.claimed) == (False, True), "one that has ended in order"


async def test_a_member_that_handed_its_workflows_over_is_claimed_when_another_owns_them(stored: Stored) -> None:
    mine, theirs = await store_of(stored, ME), await store_of(stored, OTHER)
    workflow = await stored.make(owner=OTHER)
    assert await theirs.write(OTHER, change(0))
    await stored.workflow_store.hand_over(OTHER, [workflow.workflow_id])
    await stored.leases.release(OTHER)
    [member] = (await mine.read(ME)).members
    assert (member.alive, member.claimed) == (False, False)
    await stored.claim(ME)
    [member] = (await mine.read(ME)).members
    assert (member.alive, member.claimed) == (False, True)


@pytest.mark.parametrize(
    ("lease_s", "changes", "claimed"),
    [
        (60, {"claiming": True}, 1),
        (60, {"sole": ME, "shares": None}, 1),
        (60, {"claiming": False}, 0),
        (60, {"claiming": True, "shares": None}, 0),
        (-1, {"claiming": True}, 0),
    ],
)
async def test_a_claim_takes_nothing_unless_the_division_counts_it(
    stored: Stored, lease_s: float, changes: dict[str, object], claimed: int
) -> None:
    mine = await store_of(stored, ME)
    await stored.make(owner=OTHER)
    assert await mine.write(ME, change(0, **changes))
    await stored.leases.renew(ME, lease_s)
    assert len(await stored.workflow_store.claim(ME, [], stored.clock.now(), 10, divided=True)) == claimed


async def test_a_claim_takes_nothing_after_others_have_found_the_claimer_dead(stored: Stored) -> None:
    mine, theirs = await store_of(stored, ME), await store_of(stored, OTHER)
    await stored.make(owner=THIRD)
    assert await mine.write(ME, change(0, claiming=True))
    assert await theirs.write(OTHER, change(1, removed=[ME]))
    assert await stored.workflow_store.claim(ME, [], stored.clock.now(), 10, divided=True) == []


async def test_a_change_notifies_the_others_if_it_concerns_them(stored: Stored) -> None:
    mine, there = await store_of(stored, ME), await stored.process(THIRD)
    heard: list[tuple[str, str]] = []
    async with there.presence.watch(lambda: None, on_message=lambda kind, body: heard.append((kind, body))):
        assert await mine.write(ME, change(0))
        assert await mine.write(ME, change(1, notify=True))
        await stored.here.presence.send("breaker", '{"a": 1}')
        await eventually(lambda: len(heard) > 1, "both were heard")
    assert heard == [("limits", ""), ("breaker", '{"a": 1}')]
