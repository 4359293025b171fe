"""Waits, signals and parked workflows: what is read is what was stored, and a parked workflow needs nobody until it is
due.

What must hold:
- A decision is written by one statement with the fence, its waits and signals too (F1).
- A parked workflow has no owner: nobody claims it, it doesn't wait for admission, and it costs no statement (F18).
- Some living process learns in time when the next workflow is due, also after the death of the one that parked it (F6).
- Whoever has loaded a parked workflow for a verb can't write it after it has become due (F1, F11).
"""

import asyncio
from datetime import timedelta
from secrets import token_hex
from typing import Any
from uuid import UUID, uuid4

from msgspec import json, structs

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import StepStatus, WaitKind, WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.inputs import Cancel
from stepwell.lifecycle.model import NEVER, FlowState, StoredSignal, Wait
from stepwell.lifecycle.records import WHOLE, AdmissionResult, LoadedWorkflow, WorkflowRecord
from stepwell.ports.storage import POSTPONED_S
from stepwell.rules.large_workflow_records import StepSnapshot
from stepwell.rules.list_records import DecisionFilter
from support.database.parked_workflows import SOON, begin_wait, end_wait, make_parked, park, pause_parked, signals
from support.database.stored_items import make_with_items
from support.database.stored_workflows import CHAIN, ME, OTHER, Stored, renamed
from support.database.sub_workflows import make_child

LATER, PAST = timedelta(days=1), timedelta(seconds=-1)


async def load(stored: Stored, handle: ActiveWorkflow) -> LoadedWorkflow:
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    return loaded


async def make(stored: Stored) -> ActiveWorkflow:
    return await stored.make(CHAIN, has_flow=True)


async def test_the_wait_of_a_step_is_read_in_each_way(stored: Stored) -> None:
    handle, now, wait_id = await make(stored), stored.clock.now(), uuid4()
    assert await stored.workflow_store.write([begin_wait(handle, now, wait_id=wait_id)]) == set()
    wait = Wait(wait_id, WaitKind.DECISION, now, now + SOON, ("yes", "no"))
    loaded, found = await load(stored, handle), await stored.here.reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(found, WorkflowRecord)
    (snapshot,) = await stored.here.reader.snapshot(EVERY_TENANT, (handle.workflow_id,), WHOLE)
    states = json.decode(snapshot.states[0], type=list[StepSnapshot])
    for flows in (
        [step.state.flow for step in loaded.steps],
        [step.state.flow for step in found.steps or []],
        [state.flow for state in states],
    ):
        assert flows == [FlowState(wait), None]
    assert loaded.steps[0].state.status is StepStatus.RUNNING
    result = b'{"choice": "yes"}'
    assert await stored.workflow_store.write([end_wait(handle, now, result)]) == set()
    assert [step.state.flow for step in (await load(stored, handle)).steps] == [None, None]
    assert await stored.workflow_store.results(EVERY_TENANT, {handle.workflow_id: [0]}) == {
        handle.workflow_id: {0: result}
    }


async def test_signals_stay_until_a_step_takes_them(stored: Stored) -> None:
    handle, other, now = await make(stored), await make(stored), stored.clock.now()
    first, second = StoredSignal(b'{"n": 1.0}', "alice", now), StoredSignal(b"null", "bob", now)
    decision = signals(handle, now, {"a b": first, "c": second})
    assert await stored.workflow_store.write([decision]) == set()
    assert (await load(stored, handle)).signals == {"a b": first, "c": second}
    assert (await load(stored, other)).signals == {}
    assert await stored.workflow_store.write([signals(handle, now, {"c": None})]) == set()
    assert (await load(stored, handle)).signals == {"a b": first}


async def test_files_that_a_signal_or_a_result_names_are_needed(stored: Stored) -> None:
    handle, now, files = await make(stored), stored.clock.now(), [uuid4() for _ in range(3)]
    named = [b'{"f": "media/%s/x.png"}' % str(each).encode() for each in files]
    decision = begin_wait(handle, now, wait_id=uuid4())
    decision.merge(signals(handle, now, {"s": StoredSignal(named[0], "alice", now)}))
    decision.merge(end_wait(handle, now, named[1]))
    assert await stored.workflow_store.write([decision]) == set()
    needed = await stored.here.reader.references_to(EVERY_TENANT, uuid4(), files)
    assert needed == dict.fromkeys(files[:2], handle.workflow_id)


