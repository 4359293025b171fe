"""Workflows that wait for admission: who is admitted, in which order, and what a claim leaves to wait."""

import asyncio
from datetime import timedelta
from uuid import uuid4

from stepwell.basics.tenancy import TenantScope
from stepwell.lifecycle.inputs import Cancel, Pause
from stepwell.lifecycle.records import AdmissionResult, LoadedWorkflow
from support.database.stored_items import make_with_items
from support.database.stored_workflows import CHAIN, ME, OTHER, THIRD, Stored, dispatched, renamed
from support.workflows.definitions import body, join

TIMED = CHAIN | {"config": {"workflow_timeout_s": 60}}


def ids(loaded: list[LoadedWorkflow]) -> set[object]:
    return {each.state.id for each in loaded}


async def release(stored: Stored, limit: int = 100) -> int:
    return await stored.workflow_store.release_idle(ME, [], stored.clock.now() + timedelta(seconds=1), limit)


async def test_each_tenant_gets_those_that_were_started_first(stored: Stored) -> None:
    mine = [await stored.make_waiting("t") for _ in range(3)]
    theirs = [await stored.make_waiting(None) for _ in range(3)]
    claims = (await stored.workflow_store.admit(ME, {"t": 2, None: 1, "unknown": 5}, [])).loaded
    assert ids(claims) == {mine[0].workflow_id, mine[1].workflow_id, theirs[0].workflow_id}
    assert {(each.state.owner, each.state.epoch) for each in claims} == {(ME, 1)}
    counts = {each.tenant: (each.number, each.oldest) for each in await stored.workflow_store.waiting()}
    assert counts == {"t": (1, mine[2].run.state.started_at), None: (2, theirs[1].run.state.started_at)}


async def test_large_workflows_need_all_their_places_and_nobody_overtakes_them(stored: Stored) -> None:
    many_steps = await stored.make_waiting(definition=body(*(join(f"s{number}") for number in range(41))))
    small = await stored.make_waiting()
    many_bytes = await stored.make_waiting(definition_bytes=3 * 65_536 + 1)
    last = await stored.make_waiting()
    other = await stored.make_waiting("other")

    async def admit(wanted: dict[str | None, int]) -> tuple[list[tuple[object, int]], dict[str | None, int]]:
        claims = await stored.workflow_store.admit(ME, wanted, [])
        return [(each.state.id, each.slots) for each in claims.loaded], claims.next_slots

    assert await admit({"t": 2, "other": 1}) == ([(other.workflow_id, 1)], {"t": 3})
    assert await admit({"t": 3}) == ([(many_steps.workflow_id, 3)], {"t": 1})
    assert await admit({"t": 4}) == ([(small.workflow_id, 1)], {"t": 4})
    assert await admit({"t": 9, "other": 9}) == ([(many_bytes.workflow_id, 4), (last.workflow_id, 1)], {})


async def test_items_need_as_many_places_as_steps(stored: Stored) -> None:
    workflow = await make_with_items(stored, range(41))
    assert await release(stored) == 1
    assert await stored.workflow_store.admit(ME, {"t": 2}, []) == AdmissionResult([], {"t": 3})
    (loaded,) = (await stored.workflow_store.admit(ME, {"t": 3}, [])).loaded
    assert (loaded.state.id, len(loaded.items), loaded.slots) == (workflow.workflow_id, 41, 3)


async def test_only_running_workflows_without_an_owner_wait(stored: Stored) -> None:
    await stored.make(owner=None)
    await stored.make(owner=OTHER)
    for end in (Pause("alice"), Cancel("alice")):
        await stored.write(await stored.make_waiting(), end)
    assert await stored.workflow_store.waiting() == []
    assert await stored.workflow_store.admit(ME, {"t": 10}, []) == AdmissionResult([], {})


async def test_a_workflow_in_use_is_not_admitted(stored: Stored) -> None:
    used, other = await stored.make_waiting(), await stored.make_waiting()
    claims = await stored.workflow_store.admit(ME, {"t": 2}, [used.workflow_id])
    assert ids(claims.loaded) == {other.workflow_id}


