"""Sub-workflows: each is stored once, below a parent that its process runs, and its end wakes the parent.

What must hold:
- A sub-workflow that is stored already isn't stored again, whoever tries (F4).
- A process that has lost the parent stores none, so none is left behind.
- All sub-workflows of a root have no more storage than they may have.
- An attempt that has ended stores none, so none comes after the follow-up of the attempt.
- A parked parent is due after the end of a sub-workflow that it hasn't seen (F6).
"""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from stepwell.basics.errors import Forbidden
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.basics.workflow_limits import RootLimits
from stepwell.contract.enums import WorkflowStatus
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ChildInsertion, ChildRecord, ChildRecords, ParentAttempt, ParentLink
from stepwell.lifecycle.inputs import Cancel, Cleanup, Input, Sending, Submitted
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.records import WHOLE, NewWorkflow, WorkflowRecord
from stepwell.rules.list_records import ListFilter
from support.database.parked_workflows import park
from support.database.stored_workflows import ME, OTHER, Stored, completed, dispatched, renamed
from support.database.sub_workflows import LIMITS, attempt_of, draft_child, end, make_child
from support.workflows.definitions import body, join

LATER = timedelta(days=1)
LABELLED = {**body(join("only")), "labels": {"colour": "red"}}


async def insert(
    stored: Stored, parent: ActiveWorkflow, new: NewWorkflow, owner: UUID = ME, limits: RootLimits = LIMITS
) -> ChildInsertion:
    attempt = ParentAttempt(owner, await attempt_of(stored, parent))
    return await stored.workflow_store.insert_child(EVERY_TENANT, new, attempt, limits)


async def test_a_sub_workflow_is_read_with_its_place(stored: Stored) -> None:
    parent = await stored.make()
    link = ParentLink(parent.workflow_id, "b", 3, parent.workflow_id)
    child = await make_child(stored, parent, definition=LABELLED, link=link)
    loaded = await stored.workflow_store.load(EVERY_TENANT, child.workflow_id)
    assert loaded is not None
    assert (loaded.parent, loaded.state.parent_id) == (link, parent.workflow_id)
    assert [step.resolved.step_id for step in loaded.steps] == ["only"]
    found = await stored.here.reader.find(EVERY_TENANT, child.workflow_id, WHOLE)
    assert isinstance(found, WorkflowRecord)
    assert (found.parent, found.labels) == (link, {"colour": "red"})
    events = await stored.here.reader.events(EVERY_TENANT, child.workflow_id, 0, 9)
    assert [event.type for event in events or ()] == ["workflow.created", "workflow.started"]
    above = await stored.here.reader.find(EVERY_TENANT, parent.workflow_id, WHOLE)
    assert isinstance(above, WorkflowRecord)
    assert above.parent is None


async def test_the_sub_workflows_of_a_workflow_are_listed(stored: Stored) -> None:
    parent, reader = await stored.make(), stored.here.reader
    assert await reader.children(EVERY_TENANT, parent.workflow_id, 9) == ChildRecords([], 0)
    link = ParentLink(parent.workflow_id, "b", 3, parent.workflow_id)
    children = [
        await make_child(stored, parent),
        await make_child(stored, parent, link=link),
        await make_child(stored, parent),
    ]
    await make_child(stored, children[0])
    expected = [ChildRecord(each.workflow_id, "a", None, WorkflowStatus.RUNNING) for each in children]
    expected[1] = expected[1]._replace(step_id="b", item=3)
    expected.sort(key=lambda child: child.id.int)
    found = await reader.children(EVERY_TENANT, parent.workflow_id, 9)
    assert (list(found.first), found.total) == (expected, 3)
    assert await reader.children(TenantScope("t"), parent.workflow_id, 2) == ChildRecords(expected[:2], 3)
    assert await reader.children(TenantScope("other"), parent.workflow_id, 9) == ChildRecords([], 0)
    await stored.write(children[0], Cancel("alice"), Cleanup("alice", cleanup_tasks=False))
    assert (await reader.children(EVERY_TENANT, parent.workflow_id, 9)).total == 2


async def test_a_sub_workflow_is_stored_once(stored: Stored) -> None:
    parent = await stored.make()
    child, new = draft_child(stored, parent)
    assert await insert(stored, parent, new) is ChildInsertion.NEW
    await stored.write(child, renamed())
    assert await insert(stored, parent, new) is ChildInsertion.STORED
    loaded = await stored.workflow_store.load(EVERY_TENANT, child.workflow_id)
    assert loaded is not None
    assert (loaded.state.name, len(loaded.steps)) == ("m", 2)


