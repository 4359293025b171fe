"""What the API reads: one workflow, pages of them, their events and tasks, each within its tenant's scope."""

from datetime import datetime
from itertools import product
from typing import Any
from uuid import UUID, uuid4

from msgspec import json, structs

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import EventType, ProviderType, StepStatus, WorkflowStatus
from stepwell.contract.tasks import Cost, CostSums, Money, Output
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    Cancel,
    Cleanup,
    RetryDue,
    Sending,
    Submitted,
    Succeeded,
)
from stepwell.lifecycle.model import Sent
from stepwell.lifecycle.preconditions import ReadVersion
from stepwell.lifecycle.records import WHOLE, StepAttempts, WorkflowParts, WorkflowRecord
from stepwell.rules.large_workflow_records import StepSnapshot
from stepwell.rules.list_records import ListFilter, TaskCursor, TaskFilter, WorkflowFilter
from support.database.stored_workflows import CHAIN, ME, Stored, dispatched, renamed
from support.workflows.definitions import body, draw, join


async def page(stored: Stored, scope: TenantScope = EVERY_TENANT, **wanted: object) -> tuple[list[UUID], int | None]:
    found = await stored.here.reader.page(scope, ListFilter(**wanted))  # type: ignore[arg-type]
    assert found.workflows is not None
    assert [record.id for record in found.workflows] == list(found.versions)
    return list(found.versions), found.total


async def finish(stored: Stored, handle: ActiveWorkflow, position: int, result: bytes = b"{}") -> UUID:
    """Let the step end well; the id of its task."""
    task_id = uuid4()
    await stored.write(handle, dispatched(position, task_id), Succeeded(position, task_id, result))
    return task_id


async def test_a_workflow_reads_as_it_was_stored(stored: Stored) -> None:
    handle = await stored.make()
    await finish(stored, handle, 0, b'{"f": 1.0}')
    record = await stored.here.reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(record, WorkflowRecord)
    assert record.state == handle.run.state
    assert (record.tenant, record.origin_instance, record.origin_zone, record.origin_reference) == (
        "t",
        "tests",
        "zone",
        "reference",
    )
    assert (record.config, record.total_steps) == ({"k": [1.0]}, 2)
    assert record.steps is not None
    first, second = record.steps
    assert first.state == handle.run.steps[0]
    assert (second.state.status, second.state.updated_at) == (StepStatus.PENDING, record.created_at)
    bare = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert bare is not None
    assert (bare.state, bare.summary, bare.steps) == (record.state, record.summary, None)


async def test_the_summary_names_the_step_that_has_run_longest_and_the_final_one(stored: Stored) -> None:
    handle = await stored.make(body(join("a"), join("b"), join("c", "a", "b")))
    await stored.write(handle, dispatched(1))
    await stored.write(handle, dispatched(0))
    record = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert record is not None
    assert (record.summary.current_step, record.summary.final_step_id) == ("b", "c")
    assert (record.summary.final_step_result, record.summary.errors, record.summary.cost) == (None, (), None)


async def test_the_summary_has_the_final_result_and_the_errors_in_the_order_of_the_definition(stored: Stored) -> None:
    one = await stored.make(body(join("a")))
    await finish(stored, one, 0, b'{"x": 1}')
    record = await stored.here.reader.get(EVERY_TENANT, one.workflow_id)
    assert record is not None
    assert (record.summary.final_step_result, record.state.status) == (b'{"x": 1}', WorkflowStatus.COMPLETED)
    two = await stored.make(body(join("a"), join("b"), config={"on_failure": "continue"}))
    for position, text in ((1, "second"), (0, "first")):
        task_id = uuid4()
        failed = AttemptFailed(position, task_id, text, retryable=False, provider_fault=False, jitter=0)
        await stored.write(two, dispatched(position, task_id), failed)
    record = await stored.here.reader.get(EVERY_TENANT, two.workflow_id)
    assert record is not None
    assert record.summary.errors == ("a: first", "b: second")


async def test_costs_are_summed_by_currency_and_what_nobody_has_priced_is_counted(stored: Stored) -> None:
    handle = await stored.make(body(*(draw(name) for name in "abcd")))
    costs = [Cost(0.1, "USD", "provider"), Cost(0.2, "USD", "settings"), Cost(2, "EUR", "provider"), None]
    for position, cost in enumerate(costs):
        task_id = uuid4()
        sent = Sent("flux", "aa", stored.clock.now())
        await stored.write(handle, dispatched(position, task_id), Sending(position, task_id, sent))
        await stored.write(handle, Submitted(position, task_id, f"job-{position}", {}))
        await stored.write(handle, Succeeded(position, task_id, b"{}", (), cost))
    record = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert record is not None
    assert record.summary.cost == CostSums((Money(2, "EUR"), Money(0.3, "USD")), 1)


