"""`waits_for` of a workflow: what its steps, and those of its sub-workflows, wait for.

What must hold:
- It is the first of decision, signal and delay for which a step waits, in each way in which a workflow is read.
- It follows each wait: it changes when one begins or ends in any depth, and nowhere else.
- The version for the ETag changes with it, also if no row of the workflow does.
- A filter finds the workflows whose `waits_for` is that value, and counts them.
"""

from collections.abc import Mapping
from uuid import UUID, uuid4

import pytest

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import WaitKind, WaitsFor, WorkflowStatus
from stepwell.contract.reasons import StepAbove
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.child_records import ParentLink
from stepwell.lifecycle.inputs import Pause
from stepwell.lifecycle.model import NO_FLOW
from stepwell.lifecycle.records import WHOLE, WorkflowParts, WorkflowRecord
from stepwell.rules.list_records import ListFilter
from support.database.parked_workflows import begin_wait, end_wait
from support.database.stored_workflows import CHAIN, Stored
from support.database.sub_workflows import make_child

DECISION, SIGNAL, DELAY = WaitsFor


async def begin(stored: Stored, handle: ActiveWorkflow, kind: WaitsFor, position: int = 0) -> None:
    decision = begin_wait(handle, stored.clock.now(), position=position, kind=WaitKind(kind), wait_id=uuid4())
    assert await stored.workflow_store.write([decision]) == set()


async def end(stored: Stored, handle: ActiveWorkflow, position: int = 0) -> None:
    assert await stored.workflow_store.write([end_wait(handle, stored.clock.now(), b"{}", position)]) == set()


async def shown(stored: Stored, workflow_id: UUID) -> WaitsFor | None:
    """What the workflow waits for. All ways to read it agree."""
    reader = stored.here.reader
    record = await reader.get(EVERY_TENANT, workflow_id)
    version = await reader.version(EVERY_TENANT, workflow_id)
    assert record is not None
    assert version is not None
    values = [record.summary.waits_for, version.waits_for]
    for parts in (WHOLE, WorkflowParts(steps=False)):
        found = await reader.find(EVERY_TENANT, workflow_id, parts)
        assert isinstance(found, WorkflowRecord)
        (snapshot,) = await reader.snapshot(EVERY_TENANT, (workflow_id,), parts)
        page = await reader.page(EVERY_TENANT, ListFilter(include_children=True, parts=parts))
        listed = next(each for each in page.workflows or () if each.id == workflow_id)
        values += [each.summary.waits_for for each in (found, snapshot.record, listed)]
        values.append(page.versions[workflow_id].waits_for)
    assert len(set(values)) == 1
    return values[0]


async def filtered(stored: Stored, **query: object) -> Mapping[WaitsFor, set[UUID]]:
    found: dict[WaitsFor, set[UUID]] = {}
    for kind in WaitsFor:
        wanted = ListFilter(waits_for=kind, **query)  # type: ignore[arg-type]
        page, counts = await stored.here.reader.page(EVERY_TENANT, wanted), None
        counts = await stored.here.reader.counts(EVERY_TENANT, wanted)
        assert sum(counts.values()) == page.total == len(page.versions)
        found[kind] = set(page.versions)
    return found


async def test_the_first_kind_of_its_waits_counts(stored: Stored) -> None:
    handle = await stored.make(CHAIN, has_flow=True)
    assert await shown(stored, handle.workflow_id) is None
    await begin(stored, handle, DELAY)
    assert await shown(stored, handle.workflow_id) is DELAY
    await begin(stored, handle, SIGNAL, 1)
    assert await shown(stored, handle.workflow_id) is SIGNAL
    await end(stored, handle)
    await begin(stored, handle, DECISION)
    assert await shown(stored, handle.workflow_id) is DECISION
    await end(stored, handle)
    await end(stored, handle, 1)
    assert await shown(stored, handle.workflow_id) is None