async def test_only_the_process_of_the_parent_stores_a_sub_workflow(stored: Stored) -> None:
    parent = await stored.make()
    child, new = draft_child(stored, parent)
    assert await insert(stored, parent, new, OTHER) is ChildInsertion.LOST
    assert await stored.workflow_store.load(EVERY_TENANT, child.workflow_id) is None
    below = await make_child(stored, parent)
    link = ParentLink(below.workflow_id, "a", None, parent.workflow_id, 2)
    _, deeper = draft_child(stored, below, link=link)
    assert await insert(stored, below, deeper, OTHER) is ChildInsertion.LOST
    assert await insert(stored, below, deeper) is ChildInsertion.NEW
    gone = ParentLink(uuid4(), "a", None, parent.workflow_id, 2)
    assert await insert(stored, below, draft_child(stored, below, link=gone)[1]) is ChildInsertion.LOST


async def test_an_attempt_that_has_ended_stores_no_sub_workflow(stored: Stored) -> None:
    parent = await stored.make()
    _, new = draft_child(stored, parent)
    attempt = ParentAttempt(ME, await attempt_of(stored, parent))
    await stored.write(parent, completed(attempt.task_id))
    assert await stored.workflow_store.insert_child(EVERY_TENANT, new, attempt, LIMITS) is ChildInsertion.LOST
    other = ParentAttempt(ME, uuid4())
    assert await stored.workflow_store.insert_child(EVERY_TENANT, new, other, LIMITS) is ChildInsertion.LOST


async def test_a_sub_workflow_of_another_tenant_is_refused(stored: Stored) -> None:
    parent = await stored.make()
    _, new = draft_child(stored, parent)
    attempt = ParentAttempt(ME, await attempt_of(stored, parent))
    with pytest.raises(Forbidden):
        await stored.workflow_store.insert_child(TenantScope("u"), new, attempt, LIMITS)


@pytest.mark.parametrize(
    ("limits", "result"),
    [
        (RootLimits(2, 99, 9_999), ChildInsertion.TOO_MANY),
        (RootLimits(9, 5, 9_999), ChildInsertion.TOO_MANY_STEPS),
        (RootLimits(9, 99, 299), ChildInsertion.TOO_LARGE),
    ],
)
async def test_all_sub_workflows_of_a_root_are_bounded_together(
    stored: Stored, limits: RootLimits, result: ChildInsertion
) -> None:
    root, other = await stored.make(), await stored.make()

    def draft(above: ActiveWorkflow, link: ParentLink | None = None) -> tuple[ActiveWorkflow, NewWorkflow]:
        handle, new = draft_child(stored, above, link=link)  # of two steps
        return handle, structs.replace(new, definition_bytes=100)

    first, new = draft(root)
    assert await insert(stored, root, new, limits=limits) is ChildInsertion.NEW
    deep = ParentLink(first.workflow_id, "a", None, root.workflow_id, 2)
    assert await insert(stored, first, draft(first, deep)[1], limits=limits) is ChildInsertion.NEW
    for above, link in ((root, None), (first, deep)):
        assert await insert(stored, above, draft(above, link)[1], limits=limits) is result
    assert await insert(stored, root, new, limits=limits) is ChildInsertion.STORED
    assert await insert(stored, other, draft(other)[1], limits=limits) is ChildInsertion.NEW


async def test_a_parent_that_waits_for_its_sub_workflow_is_no_suspect(stored: Stored) -> None:
    """Nothing of it runs in a process, so it can't be the cause of the death of one."""
    runs = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "n", "steps": [join("only")]}}}
    parent, other = [await stored.make(body(runs), owner=UUID(int=10)) for _ in range(2)]
    for handle in (parent, other):
        task_id, now = uuid4(), stored.clock.now()
        inputs: list[Input] = [dispatched(task_id=task_id), Sending(0, task_id, Sent("", "", now))]
        if handle is parent:
            inputs.append(Submitted(0, task_id, str(uuid4()), {}))
        await stored.write(handle, *inputs)
    await stored.leases.renew(UUID(int=10), -1)
    for process in (11, 12):
        assert {one.crashes_on_trial for one in await stored.claim(UUID(int=process))} == {None}
        await stored.leases.renew(UUID(int=process), -1)
    assert [(one.state.id, one.crashes_on_trial) for one in await stored.claim(ME)] == [(other.workflow_id, 0)]
    claims = await stored.claim(ME, (other,))
    assert [(one.state.id, one.crashes_on_trial) for one in claims] == [(parent.workflow_id, None)]


async def is_due(stored: Stored) -> bool:
    return bool((await stored.workflow_store.unpark(9)).waiting)


async def parked(stored: Stored, parent: ActiveWorkflow, seen: int = 0) -> None:
    parent.run.state.child_ended_seen = seen
    assert await stored.workflow_store.write([park(parent, stored.clock.now() + LATER)]) == set()


async def test_a_parked_parent_is_due_after_the_end_of_a_sub_workflow(stored: Stored) -> None:
    parent = await stored.make()
    child = await make_child(stored, parent)
    await parked(stored, parent)
    await stored.write(child, renamed())
    assert not await is_due(stored)
    assert await stored.workflow_store.write([end(stored, child)]) == set()
    await stored.write(child, renamed("again"))  # it has ended already
    assert await is_due(stored)
    (admitted,) = (await stored.workflow_store.admit(OTHER, {"t": 9}, [])).loaded
    assert (admitted.state.id, admitted.state.child_ended_seen) == (parent.workflow_id, 1)
    assert not await is_due(stored)