async def test_a_step_has_the_provider_and_the_model_of_its_latest_attempt_and_the_cost_of_all(stored: Stored) -> None:
    handle = await stored.make(body(join("a"), draw("b"), draw("c")))
    await finish(stored, handle, 0)
    first, second = uuid4(), uuid4()
    for task_id, model in ((first, "flux"), (second, "flux-pro")):
        sent = Sent(model, "aa", stored.clock.now())
        await stored.write(handle, dispatched(1, task_id), Sending(1, task_id, sent))
        await stored.write(handle, Submitted(1, task_id, f"job-{model}", {}))
        if task_id is first:
            failed = AttemptFailed(1, task_id, "no", retryable=True, provider_fault=True, jitter=0)
            await stored.write(handle, structs.replace(failed, cost=Cost(0.1, "USD", "settings")))
            await stored.write(handle, RetryDue(1))
    await stored.write(handle, Succeeded(1, second, b"{}", (), Cost(0.2, "USD", "provider")))
    local, paid = str(ProviderType.LOCAL), CostSums((Money(0.3, "USD"),), 0)
    expected = [StepAttempts(), StepAttempts(local, "flux-pro", paid), StepAttempts()]
    reader, ids = stored.here.reader, (handle.workflow_id,)
    found = await reader.find(EVERY_TENANT, handle.workflow_id, WHOLE)
    assert isinstance(found, WorkflowRecord)
    assert [step.attempts for step in found.steps or ()] == expected
    assert [await reader.step(EVERY_TENANT, handle.workflow_id, name) for name in "abcd"] == [
        *(found.steps or ()),
        None,
    ]
    assert await reader.step(TenantScope("u"), handle.workflow_id, "a") is None
    listed = await reader.page(EVERY_TENANT, ListFilter())
    assert [[step.attempts for step in each.steps or ()] for each in listed.workflows or ()] == [expected]
    (snapshot,) = await reader.snapshot(EVERY_TENANT, ids, WHOLE)
    states = json.decode(snapshot.states[0], type=list[StepSnapshot])
    assert [state.attempts for state in states] == expected


async def test_the_version_changes_with_each_write(stored: Stored) -> None:
    handle = await stored.make()
    versions = [await stored.here.reader.version(TenantScope("t"), handle.workflow_id)]
    await stored.write(handle, renamed())
    versions.append(await stored.here.reader.version(TenantScope("t"), handle.workflow_id))
    state = handle.run.state
    assert versions[0] != versions[1] == ReadVersion.of(state, None)
    assert await stored.here.reader.version(TenantScope("u"), handle.workflow_id) is None


async def test_the_owner_of_a_workflow_is_its_tenant(stored: Stored) -> None:
    handle, reader = await stored.make(), stored.here.reader
    for scope in (EVERY_TENANT, TenantScope("t")):
        assert await reader.owner(scope, handle.workflow_id) == TenantScope("t")
    assert await reader.owner(TenantScope("u"), handle.workflow_id) is None
    assert await reader.owner(EVERY_TENANT, uuid4()) is None


async def test_pages_are_newest_first_and_count_all_that_match(stored: Stored) -> None:
    ids = [(await stored.make()).workflow_id for _ in range(5)][::-1]
    assert await page(stored) == (ids, 5)
    assert await page(stored, limit=2) == (ids[:2], 5)
    assert await page(stored, limit=2, skip=4) == (ids[4:], 5)
    assert await page(stored, limit=0) == ([], 5)
    assert await page(stored, skip=9) == ([], 5)


async def test_pages_keep_to_the_scope_and_the_filters(stored: Stored) -> None:
    running, pending = await stored.make(), await stored.make(owner=None)
    nobodys, deleted = await stored.make(tenant=None), await stored.make(owner=None)
    await stored.write(deleted, Cleanup("alice", cleanup_tasks=False))
    t, u, nobody = TenantScope("t"), TenantScope("u"), TenantScope()
    assert await page(stored, t) == ([pending.workflow_id, running.workflow_id], 2)
    assert await page(stored, u) == ([], 0)
    assert await page(stored, nobody) == ([nobodys.workflow_id], 1)
    assert await page(stored, t, statuses=(WorkflowStatus.RUNNING,)) == ([running.workflow_id], 1)
    assert await page(stored, origin_tenant_id="t") == ([pending.workflow_id, running.workflow_id], 2)
    assert await page(stored, origin_instance="elsewhere") == ([], 0)
    assert (await page(stored, t, include_deleted=True))[1] == 3
    found = await stored.here.reader.page(t, ListFilter(parts=WorkflowParts(steps=False)))
    assert [record.steps for record in found.workflows or ()] == [None, None]
    found = await stored.here.reader.page(t, ListFilter())
    assert [len(record.steps or ()) for record in found.workflows or ()] == [2, 2]


