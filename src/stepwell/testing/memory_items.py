"""Reads the items of steps for `memory_workflow_reader`."""

from collections.abc import Callable

from msgspec import UNSET, structs

from stepwell.contract.enums import StepStatus
from stepwell.contract.tasks import CostSums
from stepwell.lifecycle.model import ItemState, Task
from stepwell.lifecycle.records import ItemRecord, StepAttempts, StepRecord
from stepwell.rules.list_records import ItemFilter, ItemSlice
from stepwell.testing.memory_item_results import items_of
from stepwell.testing.memory_tables import WorkflowRow, within_bytes


def item_slice(
    row: WorkflowRow,
    step: StepRecord,
    query: ItemFilter,
    count: int,
    max_bytes: int,
    costs_of: Callable[[list[Task]], CostSums | None],
) -> ItemSlice:
    """Return the slice that `ports.storage.WorkflowReader.item_slice` describes. *costs_of* adds up costs of tasks."""
    if step.definition.for_each is UNSET:
        return ItemSlice(has_items=False)
    matching = [item for item in items_of(row, step) if not query.statuses or item.status in query.statuses]
    behind = [item for item in matching if item.place.item > query.after]
    page = behind[query.skip : query.skip + count]
    read = within_bytes(page, lambda item: len(item.value) + len(item.result or b""), max_bytes)
    records = [_record(row, item, costs_of) for item in read]
    return ItemSlice(records, len(matching), repeats=step.definition.repeat is not UNSET)


def _record(row: WorkflowRow, item: ItemState, costs_of: Callable[[list[Task]], CostSums | None]) -> ItemRecord:
    tasks = [stored.task for stored in row.tasks.values() if stored.task.place == item.place]
    latest = next((task for task in tasks if task.id == item.task_id), None)
    result = item.result if item.status is StepStatus.COMPLETED else None
    state = structs.replace(item, result=result, position=item.place.step)
    if latest is None:
        return ItemRecord(state)
    model = None if latest.sent is None else latest.sent.model
    return ItemRecord(state, StepAttempts(latest.provider, model, costs_of(tasks)))
