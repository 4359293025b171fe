"""Costs in memory: those of tasks, and the sums by day, which checkpoints add to and the retention deletes."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from decimal import Context
from typing import Any

from msgspec.structs import astuple

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import CancelReceipt, CostKey, EventType, TaskStatus
from stepwell.contract.tasks import CostSums
from stepwell.lifecycle.model import HistoryEvent, Task
from stepwell.lifecycle.records import WorkflowRecord
from stepwell.rules.costs import MAX_MODEL, CostQuery, CostSum, CurrencySum, ExpiredCosts, cost_sums, exact
from stepwell.testing.memory_tables import CostRow, CostRowKey, MemoryAdapter, Tables

_EXACT = Context(prec=1_000)  # digits: more than any sum has


class MemoryDailyCosts(MemoryAdapter):
    async def expire(self, before: date, most: int) -> ExpiredCosts:
        costs = self._tables.daily_costs
        due = [key for key in costs if key.day < before][:most]
        for key in due:
            del costs[key]
        days = (key.day for key in costs if key.day >= before)
        return ExpiredCosts(len(due), None if len(due) == most else min(days, default=None))


def count_cost(tables: Tables, record: WorkflowRecord, before: Task | None, after: Task) -> None:
    """Add the cost of the task to its sum, and subtract the one that it had before."""
    if after.cost is None:
        return
    for task, sign in ((before, -1), (after, 1)):
        if task is None or task.cost is None:
            continue
        ended_at = task.completed_at or task.started_at
        assert ended_at is not None
        row = _row(tables, record, task, task.cost.currency, ended_at)
        amount = exact(task.cost.amount)
        row.amount = _EXACT.add(row.amount, amount) if sign > 0 else _EXACT.subtract(row.amount, amount)
        row.attempts += sign


def count_saved(tables: Tables, record: WorkflowRecord, events: Iterable[HistoryEvent]) -> None:
    """Add what results that are taken over cost then to their sums."""
    for event in events:
        if event.type is not EventType.STEP_REUSED or (saved := event.data["saved"]) is None:
            continue
        task_id = event.data["from_task_id"]
        stored = tables.task_of_any(task_id)
        row = _row(tables, record, None if stored is None else stored.task, saved.currency, event.at)
        row.saved = _EXACT.add(row.saved, exact(saved.amount))


def _row(tables: Tables, record: WorkflowRecord, task: Task | None, currency: str, at: datetime) -> CostRow:
    """Return the sum that the workflow adds to for *task*; None if that has been deleted."""
    link = record.parent
    top = tables.workflows.get(record.id if link is None else link.root_id)
    definition = "" if top is None or top.record.definition is None else str(top.record.definition)
    provider = "" if task is None else task.provider or ""
    model = "" if task is None or task.sent is None else task.sent.model[:MAX_MODEL]
    day = at.astimezone(UTC).date()
    key = CostRowKey(record.tenant or "", day, provider, model, currency, definition)
    return tables.daily_costs.setdefault(key, CostRow())


def task_costs(tasks: list[Task]) -> CostSums | None:
    sums = currency_sums(tasks)
    return None if sums is None else cost_sums(sums)


def currency_sums(tasks: list[Task]) -> list[CurrencySum] | None:
    """Return the sums of the costs of attempts that may have been charged; None if there are none."""
    sent = [task for task in tasks if task.sent is not None and task.provider is not None]
    charged = [task for task in sent if task.cost is not None or not _was_refused(task)]
    if not charged:
        return None
    sums: dict[str, float] = defaultdict(float)
    for task in charged:
        if task.cost is not None:
            sums[task.cost.currency] += task.cost.amount
    known = [(currency, amount, 0) for currency, amount in sorted(sums.items())]
    return [*known, (None, None, sum(task.cost is None for task in charged))]


def _was_refused(task: Task) -> bool:
    return (
        task.status in (TaskStatus.FAILED, TaskStatus.CANCELLED)
        and task.remote_id is None
        and not task.outcome_unknown
        and task.cancel_receipt in (None, CancelReceipt.NEVER_STARTED)
    )


def read_costs(tables: Tables, scope: TenantScope, query: CostQuery) -> Sequence[CostSum]:
    sums: defaultdict[tuple[Any, ...], CostRow] = defaultdict(CostRow)
    for key, row in tables.daily_costs.items():
        in_time = (query.since is None or key.day >= query.since) and (query.until is None or key.day < query.until)
        reference = DefinitionReference.parse(key.definition) if key.definition else None
        of_definition = query.definition is None or query.definition.covers(reference)
        if scope.covers(key.tenant or None, None) and in_time and of_definition:
            total = sums[*(_key_part(key, name) for name in query.by), key.currency]
            total.amount = _EXACT.add(total.amount, row.amount)
            total.attempts += row.attempts
            total.saved = _EXACT.add(total.saved, row.saved)
    counted = [(key, row) for key, row in sorted(sums.items(), key=lambda pair: pair[0]) if row.attempts or row.saved]
    return [CostSum(query.keys_of(key), key[-1], *astuple(total)) for key, total in counted[: query.limit]]


def _key_part(key: CostRowKey, name: CostKey) -> Any:
    return key.definition.partition("@")[0] if name is CostKey.DEFINITION else getattr(key, name)
