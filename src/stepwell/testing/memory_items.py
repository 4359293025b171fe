"""The items of steps in memory, and the results that are built of them, as `statements.item_results` has them."""

from collections import Counter
from collections.abc import Sequence

from msgspec import UNSET, structs

from stepwell.basics.strict_json.size import MAX_RESULT_BYTES
from stepwell.contract.enums import StepStatus
from stepwell.contract.workflows import ItemCounts
from stepwell.definition.mapping.items import result_of_items
from stepwell.lifecycle.model import ItemState
from stepwell.lifecycle.records import ItemRecord, StepAttempts, StepRecord
from stepwell.rules.list_records import ItemFilter, ItemSlice
from stepwell.testing.memory_costs import task_costs
from stepwell.testing.memory_tables import WorkflowRow, within_bytes


def items_of(row: WorkflowRow, step: StepRecord) -> list[ItemState]:
    return [row.items[key] for key in sorted(row.items) if key.step == step.resolved.position]


def stored_result(row: WorkflowRow, step: StepRecord) -> bytes | None:
    """Return the result of the step. With items, it is built from theirs once the step is COMPLETED, unless a person
    has given it.
    """
    if step.resolved.flow is None or step.resolved.flow.for_each is None or step.state.result is not None:
        return step.state.result
    return _built(items_of(row, step)) if step.state.status is StepStatus.COMPLETED else None


def final_result(row: WorkflowRow, step: StepRecord) -> bytes | None:
    """Return the result of the step, as it is shown as the final result of its workflow."""
    if sum(len(item.result or b"") for item in items_of(row, step)) > MAX_RESULT_BYTES:
        return None
    return stored_result(row, step) if step.state.status is StepStatus.COMPLETED else None


def _built(items: Sequence[ItemState]) -> bytes:
    return result_of_items([item.result if item.status is StepStatus.COMPLETED else None for item in items])


def item_counts(row: WorkflowRow, step: StepRecord) -> ItemCounts | None:
    """Return the numbers of items by status; None for a step without items, and before these are known."""
    if step.state.flow is None or step.state.flow.items is None:
        return None
    items = items_of(row, step)
    of_status = Counter(item.status for item in items)
    return ItemCounts(
        total=of_status.total(),
        pending=of_status[StepStatus.PENDING] + of_status[StepStatus.CANCELLED],
        running=of_status[StepStatus.RUNNING],
        completed=of_status[StepStatus.COMPLETED],
        failed=of_status[StepStatus.FAILED],
        skipped=of_status[StepStatus.SKIPPED],
        retries=sum(item.retry_count for item in items),
    )


def items_done(row: WorkflowRow) -> float:
    done = 0.0
    for step in row.steps:
        status, counts = step.state.status, item_counts(row, step)
        is_done = status in (StepStatus.COMPLETED, StepStatus.SKIPPED)
        is_done = is_done or (status is StepStatus.FAILED and step.resolved.optional)
        if counts is not None and counts.total and not is_done:
            done += (counts.completed + counts.skipped) / counts.total
    return done


def item_slice(row: WorkflowRow, step: StepRecord, query: ItemFilter, count: int, max_bytes: int) -> ItemSlice:
    """Return the slice that `ports.storage.WorkflowReader.item_slice` describes."""
    if step.definition.for_each is UNSET:
        return ItemSlice(has_items=False)
    matching = [item for item in items_of(row, step) if not query.statuses or item.status in query.statuses]
    behind = [item for item in matching if item.item_key.item > query.after]
    page = behind[query.skip : query.skip + count]
    read = within_bytes(page, lambda item: len(item.value) + len(item.result or b""), max_bytes)
    records = [_record(row, item) for item in read]
    return ItemSlice(records, len(matching), repeats=step.definition.repeat is not UNSET)


def _record(row: WorkflowRow, item: ItemState) -> ItemRecord:
    tasks = [stored.task for stored in row.tasks.values() if stored.task.item_key == item.item_key]
    latest = next((task for task in tasks if task.id == item.task_id), None)
    result = item.result if item.status is StepStatus.COMPLETED else None
    state = structs.replace(item, result=result, position=item.item_key.step)
    if latest is None:
        return ItemRecord(state)
    model = None if latest.sent is None else latest.sent.model
    return ItemRecord(state, StepAttempts(latest.provider, model, task_costs(tasks)))
