"""Sums of costs: each attempt's cost counts once, on the day on which the attempt ended, and for good."""

from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import CancelReceipt, CostKey
from stepwell.contract.tasks import Cost, Money
from stepwell.engine.execution.active_workflow import ActiveWorkflow
from stepwell.lifecycle.effects import CheckReuse
from stepwell.lifecycle.inputs import (
    AttemptFailed,
    Cancel,
    Cleanup,
    FollowUpEnded,
    Resume,
    RetryDue,
    ReuseChecked,
    Sending,
    Submitted,
    Succeeded,
)
from stepwell.lifecycle.model import Reused, ReuseRule, Sent, UnitKey
from stepwell.rules.costs import CostQuery, CostSum, ExpiredCosts
from support.database.stored_workflows import ME, OTHER, Stored, dispatched
from support.database.sub_workflows import make_child
from support.workflows.definitions import body, draw

PROVIDER, MODEL, TENANT, DAY = CostKey.PROVIDER, CostKey.MODEL, CostKey.TENANT, CostKey.DAY


async def sums(stored: Stored, *by: CostKey, scope: TenantScope = EVERY_TENANT, **wanted: Any) -> list[tuple[Any, ...]]:
    found = await stored.here.reader.costs(scope, CostQuery(by=by, **{"limit": 100, **wanted}))
    return [(*each.keys, each.currency, each.amount, each.attempts) for each in found]


async def submit(stored: Stored, handle: ActiveWorkflow, position: int = 0, model: str = "flux") -> UUID:
    """Begin an attempt that has a job at its provider."""
    task_id = uuid4()
    sent = Sent(model, "aa", stored.clock.now())
    await stored.write(handle, dispatched(position, task_id), Sending(position, task_id, sent))
    await stored.write(handle, Submitted(position, task_id, f"job {task_id}", {}))
    return task_id


async def spend(
    stored: Stored, handle: ActiveWorkflow, position: int, amount: float, currency: str = "USD", model: str = "flux"
) -> None:
    """Complete the step by an attempt of this cost."""
    task_id = await submit(stored, handle, position, model)
    await stored.write(handle, Succeeded(position, task_id, b"{}", (), Cost(amount, currency, "provider")))


async def test_costs_are_summed_by_currency_and_by_the_given_keys(stored: Stored) -> None:
    one = await stored.make(body(*(draw(name) for name in "abcd")))
    await spend(stored, one, 0, 0.1)
    await spend(stored, one, 1, 0.2, model="sdxl")
    await spend(stored, one, 2, 5, "EUR")
    other = await stored.make(body(draw("a")), tenant="u")
    await spend(stored, other, 0, 1_000_000_000_000.125)
    nobodys = await stored.make(body(draw("a")), tenant=None)
    await spend(stored, nobodys, 0, 1e-9)
    total = Decimal("1000000000000.425000001")
    assert await sums(stored) == [("EUR", 5, 1), ("USD", total, 4)]
    assert await sums(stored, limit=1) == [("EUR", 5, 1)]
    assert await sums(stored, MODEL, PROVIDER) == [
        ("flux", "LOCAL", "EUR", 5, 1),
        ("flux", "LOCAL", "USD", total - Decimal("0.2"), 3),
        ("sdxl", "LOCAL", "USD", Decimal("0.2"), 1),
    ]
    assert await sums(stored, TENANT) == [
        (None, "USD", Decimal("1e-9"), 1),
        ("t", "EUR", 5, 1),
        ("t", "USD", Decimal("0.3"), 2),
        ("u", "USD", Decimal("1000000000000.125"), 1),
    ]
    assert await sums(stored, scope=TenantScope("u")) == [("USD", Decimal("1000000000000.125"), 1)]
    assert await sums(stored, scope=TenantScope()) == [("USD", Decimal("1e-9"), 1)]
    assert await sums(stored, scope=TenantScope("another")) == []


async def test_costs_count_for_the_definition_of_the_run_at_the_top(stored: Stored) -> None:
    first, second = (DefinitionReference(name="photo-set", version=version) for version in (3, 30))
    parent = await stored.make(body(draw("a"), draw("b")), runs=first)
    child = await make_child(stored, parent, definition=body(draw("a")))
    await spend(stored, parent, 1, 1)
    await spend(stored, child, 0, 2)
    await spend(stored, await stored.make(body(draw("a")), runs=second), 0, 4)
    await spend(stored, await stored.make(body(draw("a"))), 0, 8)
    assert await sums(stored, CostKey.DEFINITION) == [(None, "USD", 8, 1), ("photo-set", "USD", 7, 3)]
    for text, expected in (
        ("photo-set", [(7, 3)]),
        ("photo-set@3", [(3, 2)]),
        ("photo-set@30", [(4, 1)]),
        ("photo", []),
    ):
        found = await sums(stored, definition=DefinitionReference.parse(text))
        assert found == [("USD", amount, attempts) for amount, attempts in expected]


