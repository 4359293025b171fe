"""Reads the items of a step for responses: a page of them, with their values, results and attempts."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, Text, cast, func, literal_column, select
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import StepStatus
from stepwell.lifecycle.records import ItemRecord
from stepwell.persistence.stores.step_attempt_queries import item_costs
from stepwell.persistence.stores.workflow_queries import visible
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.steps import read_item, step_attempts, step_items, steps
from stepwell.persistence.tables.tasks import tasks
from stepwell.persistence.tables.workflows import workflows
from stepwell.rules.list_records import ItemFilter, ItemSlice


async def read_item_slice(
    connection: AsyncConnection, scope: TenantScope, workflow_id: UUID, query: ItemFilter, count: int, max_bytes: int
) -> ItemSlice | None:
    """Return the slice that `ports.storage.WorkflowReader.item_slice` describes. *connection* has a snapshot."""
    has_items, repeats = steps.c.for_each.is_not(None).label("has_items"), steps.c.repeat.is_not(None).label("repeats")
    of_step = (
        select(steps.c.position, has_items, repeats)
        .join(workflows, workflows.c.id == steps.c.workflow_id)
        .where(steps.c.workflow_id == workflow_id, steps.c.step_id == query.step_id, visible(scope))
    )
    if (step := (await connection.execute(of_step)).first()) is None:
        return None
    if not step.has_items:
        return ItemSlice(has_items=False)
    matching = (step_items.c.workflow_id == workflow_id) & (step_items.c.position == step.position)
    if query.statuses:
        matching &= step_items.c.status.in_(sorted(query.statuses))
    total = await connection.scalar(select(func.count()).select_from(step_items).where(matching)) or 0
    page = _page().where(matching, step_items.c.item > query.after).order_by(step_items.c.item)
    some = page.offset(query.skip).limit(count).subquery("some")
    measured = select(some, func.sum(some.c.size).over(order_by=some.c.item).label("bytes")).subquery("measured")
    number = func.row_number().over(order_by=measured.c.item).label("number")
    numbered = select(measured, number).subquery("numbered")
    wanted = select(numbered).where((numbered.c.bytes <= max_bytes) | (numbered.c.number == literal_column("1")))
    rows = (await connection.execute(wanted.order_by(numbered.c.item))).mappings().all()
    costs = dict[int, str]()
    if rows:
        sums = await connection.execute(item_costs(workflow_id, step.position, [row["item"] for row in rows]))
        costs = {row.item: row.costs for row in sums}
    return ItemSlice([_record(row, costs.get(row["item"])) for row in rows], total, repeats=step.repeats)


def _page() -> Select[Any]:
    latest = tasks.alias("latest")
    value, result = (cast(column, Text()) for column in (step_items.c.value, step_items.c.result))
    columns = [column for column in step_items.c if column not in (step_items.c.value, step_items.c.result)]
    size = func.octet_length(value) + func.coalesce(func.octet_length(result), literal_column("0"))
    model = latest.c.sent.op("->>", return_type=Text())(literal_column("'model'"))
    attempt = (latest.c.provider.label("latest_provider"), model.label("latest_model"))
    shown = (value.label("value"), result.label("result"), size.label("size"))
    source = step_items.outerjoin(latest, latest.c.id == step_items.c.task_id)
    return select(*columns, *shown, *attempt).select_from(source)


def _record(row: Row, costs: str | None) -> ItemRecord:
    state = read_item(row)
    if state.status is StepStatus.COMPLETED:  # an item that repeats has its best result so far
        state.result = row["result"].encode()
    return ItemRecord(state, step_attempts({**row, "step_costs": costs}))
