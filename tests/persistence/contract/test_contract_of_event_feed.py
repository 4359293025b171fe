"""The events of all workflows in one order, read in pages by cursors."""

from uuid import uuid4

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import EventType, WorkflowStatus
from stepwell.lifecycle.inputs import Cancel
from stepwell.rules.event_feed import BEGINNING, EVERYTHING, FeedCursor, FeedFilter
from support.database.stored_workflows import Stored, dispatched, renamed

Event = tuple[int, int]  # a workflow's id as a number, and the number of the event


async def read(
    stored: Stored,
    scope: TenantScope = EVERY_TENANT,
    wanted: FeedFilter = EVERYTHING,
    after: FeedCursor = BEGINNING,
    limit: int = 2,
) -> tuple[list[Event], FeedCursor]:
    """All that is behind *after*, page by page; and the cursor behind it."""
    events: list[Event] = []
    while True:
        page = await stored.here.feed.page(scope, wanted, after, limit)
        assert len(page.events) <= limit
        assert page.position >= after
        events += [(each.workflow_id.int, each.event.id) for each in page.events]
        after = page.position
        if not page.more:
            assert not page.lagging
            return events, after


async def test_events_come_in_the_order_of_their_transactions(stored: Stored) -> None:
    one, two = await stored.make(), await stored.make(owner=None)
    await stored.write(two, renamed())
    await stored.write(one, renamed())
    first, second = one.workflow_id.int, two.workflow_id.int
    expected = [(first, 1), (first, 2), (second, 1), (second, 2), (first, 3)]
    assert (await read(stored))[0] == expected
    assert (await read(stored, limit=100))[0] == expected


async def test_within_a_transaction_they_come_by_workflow_and_number(stored: Stored) -> None:
    workflows = [await stored.make() for _ in range(4)]
    _, after = await read(stored)
    assert (
        await stored.workflow_store.write([stored.decide(handle, dispatched(), renamed()) for handle in workflows])
        == set()
    )
    ids = sorted(handle.workflow_id.int for handle in workflows)
    assert (await read(stored, after=after))[0] == [(each, number) for each in ids for number in (3, 4)]


async def test_a_cursor_leads_on_from_where_it_was(stored: Stored) -> None:
    one = await stored.make()
    seen, after = await read(stored)
    assert (await read(stored, after=after))[0] == []
    await stored.write(one, renamed())
    later, _ = await read(stored, after=after)
    assert (len(seen), later) == (2, [(one.workflow_id.int, 3)])


async def test_the_end_of_the_feed_is_behind_all_events_that_can_be_read(stored: Stored) -> None:
    one = await stored.make()
    now = await stored.here.feed.end()
    assert (await read(stored, after=now))[0] == []
    await stored.write(one, renamed())
    assert (await read(stored, after=now))[0] == [(one.workflow_id.int, 3)]


async def test_a_scope_and_a_filter_leave_out_the_rest(stored: Stored) -> None:
    running, nobodys = await stored.make(), await stored.make(tenant=None)
    cancelled = await stored.make()
    await stored.write(cancelled, Cancel("alice"))
    three = [running.workflow_id.int, nobodys.workflow_id.int, cancelled.workflow_id.int]
    started = FeedFilter(frozenset({EventType.WORKFLOW_STARTED}))
    assert (await read(stored, wanted=started))[0] == [(each, 2) for each in three]
    assert (await read(stored, TenantScope("t"), started))[0] == [(three[0], 2), (three[2], 2)]
    assert (await read(stored, TenantScope(), started))[0] == [(three[1], 2)]
    assert (await read(stored, TenantScope("u")))[0] == []
    of_cancelled = FeedFilter(status=WorkflowStatus.CANCELLED)
    assert (await read(stored, wanted=of_cancelled))[0] == [
        (three[2], number) for number in range(1, cancelled.run.state.last_event + 1)
    ]
    assert (await read(stored, wanted=FeedFilter(origin_instance="elsewhere")))[0] == []


async def test_an_event_has_the_workflows_present_status(stored: Stored) -> None:
    handle = await stored.make()
    await stored.write(handle, Cancel("alice"))
    page = await stored.here.feed.page(EVERY_TENANT, EVERYTHING, FeedCursor.before(1), 1)
    (event,) = page.events
    assert (event.event.type, event.status) == ("workflow.created", WorkflowStatus.CANCELLED)
    assert (event.tenant, event.origin_instance) == ("t", "tests")


async def test_a_history_is_of_one_moment(stored: Stored) -> None:
    handle = await stored.make()
    await stored.write(handle, dispatched())
    feed = stored.here.feed
    page = await feed.history(TenantScope("t"), handle.workflow_id, 1, 1)
    assert page is not None
    assert ([event.id for event in page.events], page.status, page.last_event) == ([2], WorkflowStatus.RUNNING, 3)
    behind = await feed.history(EVERY_TENANT, handle.workflow_id, 3, 10)
    assert behind is not None
    assert (list(behind.events), behind.last_event) == ([], 3)
    assert await feed.history(TenantScope("u"), handle.workflow_id, 0, 10) is None
    assert await feed.history(EVERY_TENANT, uuid4(), 0, 10) is None


async def test_the_numbers_of_last_events_are_returned(stored: Stored) -> None:
    one, two = await stored.make(), await stored.make(owner=None)
    ids = [one.workflow_id, two.workflow_id, uuid4()]
    assert await stored.here.feed.last_events(EVERY_TENANT, ids) == {one.workflow_id: 2, two.workflow_id: 1}
    assert await stored.here.feed.last_events(TenantScope("u"), ids) == {}
    assert await stored.here.feed.last_events(EVERY_TENANT, []) == {}


async def test_events_of_this_server_are_not_taken_for_restored_ones(stored: Stored) -> None:
    await stored.make()
    assert await stored.here.feed.renumber_restored() is False