async def test_pages_keep_to_each_further_filter(stored: Stored) -> None:
    definitions = [
        body(join("x"), labels={"team": "a", "env": "x:y"}),
        body(join("x"), labels={"team": "a"}),
        body(join("x"), labels={"team": "ab"}),
    ]
    one, two, three = [await stored.make(each, owner=None) for each in definitions]
    await stored.write(two, renamed("Spring 50%_\\x"))
    ids = [handle.workflow_id for handle in (three, two, one)]
    first, second = [await created_at(stored, handle) for handle in (one, two)]
    cases: list[tuple[dict[str, Any], list[UUID]]] = [
        ({"labels": ("team:a",)}, ids[1:]),
        ({"labels": ("team:a", "env:x:y")}, ids[2:]),
        ({"labels": ("team:a", "team:ab")}, []),
        ({"labels": ("env:x",)}, []),
        ({"name": "sPRing 50%_\\"}, ids[1:2]),
        ({"name": "pring"}, []),
        ({"name": "spring 50_"}, []),
        ({"name": "%"}, []),
        ({"origin_zone": "zone"}, ids),
        ({"origin_zone": "Zone"}, []),
        ({"origin_reference": "reference"}, ids),
        ({"origin_reference": "refer"}, []),
        ({"created_after": first}, ids[:2]),
        ({"created_before": second}, ids[2:]),
        ({"created_after": first, "created_before": second}, []),
        ({"statuses": (WorkflowStatus.PENDING, WorkflowStatus.FAILED)}, ids),
        ({"statuses": (WorkflowStatus.RUNNING, WorkflowStatus.FAILED)}, []),
        ({"labels": ("team:a",), "name": "n", "statuses": (WorkflowStatus.PENDING,)}, ids[2:]),
    ]
    for wanted, expected in cases:
        assert await page(stored, **wanted) == (expected, len(expected)), wanted
        counts = await stored.here.reader.counts(EVERY_TENANT, WorkflowFilter(**wanted))
        assert counts == ({WorkflowStatus.PENDING: len(expected)} if expected else {}), wanted
        assert await page(stored, TenantScope("u"), **wanted) == ([], 0)


async def test_pages_by_place_contain_every_workflow_once_in_either_order(stored: Stored) -> None:
    ids = [(await stored.make(body(join("x"), labels={"a": "1"}))).workflow_id for _ in range(5)][::-1]
    for oldest_first, labels in product((False, True), ((), ("a:1",))):
        seen, after = list[UUID](), None
        while True:
            query = ListFilter(limit=2, after=after, oldest_first=oldest_first, labels=labels, count=False)
            found = await stored.here.reader.page(EVERY_TENANT, query)
            assert found.total is None
            seen += found.versions
            if (after := found.last) is None:
                break
        assert seen == (ids[::-1] if oldest_first else ids)
    start = (await stored.here.reader.page(EVERY_TENANT, ListFilter(limit=2))).last
    assert await page(stored, after=start, skip=1) == (ids[3:], 5)


async def created_at(stored: Stored, handle: ActiveWorkflow) -> datetime:
    record = await stored.here.reader.get(EVERY_TENANT, handle.workflow_id)
    assert record is not None
    return record.created_at


async def test_events_come_by_their_numbers(stored: Stored) -> None:
    handle = await stored.make()
    await stored.write(handle, dispatched())

    async def events(after: int, limit: int, scope: TenantScope = EVERY_TENANT) -> list[int] | None:
        found = await stored.here.reader.events(scope, handle.workflow_id, after, limit)
        return None if found is None else [event.id for event in found]

    assert await events(0, 10) == [1, 2, 3]
    assert await events(1, 1) == [2]
    assert await events(3, 10) == []
    assert await events(10**12, 10) == []
    assert await events(0, 10, TenantScope("u")) is None
    assert await stored.here.reader.events(EVERY_TENANT, uuid4(), 0, 10) is None
    types = frozenset({EventType.WORKFLOW_STARTED, EventType.WORKFLOW_FAILED})
    of_types = await stored.here.reader.events(EVERY_TENANT, handle.workflow_id, 0, 10, types) or ()
    assert [event.type for event in of_types] == [EventType.WORKFLOW_STARTED]
    (first, *_) = await stored.here.reader.events(EVERY_TENANT, handle.workflow_id, 0, 1) or ()
    assert (first.type, first.actor, first.step_id) == (EventType.WORKFLOW_CREATED, "alice", None)