async def test_a_parked_workflow_is_nobodys_and_waits_for_no_admission(stored: Stored) -> None:
    handle = await make_parked(stored, stored.clock.now() + LATER)
    loaded = await load(stored, handle)
    assert (loaded.state.owner, loaded.state.wake_at) == (None, handle.run.state.wake_at)
    assert not loaded.state.waits_for_admission
    assert await stored.workflow_store.waiting() == []
    assert await stored.workflow_store.admit(OTHER, {"t": 9}, []) == AdmissionResult([], {})
    assert await stored.claim(OTHER) == []
    later = stored.clock.now() + timedelta(seconds=1)
    assert await stored.workflow_store.release_idle(OTHER, [], later, 9) == 0
    assert (await load(stored, handle)).state == loaded.state


async def test_parking_changes_neither_the_history_nor_the_version(stored: Stored) -> None:
    handle, now = await make(stored), stored.clock.now()
    assert await stored.workflow_store.write([begin_wait(handle, now, wait_id=uuid4())]) == set()
    before = (await load(stored, handle)).state
    assert await stored.workflow_store.write([park(handle, now + LATER)]) == set()
    assert (await load(stored, handle)).state == structs.replace(before, owner=None, wake_at=now + LATER)


async def test_a_park_whose_response_was_lost_counts_as_written(stored: Stored) -> None:
    handle, now = await make(stored), stored.clock.now()
    decision = park(handle, now + LATER)
    assert await stored.workflow_store.write([decision]) == set()
    assert await stored.workflow_store.write([decision]) == set()


async def test_what_is_due_waits_for_admission_in_its_order(stored: Stored) -> None:
    now = stored.clock.now()
    late, early, other = [
        await make_parked(stored, now + timedelta(seconds=at), tenant=tenant)
        for at, tenant in ((-1, "t"), (-3, "t"), (-2, None))
    ]
    later = await make_parked(stored, now + LATER)
    never = await make_parked(stored, NEVER)
    page = await stored.workflow_store.unpark(2)
    assert (dict(page.waiting), page.paused) == ({"t": 1, None: 1}, [])
    assert page.next_at == late.run.state.wake_at
    page = await stored.workflow_store.unpark(2)
    assert (dict(page.waiting), page.paused, page.next_at) == ({"t": 1}, [], later.run.state.wake_at)
    page = await stored.workflow_store.unpark(2)
    assert (dict(page.waiting), page.paused, page.next_at) == ({}, [], later.run.state.wake_at)
    assert (await load(stored, never)).state.wake_at == NEVER
    result = await stored.workflow_store.admit(OTHER, {"t": 9, None: 9}, [])
    assert {each.state.id for each in result.loaded} == {late.workflow_id, early.workflow_id, other.workflow_id}
    assert {(each.state.owner, each.state.wake_at, each.state.epoch) for each in result.loaded} == {(OTHER, None, 3)}
    assert [step.state.flow is not None for step in result.loaded[0].steps] == [True, False]


async def test_nothing_is_due_while_all_wait_for_something_from_outside(stored: Stored) -> None:
    assert (await stored.workflow_store.unpark(9)).next_at is None
    await make_parked(stored, NEVER)
    page = await stored.workflow_store.unpark(9)
    assert (dict(page.waiting), page.paused, page.next_at) == ({}, [], None)


async def test_paused_workflows_that_are_due_are_returned_and_postponed(stored: Stored) -> None:
    now = stored.clock.now()
    paused = await make_parked(stored, now + PAST, paused=True)
    await make_parked(stored, now + LATER, paused=True)
    page = await stored.workflow_store.unpark(9)
    assert (dict(page.waiting), page.paused) == ({}, [paused.workflow_id])
    state = (await load(stored, paused)).state
    assert state.status is WorkflowStatus.PAUSED
    assert state.wake_at == page.next_at
    assert page.next_at is not None
    assert now + timedelta(seconds=POSTPONED_S) <= page.next_at <= stored.clock.now() + timedelta(seconds=POSTPONED_S)
    assert (await stored.workflow_store.unpark(9)).paused == []