async def test_costs_are_those_of_days_in_utc(stored: Stored) -> None:
    handle = await stored.make(body(draw("a")))
    await spend(stored, handle, 0, 2)
    today, one = stored.clock.now().date(), timedelta(days=1)
    assert await sums(stored, DAY) in ([(today, "USD", 2, 1)], [(today - one, "USD", 2, 1)])
    ((day, *_),) = await sums(stored, DAY)
    assert isinstance(day, date)
    assert await sums(stored, since=day, until=day + one) == [("USD", 2, 1)]
    assert await sums(stored, since=day + one) == []
    assert await sums(stored, until=day) == []


async def test_each_attempt_counts_and_work_without_a_known_cost_does_not(stored: Stored) -> None:
    handle = await stored.make(body(draw("a"), draw("b")))
    first = await submit(stored, handle)
    price = Cost(0.5, "USD", "settings")
    failed = AttemptFailed(0, first, "no", retryable=True, provider_fault=True, jitter=0, cost=price)
    await stored.write(handle, failed)
    await stored.write(handle, RetryDue(0))
    await spend(stored, handle, 0, 0)
    unknown = await submit(stored, handle, 1)
    await stored.write(handle, Succeeded(1, unknown, b"{}"))
    assert await sums(stored) == [("USD", Decimal("0.5"), 2)]


async def test_a_cost_that_is_known_after_a_cancel_counts_once(stored: Stored) -> None:
    handle = await stored.make(body(draw("a")))
    task_id = await submit(stored, handle)
    await stored.write(handle, Cancel("alice"))
    assert await sums(stored) == []
    price = Cost(0.5, "USD", "settings")
    ended = stored.decide(handle, FollowUpEnded(0, task_id, CancelReceipt.FINISHED_TOO_LATE, price))
    assert await stored.workflow_store.write([ended]) == set()
    # The response was lost, so the decision is written again.
    assert await stored.workflow_store.write([ended]) == set()
    assert await sums(stored) == [("USD", Decimal("0.5"), 1)]


@pytest.mark.parametrize("actual", [Cost(0.75, "USD", "provider"), Cost(3, "EUR", "provider")])
async def test_a_cost_that_changes_corrects_its_sum_also_to_another_currency(stored: Stored, actual: Cost) -> None:
    handle = await stored.make(body(draw("a")))
    task_id, estimate = await submit(stored, handle), Cost(0.5, "USD", "settings")
    late = AttemptFailed(
        0, task_id, "late", retryable=False, provider_fault=False, jitter=0, timed_out=True, cost=estimate
    )
    await stored.write(handle, late)
    assert await sums(stored) == [("USD", Decimal("0.5"), 1)]
    await stored.write(handle, FollowUpEnded(0, task_id, CancelReceipt.FINISHED_TOO_LATE, actual))
    assert await sums(stored) == [(actual.currency, Decimal(str(actual.amount)), 1)]


async def test_a_later_write_of_a_task_does_not_count_its_cost_again(stored: Stored) -> None:
    handle = await stored.make(body(draw("a")))
    task_id, price = await submit(stored, handle), Cost(0.5, "USD", "settings")
    late = AttemptFailed(
        0, task_id, "late", retryable=False, provider_fault=False, jitter=0, timed_out=True, cost=price
    )
    await stored.write(handle, late)
    await stored.write(handle, Submitted(0, task_id, "another job", {}))
    await stored.write(handle, Resume("alice", uuid4(), ME))
    await stored.write(handle, FollowUpEnded(0, task_id, CancelReceipt.UNKNOWN))
    assert await sums(stored) == [("USD", Decimal("0.5"), 1)]


async def test_what_a_fenced_process_writes_does_not_count(stored: Stored) -> None:
    handle = await stored.make(body(draw("a")), owner=OTHER)
    task_id = await submit(stored, handle)
    ended = stored.decide(handle, Succeeded(0, task_id, b"{}", (), Cost(0.5, "USD", "provider")))
    (claimed,) = await stored.claim(ME)
    assert await stored.workflow_store.write([ended]) == {handle.workflow_id}
    assert await sums(stored) == []
    assert claimed.state.id == handle.workflow_id
    mine = ActiveWorkflow(claimed)
    await stored.write(mine, dispatched(), Succeeded(0, task_id, b"{}", (), Cost(0.5, "USD", "provider")))
    assert await sums(stored) == [("USD", Decimal("0.5"), 1)]


