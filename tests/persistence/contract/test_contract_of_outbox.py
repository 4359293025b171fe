"""Webhooks: written with the decision that they tell of, sent by one process at a time, in the order of their times."""

from datetime import timedelta
from uuid import uuid4

import pytest

from stepwell.basics.errors import NotFound, PreconditionFailed, StillRunning
from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import DeliveryStatus
from stepwell.contract.events import DeliveryAttemptPublic
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.inputs import Cancel
from stepwell.lifecycle.preconditions import NO_PRECONDITIONS, Preconditions, Version
from stepwell.lifecycle.webhook_deliveries import DeliveryVerdict, DueDelivery
from support.database.stored_workflows import ME, OTHER, THIRD, Stored
from support.workflows.definitions import body, join

URL, LANE = "https://example.com/hook", "t@example.com"
T = TenantScope("t")


async def ended_with_webhook(stored: Stored, url: str = URL) -> ActiveWorkflow:
    """A workflow that has ended, and whose end a webhook tells."""
    handle = await stored.make(body(join("a")), webhook_url=url)
    await stored.write(handle, Cancel("alice"))
    return handle


async def due(stored: Stored, lane: str = LANE, limit: int = 10) -> list[DueDelivery]:
    return await stored.here.outbox.due(ME, [lane], limit)