async def test_workflows_of_a_newer_version_stay_parked(stored: Stored) -> None:
    newer = await make_parked(stored, stored.clock.now() + PAST, feature_level=FEATURE_LEVEL + 1)
    page = await stored.workflow_store.unpark(9)
    assert (dict(page.waiting), page.paused, page.next_at) == ({}, [], None)
    assert (await load(stored, newer)).state.wake_at is not None


async def test_a_verb_on_a_workflow_that_became_due_meanwhile_is_not_written(stored: Stored) -> None:
    handle = await make_parked(stored, stored.clock.now() + PAST)
    decision = stored.decide(handle, renamed())
    await stored.workflow_store.unpark(9)
    assert await stored.workflow_store.write([decision]) == {handle.workflow_id}


async def test_an_ordinary_change_of_a_parked_workflow_leaves_it_parked(stored: Stored) -> None:
    handle = await make_parked(stored, stored.clock.now() + LATER)
    await stored.write(handle, renamed())
    state = (await load(stored, handle)).state
    assert (state.name, state.wake_at) == ("m", handle.run.state.wake_at)


async def test_a_batch_of_all_kinds_is_written_whole_or_not_at_all_by_workflow(stored: Stored) -> None:
    """Ordinary decisions share a batch with those about waits, and those that lose their fence lose all their rows."""
    waiting, plain, lost = await make(stored), await stored.make(), await make(stored)
    now = stored.clock.now()
    there = await load(stored, lost)
    handle = ActiveWorkflow(there)
    await stored.write(lost, renamed())
    signal = StoredSignal(b"1", "alice", now)
    batch = [begin_wait(waiting, now, wait_id=uuid4()), stored.decide(plain, Cancel("alice"))]
    stale = begin_wait(handle, now, wait_id=uuid4())
    stale.merge(signals(handle, now, {"s": signal}))
    assert await stored.workflow_store.write([*batch, stale]) == {lost.workflow_id}
    assert (await load(stored, waiting)).steps[0].state.flow is not None
    assert (await load(stored, plain)).state.status is WorkflowStatus.CANCELLED
    left = await load(stored, lost)
    assert (left.signals, [step.state.flow for step in left.steps]) == ({}, [None, None])


async def test_a_wait_that_ends_and_begins_again_has_the_new_one(stored: Stored) -> None:
    handle, now, wait_ids = await make(stored), stored.clock.now(), [uuid4(), uuid4()]
    for wait_id in wait_ids:
        assert await stored.workflow_store.write([begin_wait(handle, now, wait_id=wait_id)]) == set()
    flow = (await load(stored, handle)).steps[0].state.flow
    assert flow is not None
    assert flow.wait is not None
    assert flow.wait.id == wait_ids[1]


async def test_the_next_expiry_is_when_a_workflow_of_a_dead_process_is_due(stored: Stored) -> None:
    await stored.leases.renew(OTHER, 0.0)
    await make_parked(stored, NEVER, owner=OTHER)
    assert await stored.leases.next_expiry(ME) is None
    await make_parked(stored, stored.clock.now() + LATER, owner=OTHER)
    expiry = await stored.leases.next_expiry(ME)
    assert expiry is not None
    assert LATER.total_seconds() - 60 < expiry <= LATER.total_seconds()
    await make_parked(stored, stored.clock.now() + PAST, owner=OTHER)
    assert await stored.leases.next_expiry(ME) == 0
    await stored.workflow_store.claim(ME, [], stored.clock.now(), 9)  # forgets the dead process; the caller looks then
    assert await stored.leases.next_expiry(ME) is None


async def test_two_processes_that_unpark_at_once_never_get_the_same_workflow(stored: Stored) -> None:
    made = [await make_parked(stored, stored.clock.now() + PAST) for _ in range(20)]
    there, number = await stored.process(OTHER), 0
    for _ in range(50):
        pages = await asyncio.gather(stored.workflow_store.unpark(3), there.workflow_store.unpark(3))
        number += sum(sum(page.waiting.values()) for page in pages)
        if number == len(made):
            break
    assert {(await load(stored, each)).state.epoch for each in made} == {2}
    assert number == 20