async def test_the_sums_stay_when_the_workflow_is_cleaned_up(stored: Stored) -> None:
    handle = await stored.make(body(draw("a")))
    await spend(stored, handle, 0, 1)
    await stored.write(handle, Cleanup("alice", cleanup_tasks=True))
    tasks = await stored.here.reader.tasks(EVERY_TENANT, handle.workflow_id, include_deleted=True)
    await stored.here.cleanups.settle(ME, handle.workflow_id, [each.task.id for each in tasks or ()], 0, 0)
    assert await sums(stored) == [("USD", 1, 1)]


async def test_the_sums_of_days_that_are_due_are_deleted_in_batches(stored: Stored) -> None:
    costs = stored.here.daily_costs
    handle = await stored.make(body(*(draw(name) for name in "abc")))
    for position in range(3):
        await spend(stored, handle, position, 1, model=f"model {position}")
    days = [found for found, *_ in await sums(stored, DAY)]
    first, last = days[0], days[-1]
    assert await costs.expire(first, 2) == ExpiredCosts(0, first)
    assert len(await sums(stored, MODEL)) == 3
    assert await costs.expire(last + timedelta(days=1), 2) == ExpiredCosts(2, None)
    assert len(await sums(stored, MODEL)) == 1
    assert await costs.expire(last + timedelta(days=1), 2) == ExpiredCosts(1, None)
    assert await sums(stored) == []


async def take_over(stored: Stored, earlier: ActiveWorkflow, saved: Money | None, **members: Any) -> ActiveWorkflow:
    """Make a run of a stored definition that takes over the result of the first step of *earlier*, which has a task."""
    (task,) = await stored.here.reader.tasks(EVERY_TENANT, earlier.workflow_id, include_deleted=False) or ()
    _, new = stored.draft(body(draw("a")), "t", OTHER)
    new.record.reuse, new.record.definition = ReuseRule(earlier.workflow_id), DefinitionReference(name="b", version=2)
    await stored.workflow_store.insert(EVERY_TENANT, new)
    (claimed,) = await stored.claim(ME, (earlier,))
    later = ActiveWorkflow(claimed)
    (check,) = [each for each in later.run.pending_work().effects if isinstance(each, CheckReuse)]
    source, task_id = UnitKey(0, None), members.get("task_id", task.task.id)
    reused = Reused(earlier.workflow_id, task_id, source, "f", saved)
    await stored.write(later, ReuseChecked(0, check.number, reused, b"{}"))
    return later


async def test_what_a_result_that_is_taken_over_cost_counts_once_as_saved_and_not_as_a_cost(stored: Stored) -> None:
    earlier = await stored.make(body(draw("a"), draw("b")))
    await spend(stored, earlier, 0, 0.1)
    later = await take_over(stored, earlier, Money(0.1, "USD"))
    await stored.write(later, Cleanup("alice", cleanup_tasks=False))  # it writes the row of the workflow again
    keys = (CostKey.DEFINITION, PROVIDER, MODEL)
    found = await stored.here.reader.costs(EVERY_TENANT, CostQuery(by=keys, limit=100))
    assert found == [
        CostSum((None, "LOCAL", "flux"), "USD", Decimal("0.1"), 1, Decimal(0)),
        CostSum(("b", "LOCAL", "flux"), "USD", Decimal(0), 0, Decimal("0.1")),
    ]
    (total,) = await stored.here.reader.costs(TenantScope("t"), CostQuery(limit=100))
    assert total == CostSum((), "USD", Decimal("0.1"), 1, Decimal("0.1"))


async def test_what_a_deleted_attempt_saved_counts_without_a_model(stored: Stored) -> None:
    earlier = await stored.make(body(draw("a"), draw("b")))
    await spend(stored, earlier, 0, 0)
    await take_over(stored, earlier, Money(2, "EUR"), task_id=uuid4())
    await take_over(stored, earlier, None)
    found = await stored.here.reader.costs(EVERY_TENANT, CostQuery(by=(PROVIDER, MODEL), limit=100))
    assert found == [
        CostSum(("", ""), "EUR", Decimal(0), 0, Decimal(2)),
        CostSum(("LOCAL", "flux"), "USD", Decimal(0), 1, Decimal(0)),
    ]


async def test_a_long_name_of_a_model_counts_by_its_beginning(stored: Stored) -> None:
    handle = await stored.make(body(draw("a"), draw("b")))
    await spend(stored, handle, 0, 1, model="ü" * 30_000)
    await spend(stored, handle, 1, 1, model="ü" * 30_001)
    assert await sums(stored, MODEL) == [("ü" * 255, "USD", 2, 2)]