async def test_tasks_come_by_step_and_attempt_and_leave_out_what_cleanup_has_deleted(stored: Stored) -> None:
    handle = await stored.make()
    first, second = uuid4(), uuid4()
    failed = AttemptFailed(0, first, "no", retryable=True, provider_fault=False, jitter=0)
    await stored.write(handle, dispatched(0, first), failed)
    await stored.write(handle, Cancel("alice"))
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    reader = stored.here.reader

    async def tasks(*, include_deleted: bool) -> list[tuple[UUID, str, bool]]:
        found = await reader.tasks(EVERY_TENANT, handle.workflow_id, include_deleted=include_deleted)
        return [(each.task.id, each.step_id, each.deleted_at is not None) for each in found or ()]

    assert await tasks(include_deleted=False) == [(first, "a", False)]
    await stored.here.cleanups.settle(ME, handle.workflow_id, [first], 0, 0)
    assert await tasks(include_deleted=False) == []
    assert await tasks(include_deleted=True) == [(first, "a", True)]
    assert await reader.tasks(TenantScope("u"), handle.workflow_id, include_deleted=True) is None
    assert await reader.task(TenantScope("u"), first) is None
    assert await reader.task(EVERY_TENANT, second) is None
    deleted = await reader.task(TenantScope("t"), first)
    assert deleted is not None
    assert deleted.deleted_at is not None


async def test_tasks_can_be_read_in_slices_of_a_number_and_a_size(stored: Stored) -> None:
    reader, handle = stored.here.reader, await stored.make(body(join("a"), join("b"), join("c")))
    a, b, c = [await finish(stored, handle, position) for position in range(3)]

    async def ids_in_slices(count: int, max_bytes: int, step_id: str | None = None) -> list[list[UUID]]:
        read, after = list[list[UUID]](), None
        while True:
            query = TaskFilter(count, max_bytes, after, include_deleted=True, step_id=step_id)
            slice_ = await reader.task_slice(EVERY_TENANT, handle.workflow_id, query)
            assert slice_ is not None
            read.append([record.task.id for record in slice_.tasks])
            if not slice_.more:
                return read
            after = TaskCursor(slice_.tasks[-1].task.position, slice_.tasks[-1].task.attempt)

    assert await ids_in_slices(10, 10_000) == [[a, b, c]]
    assert await ids_in_slices(2, 10_000) == [[a, b], [c]]
    assert await ids_in_slices(10, 1_500) == [[a, b], [c]]
    assert await ids_in_slices(10, 1) == [[a], [b], [c]]
    assert [await ids_in_slices(10, 1, step_id) for step_id in ("b", "d")] == [[[b]], [[]]]
    assert await reader.task_slice(TenantScope("u"), handle.workflow_id, TaskFilter(1, 1, include_deleted=True)) is None


async def test_outputs_are_those_of_tasks_that_are_not_deleted(stored: Stored) -> None:
    handle, task_id = await stored.make(), uuid4()
    output = Output(f"media/{task_id}/x", 3, "ff")
    await stored.write(handle, dispatched(0, task_id), Succeeded(0, task_id, b"{}", (output,)))
    reader = stored.here.reader
    assert await reader.stored_outputs(TenantScope("t"), [task_id, uuid4()]) == {output.path}
    assert await reader.stored_outputs(TenantScope("u"), [task_id]) == set()
    await stored.write(handle, Cancel("alice"))
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    await stored.here.cleanups.settle(ME, handle.workflow_id, [task_id], 1, 0)
    assert await reader.stored_outputs(EVERY_TENANT, [task_id]) == set()


async def test_the_files_that_other_workflows_name_are_known(stored: Stored) -> None:
    task_id, other = uuid4(), uuid4()
    naming = body(join("a", config={"of": f"media/{task_id}/image.png"}))
    own, first = await stored.make(naming), await stored.make(naming)
    await stored.make(CHAIN)
    reader = stored.here.reader
    references = await reader.references_to(EVERY_TENANT, own.workflow_id, [task_id, other])
    assert references == {task_id: first.workflow_id}
    lowest = min(own.workflow_id, first.workflow_id)
    assert await reader.references_to(TenantScope("t"), uuid4(), [task_id]) == {task_id: lowest}
    assert await reader.references_to(TenantScope("u"), uuid4(), [task_id]) == {}