async def test_a_paused_workflow_that_is_parked_shows_its_events(stored: Stored) -> None:
    handle, now = await make_parked(stored, stored.clock.now() + LATER), stored.clock.now()
    assert await stored.workflow_store.write([pause_parked(handle, now, now + SOON)]) == set()
    state = (await load(stored, handle)).state
    assert (state.status, state.wake_at, state.owner) == (WorkflowStatus.PAUSED, now + SOON, None)


async def asking(stored: Stored, handle: ActiveWorkflow, seconds: int) -> ActiveWorkflow:
    """Let the first step of the workflow wait for a decision, since that many seconds."""
    since = stored.clock.now() + timedelta(seconds=seconds)
    assert await stored.workflow_store.write([begin_wait(handle, since, wait_id=uuid4())]) == set()
    return handle


async def found(stored: Stored, scope: TenantScope = EVERY_TENANT, **filters: Any) -> list[UUID]:
    """Return the workflows whose decisions match. Their count must be the same."""
    query = DecisionFilter(9, **filters)
    decisions = await stored.here.reader.decisions(scope, query)
    assert await stored.here.reader.decision_count(scope, query) == len(decisions)
    return [each.workflow_id for each in decisions]


async def test_open_decisions_are_found_by_step_label_run_and_tenant(stored: Stored) -> None:
    labelled = {**CHAIN, "labels": {"team": "red", "kind": "photo"}}
    first = await asking(stored, await stored.make(labelled, has_flow=True), 1)
    second = await asking(stored, await stored.make(CHAIN, tenant=None, has_flow=True), 2)
    third = await asking(stored, await make_child(stored, await stored.make(labelled, has_flow=True)), 3)
    ids = [each.workflow_id for each in (first, second, third)]
    assert await found(stored) == ids
    assert await found(stored, TenantScope("t")) == [ids[0], ids[2]]
    assert await found(stored, TenantScope(None)) == [ids[1]]
    assert await found(stored, workflow_id=ids[0]) == [ids[0]]
    own = TenantScope("t")
    assert await found(stored, own, step_id="a") == [ids[0], ids[2]]
    assert await found(stored, own, step_id="b") == []
    assert await found(stored, own, labels=("team:red",)) == [ids[0], ids[2]]
    assert await found(stored, own, labels=("team:blue",)) == []
    both = ("team:red", "kind:photo")
    assert await found(stored, own, labels=both, step_id="a", workflow_id=ids[2]) == [ids[2]]
    assert await found(stored, own, labels=("team:red", "kind:film"), step_id="a", workflow_id=ids[2]) == []
    (head, *rest) = await stored.here.reader.decisions(own, DecisionFilter(1))
    assert (head.workflow_id, head.labels, rest) == (ids[0], labelled["labels"], [])
    for step_id in (None, "a"):
        behind = DecisionFilter(9, after=head.cursor, step_id=step_id)
        assert [each.workflow_id for each in await stored.here.reader.decisions(own, behind)] == [ids[2]]
    assert await stored.here.reader.decision(own, ids[0], 0) == head


async def test_an_open_decision_names_the_steps_above_it_and_their_items(stored: Stored) -> None:
    values = [{"sku": 1.0}, "é" * 300, token_hex(9_000), "a\0"]  # the database can't compress the third, or have NUL
    top = await make_with_items(stored, values)
    for item in range(len(values)):
        await top.write(top.dispatch(item))
        task = top.open_task(item)
        link = ParentLink(top.workflow_id, "a", item, top.workflow_id)
        child = await make_child(stored, top.handle, link=link, child_id=task.id)
        below = ParentLink(child.workflow_id, "b", None, top.workflow_id, 2)
        await asking(stored, await make_child(stored, child, link=below), item)
    decisions = await stored.here.reader.decisions(TenantScope("t"), DecisionFilter(9))
    shown = ['{"sku":1.0}', "é" * 200, None, r'"a\u0000"']
    assert [[(each.step_id, each.item, each.value) for each in decision.ancestors] for decision in decisions] == [
        [("a", item, value), ("b", None, None)] for item, value in enumerate(shown)
    ]
    assert [each.workflow_id for each in decisions[0].ancestors][:1] == [top.workflow_id]
    assert {each.workflow_name for decision in decisions for each in decision.ancestors} == {"n"}