async def test_two_processes_that_admit_at_once_never_get_the_same_workflow(stored: Stored) -> None:
    made = {(await stored.make_waiting()).workflow_id for _ in range(20)}
    there = await stored.process(OTHER)
    for _ in range(50):
        if not await stored.workflow_store.waiting():
            break
        await asyncio.gather(
            stored.workflow_store.admit(ME, {"t": 3}, []), there.workflow_store.admit(OTHER, {"t": 3}, [])
        )
    loaded = [await stored.workflow_store.load(TenantScope("t"), each) for each in made]
    assert {(each.state.epoch, each.state.owner in (ME, OTHER)) for each in loaded if each} == {(1, True)}


async def test_a_verb_on_a_workflow_that_was_admitted_meanwhile_is_not_written(stored: Stored) -> None:
    handle = await stored.make_waiting()
    verb = stored.decide(handle, Cancel("alice"))
    await stored.workflow_store.admit(OTHER, {"t": 1}, [])
    assert await stored.workflow_store.write([verb]) == {handle.workflow_id}


async def test_a_workflow_that_a_verb_has_changed_is_admitted_as_it_is_then(stored: Stored) -> None:
    handle = await stored.make_waiting()
    await stored.write(handle, renamed("new"))
    (claims,) = (await stored.workflow_store.admit(ME, {"t": 1}, [])).loaded
    assert (claims.state.name, claims.state.last_event) == ("new", 3)


async def test_a_timeout_counts_from_the_admission(stored: Stored) -> None:
    handle = await stored.make_waiting(definition=TIMED)
    assert (handle.run.state.deadline_at, handle.run.state.timeout_left_s) == (None, 60)
    before = stored.clock.now()
    (claims,) = (await stored.workflow_store.admit(ME, {"t": 1}, [])).loaded
    assert claims.state.timeout_left_s is None
    assert claims.state.deadline_at is not None
    assert timedelta(seconds=55) < claims.state.deadline_at - before < timedelta(seconds=90)


async def test_what_a_dead_process_left_idle_waits_and_what_it_had_begun_does_not(stored: Stored) -> None:
    idle, begun = await stored.make(TIMED, owner=OTHER), await stored.make(owner=OTHER)
    await stored.write(begun, dispatched())
    await stored.make(owner=ME)
    await stored.leases.renew(ME, 60)
    assert await release(stored) == 2, "its own that it doesn't know wait too"
    assert ids(await stored.claim(ME)) == {begun.workflow_id}
    workflow = await stored.workflow_store.load(TenantScope("t"), idle.workflow_id)
    assert workflow is not None
    assert (workflow.state.owner, workflow.state.epoch, workflow.state.deadline_at) == (
        None,
        idle.run.state.epoch + 1,
        None,
    )
    assert 0 < (workflow.state.timeout_left_s or 0) <= 60


async def test_what_a_living_process_runs_is_not_released(stored: Stored) -> None:
    await stored.make(owner=OTHER)
    await stored.leases.renew(OTHER, 60)
    assert await release(stored) == 0


async def test_as_many_are_released_as_were_asked_for(stored: Stored) -> None:
    for _ in range(3):
        await stored.make(owner=THIRD)
    assert [await release(stored, 2), await release(stored, 2), await release(stored, 2)] == [2, 1, 0]


async def test_the_decision_of_an_attempt_is_refused_after_the_release(stored: Stored) -> None:
    handle = await stored.make(owner=OTHER)
    late = stored.decide(handle, dispatched(0, uuid4()))
    assert await release(stored) == 1
    assert await stored.workflow_store.write([late]) == {handle.workflow_id}


async def test_a_waiting_workflow_knows_how_many_of_its_tenant_are_before_it(stored: Stored) -> None:
    first, second = await stored.make_waiting(), await stored.make_waiting()
    await stored.make_waiting("another")
    running = await stored.make(owner=ME)
    ahead = []
    for each in (first, second, running):
        ownership = await stored.here.reader.ownership(TenantScope("t"), each.workflow_id)
        assert ownership is not None
        ahead.append(ownership.ahead)
    assert ahead == [0, 1, None]


async def test_after_a_process_has_died_others_look_once_for_what_it_did_not_announce(stored: Stored) -> None:
    await stored.make_waiting()
    await stored.leases.renew(OTHER, -1)
    assert await stored.leases.next_expiry(ME) == 0
    assert await stored.claim() == []
    assert await stored.leases.next_expiry(ME) is None