@pytest.mark.parametrize("kind", WaitsFor)
async def test_a_wait_counts_for_all_workflows_above_it_and_for_no_other(stored: Stored, kind: WaitsFor) -> None:
    root, other = await stored.make(CHAIN, has_flow=True), await stored.make(CHAIN, has_flow=True)
    middle = await make_child(stored, root, has_flow=True)
    link = ParentLink(middle.workflow_id, "a", None, root.workflow_id, 2)
    deep, sibling = (
        await make_child(stored, middle, link=link, has_flow=True),
        await make_child(stored, root, has_flow=True),
    )
    await begin(stored, deep, kind)
    for handle, expected in ((root, kind), (middle, kind), (deep, kind), (sibling, None), (other, None)):
        assert await shown(stored, handle.workflow_id) is expected
    assert (await filtered(stored))[kind] == {root.workflow_id}
    assert (await filtered(stored, include_children=True))[kind] == {each.workflow_id for each in (root, middle, deep)}
    await end(stored, deep)
    for handle in (root, middle, deep):
        assert await shown(stored, handle.workflow_id) is None
    assert (await filtered(stored, include_children=True))[kind] == set()


async def test_a_filter_finds_only_what_waits_for_nothing_that_comes_before(stored: Stored) -> None:
    made = [await stored.make(CHAIN, has_flow=True) for _ in range(3)]
    for handle, kinds in zip(made, ((DECISION, DELAY), (DELAY, SIGNAL), (DELAY,)), strict=True):
        for position, kind in enumerate(kinds):
            await begin(stored, handle, kind, position)
    child = await make_child(stored, made[2], has_flow=True, tenant="u")
    await begin(stored, child, SIGNAL)
    await stored.write(made[1], Pause("alice"))
    ids = [handle.workflow_id for handle in made]
    assert await filtered(stored) == {DECISION: {ids[0]}, SIGNAL: {ids[1], ids[2]}, DELAY: set()}
    assert await filtered(stored, include_children=True) == {
        DECISION: {ids[0]},
        SIGNAL: {ids[1], ids[2], child.workflow_id},
        DELAY: set(),
    }
    assert (await filtered(stored, statuses=(WorkflowStatus.PAUSED,)))[SIGNAL] == {ids[1]}
    page = await stored.here.reader.page(TenantScope("other"), ListFilter(waits_for=SIGNAL))
    assert page.total == 0


async def test_the_waits_below_a_workflow_are_named_by_the_step_that_leads_to_them(stored: Stored) -> None:
    root, reader = await stored.make(CHAIN, has_flow=True), stored.here.reader
    link = ParentLink(root.workflow_id, "a", 3, root.workflow_id)
    middle, other = await make_child(stored, root, link=link), await make_child(stored, root)
    link = ParentLink(middle.workflow_id, "b", None, root.workflow_id, 2)
    deep = await make_child(stored, middle, link=link)
    await begin(stored, root, DECISION)
    await begin(stored, other, DELAY)
    await begin(stored, deep, SIGNAL)
    await begin(stored, deep, DECISION, 1)
    found = await reader.waits_below(EVERY_TENANT, root.workflow_id, 2)
    assert [(each.workflow_id, each.step_id, each.wait.kind) for each in found] == [
        (deep.workflow_id, "b", WaitKind.DECISION),
        (deep.workflow_id, "a", WaitKind.SIGNAL),
    ]
    assert [each.above for each in found] == [[StepAbove("a", 3), StepAbove("b", None)]] * 2
    wait = (deep.run.steps[1].flow or NO_FLOW).wait
    assert wait is not None
    assert (found[0].wait.id, found[0].wait.until, found[0].wait.choices) == (wait.id, wait.until, wait.choices)
    assert len(await reader.waits_below(TenantScope("t"), root.workflow_id, 3)) == 3
    (below_middle,) = await reader.waits_below(EVERY_TENANT, middle.workflow_id, 1)
    assert below_middle.above == [StepAbove("b", None)]
    assert await reader.waits_below(TenantScope("other"), root.workflow_id, 2) == []
    assert await reader.waits_below(EVERY_TENANT, deep.workflow_id, 2) == []
