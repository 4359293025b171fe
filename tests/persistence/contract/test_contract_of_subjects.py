"""What a subject reads: only the workflows that it has created, whichever call reads them."""

from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from stepwell.basics.tenancy import EVERY_TENANT, FileScope, TenantScope
from stepwell.contract.tasks import Output
from stepwell.lifecycle.inputs import Succeeded
from stepwell.lifecycle.records import WHOLE
from stepwell.rules.costs import CostQuery
from stepwell.rules.event_feed import EVERYTHING, FeedCursor
from stepwell.rules.list_records import ItemFilter, ListFilter, WorkflowFilter
from support.database.stored_workflows import Stored, dispatched
from support.workflows.definitions import body, join

DEFINITION = body(join("a", for_each={"items": [1]}), join("b"), inputs={"x": 1})
MOST = 10**6


class Read:
    """The calls of the ports about one workflow and one task of it, by name: each tells whether it has found any."""

    def __init__(self, stored: Stored, workflow_id: UUID, task_id: UUID) -> None:
        self._stored, self._id, self._task = stored, workflow_id, task_id

    async def found(self, scope: TenantScope) -> dict[str, bool]:
        return {name: bool(await call) for name, call in self._calls(scope).items()}

    def _calls(self, scope: TenantScope) -> dict[str, Awaitable[Any]]:
        reader, store, one = self._stored.here.reader, self._stored.workflow_store, self._id
        items = ItemFilter("a")

        async def nonempty(call: Awaitable[Any], of: Callable[[Any], Any]) -> bool:
            return bool(of(await call))

        return {
            "get": reader.get(scope, one),
            "find": reader.find(scope, one, WHOLE),
            "size": reader.size(scope, [one], WHOLE, MOST),
            "snapshot": reader.snapshot(scope, [one], WHOLE),
            "step_slice": reader.step_slice(scope, one, WHOLE, 0, 5, MOST),
            "inputs": nonempty(reader.inputs(scope, one), lambda found: found.inputs),
            "step": reader.step(scope, one, "b"),
            "step_at": reader.step_at(scope, one, 1),
            "item_slice": reader.item_slice(scope, one, items, 5, MOST),
            "version": reader.version(scope, one),
            "owner": reader.owner(scope, one),
            "page": nonempty(reader.page(scope, ListFilter(limit=5)), lambda page: page.versions),
            "counts": reader.counts(scope, WorkflowFilter()),
            "events": reader.events(scope, one, 0, 5),
            "tasks": reader.tasks(scope, one, include_deleted=True),
            "outputs": reader.outputs(scope, one, None, 5),
            "task": reader.task(scope, self._task),
            "ownership": reader.ownership(scope, one),
            "stored_outputs": reader.stored_outputs(scope, [self._task]),
            "load": store.load(scope, one),
            "statuses": store.statuses(scope, [one]),
            "results": store.results(scope, {one: [1]}),
            "history": self._stored.here.feed.history(scope, one, 0, 5),
            "last_events": self._stored.here.feed.last_events(scope, [one]),
        }


@pytest.mark.parametrize("tenant", ["t", None])
async def test_only_the_subject_that_has_created_a_workflow_finds_it(stored: Stored, tenant: str | None) -> None:
    handle, task_id = await stored.make(DEFINITION, tenant=tenant), uuid4()
    output = Output(f"media/{task_id}/x", 3, "ff")
    await stored.write(handle, dispatched(1, task_id), Succeeded(1, task_id, b"{}", (output,)))
    read = Read(stored, handle.workflow_id, task_id)
    assert all((await read.found(TenantScope(tenant))).values())
    assert all((await read.found(TenantScope(tenant, subject="alice"))).values())
    for scope in (TenantScope(tenant, subject="bob"), TenantScope("u", subject="alice")):
        assert not any((await read.found(scope)).values()), await read.found(scope)


async def test_a_subject_finds_nothing_in_what_is_about_a_tenant(stored: Stored) -> None:
    """Neither the feed of all events nor the sums of costs say who has created a workflow."""
    await stored.make(DEFINITION)
    of_alice = TenantScope("t", subject="alice")
    assert await stored.here.reader.costs(of_alice, CostQuery(limit=5)) == []
    assert (await stored.here.feed.page(of_alice, EVERYTHING, FeedCursor.before(0), 5)).events == []


@pytest.mark.parametrize("named", [None, (), ("media/a/x.png",)])
async def test_the_files_that_a_run_may_read_are_stored_with_it(stored: Stored, named: tuple[str, ...] | None) -> None:
    handle, new = stored.draft(DEFINITION, "t", None)
    await stored.workflow_store.insert(EVERY_TENANT, structs.replace(new, named_files=named))
    loaded = await stored.workflow_store.load(EVERY_TENANT, handle.workflow_id)
    assert loaded is not None
    limited = FileScope("t", "alice", handle.workflow_id, frozenset(named or ()))
    assert loaded.files == (FileScope("t") if named is None else limited)