async def test_a_parent_that_has_not_seen_an_end_is_due_once_it_is_parked(stored: Stored) -> None:
    parent = await stored.make()
    children = [await make_child(stored, parent) for _ in range(3)]
    assert await stored.workflow_store.write([end(stored, child) for child in children[:2]]) == set()
    await parked(stored, parent, seen=1)
    assert await is_due(stored)


async def test_a_parent_that_has_seen_all_ends_stays_parked(stored: Stored) -> None:
    parent = await stored.make()
    children = [await make_child(stored, parent) for _ in range(3)]
    batch = [end(stored, child) for child in children[:2]]
    assert await stored.workflow_store.write(batch) == set()
    assert await stored.workflow_store.write(batch) == set()  # its response was lost
    await parked(stored, parent, seen=2)
    assert not await is_due(stored)
    loaded = await stored.workflow_store.load(EVERY_TENANT, parent.workflow_id)
    assert loaded is not None
    assert loaded.state.child_ended_seen == 2
    await stored.write(parent, renamed())
    assert await stored.workflow_store.write([end(stored, children[2])]) == set()
    assert await is_due(stored)


async def test_the_statuses_of_sub_workflows_are_read_together(stored: Stored) -> None:
    parent = await stored.make()
    first, second, deleted = [await make_child(stored, parent) for _ in range(3)]
    assert await stored.workflow_store.write([end(stored, second), end(stored, deleted)]) == set()
    await stored.write(deleted, Cleanup("alice", cleanup_tasks=False))
    ids = [first.workflow_id, second.workflow_id, deleted.workflow_id, uuid4()]
    statuses = {first.workflow_id: WorkflowStatus.RUNNING, second.workflow_id: WorkflowStatus.CANCELLED}
    assert await stored.workflow_store.statuses(EVERY_TENANT, ids) == statuses
    assert await stored.workflow_store.statuses(TenantScope("t"), ids) == statuses
    assert await stored.workflow_store.statuses(TenantScope("u"), ids) == {}
    for scope in (EVERY_TENANT, TenantScope("t")):
        found = await stored.workflow_store.child_statuses(scope, parent.workflow_id, ids)
        assert (found.statuses, found.ends) == (statuses, 2)
    hidden = await stored.workflow_store.child_statuses(TenantScope("u"), parent.workflow_id, ids)
    assert (hidden.statuses, hidden.ends) == ({}, 0)


async def test_lists_have_sub_workflows_only_if_they_are_asked_for(stored: Stored) -> None:
    parent = await stored.make(LABELLED)
    child = await make_child(stored, parent, definition=LABELLED)
    reader = stored.here.reader
    several: list[dict[str, Any]] = [{}, {"labels": ("colour:red",)}, {"statuses": (WorkflowStatus.RUNNING,)}]
    for filters in [*several, {"name": "n"}]:
        for included, ids in ((False, {parent.workflow_id}), (True, {parent.workflow_id, child.workflow_id})):
            query = ListFilter(**filters, include_children=included)
            page = await reader.page(EVERY_TENANT, query)
            assert (set(page.versions), page.total) == (ids, len(ids))
            assert await reader.counts(EVERY_TENANT, query) == {WorkflowStatus.RUNNING: len(ids)}
            assert {each.id: each.parent for each in page.workflows or ()}.get(child.workflow_id) == (
                ParentLink(parent.workflow_id, "a", None, parent.workflow_id) if included else None
            )


async def test_an_end_of_a_parent_that_is_a_sub_workflow_itself_is_counted(stored: Stored) -> None:
    root = await stored.make()
    parent = await make_child(stored, root)
    link = ParentLink(parent.workflow_id, "a", None, root.workflow_id, 2)
    child = await make_child(stored, parent, link=link)
    batch = [end(stored, child), end(stored, parent)]
    assert await stored.workflow_store.write(batch) == set()
    await parked(stored, root)
    assert await is_due(stored)
    statuses = [await stored.workflow_store.load(EVERY_TENANT, each.workflow_id) for each in (child, parent)]
    assert {each.state.status for each in statuses if each is not None} == {WorkflowStatus.CANCELLED}


async def test_a_stored_end_keeps_the_rest_of_its_decision(stored: Stored) -> None:
    """Its statement writes all kinds of rows."""
    parent = await stored.make()
    child = await make_child(stored, parent, definition=LABELLED)
    decision = end(stored, child)
    decision.labels = {"colour": "blue"}
    assert await stored.workflow_store.write([decision]) == set()
    record = await stored.here.reader.get(EVERY_TENANT, child.workflow_id)
    assert record is not None
    assert (record.labels, record.status) == ({"colour": "blue"}, WorkflowStatus.CANCELLED)
    page = await stored.here.reader.page(EVERY_TENANT, ListFilter(statuses=(WorkflowStatus.RUNNING,)))
    assert list(page.versions) == [parent.workflow_id]
