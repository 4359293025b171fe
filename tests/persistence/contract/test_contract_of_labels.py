"""Labels are stored with their workflow, and replaced together with it."""

from uuid import UUID

from msgspec.structs import replace

from stepwell.basics.idempotency import KeyState
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.definition import WorkflowUpdate
from stepwell.lifecycle.inputs import Update
from stepwell.lifecycle.records import WHOLE, WorkflowRecord
from stepwell.rules.list_records import ListFilter
from support.database.stored_workflows import Stored
from support.workflows.definitions import body, join

LABELS = {"b": "2:3", "a/b": "", "a": "é"}


async def labels_of(stored: Stored, workflow_id: UUID) -> list[tuple[str, str]]:
    """The labels as each way of reading returns them, in their order."""
    reader = stored.here.reader
    page = await reader.page(EVERY_TENANT, ListFilter())
    (listed,) = [each for each in page.workflows or () if each.id == workflow_id]
    (large,) = await reader.snapshot(EVERY_TENANT, [workflow_id], WHOLE)
    found = await reader.find(EVERY_TENANT, workflow_id, WHOLE)
    assert isinstance(found, WorkflowRecord)
    bare = await reader.get(EVERY_TENANT, workflow_id)
    assert bare is not None
    (labels,) = {tuple(record.labels.items()) for record in (listed, large.record, found, bare)}
    return list(labels)


def relabelled(labels: dict[str, str] | None) -> Update:
    return Update("alice", WorkflowUpdate(labels=labels))


async def test_labels_are_read_in_the_order_of_their_keys(stored: Stored) -> None:
    handle = await stored.make(body(join("x"), labels=LABELS))
    other = await stored.make()
    assert await labels_of(stored, handle.workflow_id) == [("a", "é"), ("a/b", ""), ("b", "2:3")]
    assert await labels_of(stored, other.workflow_id) == []


async def test_new_labels_replace_all_others_of_their_workflow_only(stored: Stored) -> None:
    handle, other = await stored.make(body(join("x"), labels=LABELS)), await stored.make(body(join("x"), labels=LABELS))
    await stored.write(handle, relabelled({"a": "é", "b": "new", "c": "3"}))
    assert await labels_of(stored, handle.workflow_id) == [("a", "é"), ("b", "new"), ("c", "3")]
    await stored.write(handle, Update("alice", WorkflowUpdate(name="m")))
    assert await labels_of(stored, handle.workflow_id) == [("a", "é"), ("b", "new"), ("c", "3")]
    await stored.write(handle, relabelled({"z": "1"}), relabelled(None))
    assert await labels_of(stored, handle.workflow_id) == []
    assert len(await labels_of(stored, other.workflow_id)) == 3


async def test_labels_of_a_decision_that_came_too_late_are_not_written(stored: Stored) -> None:
    handle = await stored.make(body(join("x"), labels=LABELS))
    late = stored.decide(handle, relabelled({"late": "1"}))
    late.epoch += 1
    assert await stored.workflow_store.write([late]) == {handle.workflow_id}
    assert len(await labels_of(stored, handle.workflow_id)) == 3


async def test_a_create_with_an_idempotency_key_stores_its_labels(stored: Stored) -> None:
    token = UUID(int=7)
    state = await stored.here.keys.claim(TenantScope("t"), "k", token, b"f")
    handle, new = stored.draft(body(join("x"), labels={"a": "1"}), "t", None)
    assert isinstance(state, KeyState)
    await stored.workflow_store.insert(EVERY_TENANT, replace(new, claim=state.claim))
    assert await labels_of(stored, handle.workflow_id) == [("a", "1")]