async def test_a_delivery_is_due_at_the_time_of_its_event(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    assert (found.workflow_id, found.lane, found.url, found.tenant) == (handle.workflow_id, LANE, URL, "t")
    assert (found.tries, found.frozen, found.total_steps, found.origin_instance) == (0, False, 1, "tests")
    assert found.event is not None
    assert (found.event.id, found.event.type, found.next_at) == (found.event_id, "workflow.cancelled", found.event.at)


async def test_deliveries_come_by_lane_and_time_and_no_more_than_asked_for(stored: Stored) -> None:
    first, second, third = [await ended_with_webhook(stored) for _ in range(3)]
    other = await ended_with_webhook(stored, "https://example.org/")
    assert [each.workflow_id for each in await due(stored)] == [h.workflow_id for h in (first, second, third)]
    both = await stored.here.outbox.due(ME, ["t@example.org", LANE], 2)
    assert [each.workflow_id for each in both] == [h.workflow_id for h in (first, second, other)]
    assert await due(stored, "nowhere") == []
    assert await stored.here.outbox.due(OTHER, [LANE], 10) == []


async def test_a_body_is_stored_once_for_good(stored: Stored) -> None:
    await ended_with_webhook(stored)
    (found,) = await due(stored)
    outbox = stored.here.outbox
    assert await outbox.freeze(ME, found, None) is None
    assert await outbox.freeze(ME, found, "first") == "first"
    assert await outbox.freeze(ME, found, "second") == "first"
    assert await outbox.freeze(ME, found, None) == "first"
    assert (await due(stored))[0].frozen
    assert await outbox.freeze(OTHER, found, "third") is None, "it isn't another's"


async def test_an_attempt_that_failed_is_made_again_at_its_time(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    attempt = DeliveryAttemptPublic(stored.clock.now(), 500, 12, "busy")
    later = found.next_at + timedelta(seconds=5)
    verdict = DeliveryVerdict(DeliveryStatus.PENDING, 1, later)
    assert await stored.here.outbox.record(ME, found, verdict, attempt) == later
    (again,) = await due(stored)
    assert (again.tries, again.next_at) == (1, later)
    assert await stored.here.outbox.freeze(ME, found, "x") is None, "what was read before is out of date"
    (record,) = await stored.here.deliveries.page(T, handle.workflow_id, 0, 10) or []
    assert (record.status, record.next_at, record.attempts) == (DeliveryStatus.PENDING, later, [attempt])


async def test_a_delivery_that_got_a_response_is_not_due_any_more(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    attempt = DeliveryAttemptPublic(stored.clock.now(), 200, 12, "ok")
    assert await stored.here.outbox.record(ME, found, DeliveryVerdict(DeliveryStatus.DELIVERED, 1), attempt) is None
    assert await due(stored) == []
    (record,) = await stored.here.deliveries.page(T, handle.workflow_id, 0, 10) or []
    assert (record.status, record.next_at, len(record.attempts)) == (DeliveryStatus.DELIVERED, None, 1)


async def test_an_attempt_whose_response_was_lost_is_recorded_once(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    attempt = DeliveryAttemptPublic(stored.clock.now(), 200, 12, "ok")
    for _ in range(2):
        await stored.here.outbox.record(ME, found, DeliveryVerdict(DeliveryStatus.DELIVERED, 1), attempt)
    (record,) = await stored.here.deliveries.page(T, handle.workflow_id, 0, 10) or []
    assert record.attempts == [attempt]


async def test_the_newest_fifty_attempts_are_kept(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    attempts = [DeliveryAttemptPublic(stored.clock.now(), 500) for _ in range(53)]
    for number, attempt in enumerate(attempts, 1):
        (found,) = await due(stored)
        verdict = DeliveryVerdict(DeliveryStatus.PENDING, number, found.next_at + timedelta(seconds=1))
        await stored.here.outbox.record(ME, found, verdict, attempt)
    (record,) = await stored.here.deliveries.page(T, handle.workflow_id, 0, 10) or []
    assert list(record.attempts) == attempts[3:]


async def test_a_delivery_can_move_to_another_lane(stored: Stored) -> None:
    await ended_with_webhook(stored)
    (found,) = await due(stored)
    await stored.here.outbox.change_lane(OTHER, found, "t@elsewhere")
    assert len(await due(stored)) == 1, "it isn't another's"
    await stored.here.outbox.change_lane(ME, found, "t@elsewhere")
    assert (await due(stored), len(await due(stored, "t@elsewhere"))) == ([], 1)


async def test_the_backlog_is_what_is_still_to_be_sent(stored: Stored) -> None:
    assert tuple(await stored.here.outbox.backlog(ME)) == (0, None)
    await ended_with_webhook(stored)
    await ended_with_webhook(stored)
    first, second = await due(stored)
    assert tuple(await stored.here.outbox.backlog(ME)) == (2, first.next_at)
    await stored.here.outbox.record(ME, first, DeliveryVerdict(DeliveryStatus.STOPPED, 0), None)
    assert tuple(await stored.here.outbox.backlog(ME)) == (1, second.next_at)
    assert tuple(await stored.here.outbox.backlog(OTHER)) == (0, None)


@pytest.mark.parametrize(("lease", "taken"), [("60 s", 0), ("over", 1), ("never", 2), ("declared dead", 2)])
async def test_deliveries_that_dead_processes_have_left_are_taken_over(stored: Stored, lease: str, taken: int) -> None:
    """At once where a process is known to be dead; where its lease is over, once it hasn't done what is due."""
    await ended_with_webhook(stored)
    await ended_with_webhook(stored, "https://example.org/")
    (later,) = await due(stored, "t@example.org")
    at = stored.clock.now() + timedelta(hours=1)
    await stored.here.outbox.record(ME, later, DeliveryVerdict(DeliveryStatus.PENDING, 1, at), None)
    if lease != "never":
        await stored.leases.renew(ME, -1 if lease == "over" else 60)
    if lease == "declared dead":
        await stored.leases.expire_others(OTHER)
    there = (await stored.process(OTHER)).outbox
    lanes = await there.take_over(OTHER)
    assert sorted(lanes) == ["t@example.com", "t@example.org"][:taken]
    assert len(await there.due(OTHER, [LANE, "t@example.org"], 10)) == taken
    if taken == 2:
        assert lanes["t@example.org"] == at


async def test_a_process_is_needed_again_when_its_webhooks_are_due(stored: Stored) -> None:
    await ended_with_webhook(stored)
    (found,) = await due(stored)
    at = stored.clock.now() + timedelta(hours=1)
    await stored.here.outbox.record(ME, found, DeliveryVerdict(DeliveryStatus.PENDING, 1, at), None)
    await stored.leases.renew(ME, -1)
    expiry = await stored.leases.next_expiry(OTHER)
    assert expiry is not None
    assert 3_500 < expiry <= 3_600


async def test_a_redelivery_makes_it_due_now_for_the_process_that_was_asked(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    await stored.here.outbox.record(
        ME, found, DeliveryVerdict(DeliveryStatus.FAILED, 10), DeliveryAttemptPublic(stored.clock.now(), 500)
    )
    deliveries = (await stored.process(OTHER)).deliveries
    record = await deliveries.redeliver(T, handle.workflow_id, found.event_id, "t@new", OTHER, NO_PRECONDITIONS)
    assert (record.status, len(record.attempts)) == (DeliveryStatus.PENDING, 1)
    (again,) = await stored.here.outbox.due(OTHER, ["t@new"], 10)
    assert (again.tries, again.next_at) == (0, record.next_at)


async def test_a_redelivery_has_the_body_of_the_first_delivery(stored: Stored) -> None:
    """Even if one that is made now would say something else, because the workflow has changed."""
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    assert await stored.here.outbox.freeze(ME, found, "first") == "first"
    verdict, attempt = DeliveryVerdict(DeliveryStatus.DELIVERED, 1), DeliveryAttemptPublic(stored.clock.now(), 200)
    await stored.here.outbox.record(ME, found, verdict, attempt)
    await stored.here.deliveries.redeliver(T, handle.workflow_id, found.event_id, LANE, ME, NO_PRECONDITIONS)
    (again,) = await due(stored)
    assert again.frozen
    assert await stored.here.outbox.freeze(ME, again, "second") == "first"


async def test_a_redelivery_keeps_to_the_scope_and_its_terms(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    deliveries, event_id, state = stored.here.deliveries, found.event_id, handle.run.state
    for scope, workflow_id, number in (
        (TenantScope("u"), handle.workflow_id, event_id),
        (T, handle.workflow_id, 99),
        (T, uuid4(), event_id),
    ):
        with pytest.raises(NotFound):
            await deliveries.redeliver(scope, workflow_id, number, LANE, ME, NO_PRECONDITIONS)
        with pytest.raises(NotFound):
            await deliveries.address(scope, workflow_id, number)
    version = Version.of(state.last_event, state.updated_at)
    address = await deliveries.address(T, handle.workflow_id, event_id)
    assert (address.url, address.tenant, address.version) == (URL, "t", version)
    with pytest.raises(PreconditionFailed):
        await deliveries.redeliver(
            T, handle.workflow_id, event_id, LANE, ME, Preconditions(if_match=frozenset({Version(1, 1)}))
        )
    await deliveries.redeliver(T, handle.workflow_id, event_id, LANE, ME, Preconditions(if_match=frozenset({version})))


async def test_a_redelivery_marks_its_key_once(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    (found,) = await due(stored)
    await stored.leases.renew(ME, 60)
    claim = (await stored.here.keys.claim(T, "k", THIRD, b"f")).claim
    renewal = (T, handle.workflow_id, found.event_id, LANE, ME, Preconditions(claim))
    await stored.here.deliveries.redeliver(*renewal)
    with pytest.raises(StillRunning):
        await stored.here.deliveries.redeliver(*renewal)
    repeated = await stored.here.keys.claim(T, "k", uuid4(), b"f")
    assert repeated.applied_to == handle.workflow_id


async def test_deliveries_are_listed_by_the_numbers_of_their_events(stored: Stored) -> None:
    handle = await ended_with_webhook(stored)
    last = handle.run.state.last_event
    deliveries = stored.here.deliveries
    (record,) = await deliveries.page(T, handle.workflow_id, last - 1, 10) or []
    assert (record.event_id, record.type) == (last, "workflow.cancelled")
    assert await deliveries.page(T, handle.workflow_id, last, 10) == []
    assert await deliveries.page(T, handle.workflow_id, 0, 0) == []
    assert await deliveries.page(TenantScope("u"), handle.workflow_id, 0, 10) is None
    assert await deliveries.page(EVERY_TENANT, uuid4(), 0, 10) is None
