"""The parts of statements that read the attempts of steps: the latest one of each step, and the costs of all.

Costs are JSON: for each currency the sum of the attempts that may have cost something, and their number. Attempts
without a known cost have no currency. Attempts that the provider has refused cost nothing.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import aggregate_order_by

from stepwell.contract.enums import CancelReceipt, TaskStatus
from stepwell.persistence.tables.steps import steps
from stepwell.persistence.tables.tasks import tasks
from stepwell.persistence.tables.workflows import workflows

# The ids of workflows or tasks that a statement reads together.
IDS: Final = sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid())))


def workflow_costs() -> sa.Select[Any]:
    """The costs of a workflow, for a scalar subquery."""
    sums = _sums().where(tasks.c.workflow_id == workflows.c.id).group_by(sa.literal_column("1"))
    return _listed(sums.correlate(workflows).subquery("sums"))


def item_costs(workflow_id: UUID, position: int, items: Sequence[int]) -> sa.Select[Any]:
    """The costs of each of the *items* of a step that has any, as `step_costs`, with its number as `item`."""
    of_items = (tasks.c.workflow_id == workflow_id) & (tasks.c.position == position)
    wanted = tasks.c.item == sa.any_(sa.literal(list(items), sa.ARRAY(sa.Integer())))
    sums = _sums().add_columns(tasks.c.item).where(of_items, wanted).group_by(sa.literal_column("1"), tasks.c.item)
    each = sums.subquery("item_sums")
    return _listed(each).add_columns(each.c.item).group_by(each.c.item)


_latest = tasks.alias("latest")


@cache
def _step_costs() -> sa.Subquery:
    """The costs of each step of the workflows `ids` that has any."""
    own = (tasks.c.workflow_id, tasks.c.position)
    of_page = tasks.c.workflow_id == IDS
    sums = _sums().add_columns(*own).where(of_page).group_by(sa.literal_column("1"), *own).subquery("step_sums")
    keys = (sums.c.workflow_id, sums.c.position)
    return _listed(sums).add_columns(*keys).group_by(*keys).subquery("step_costs")


@cache
def attempt_columns() -> tuple[sa.ColumnElement[Any], ...]:
    """The columns that `tables.steps.step_attempts` decodes, of `with_attempts`."""
    return (
        _latest.c.provider.label("latest_provider"),
        _latest.c.sent.op("->>", return_type=sa.Text())(sa.literal_column("'model'")).label("latest_model"),
        _step_costs().c.costs.label("step_costs"),
    )


def with_attempts(source: sa.FromClause) -> sa.FromClause:
    """Join *source*, which contains `steps`, with the attempts of the steps of the workflows `ids`."""
    costs = _step_costs()
    of_step = (costs.c.workflow_id == steps.c.workflow_id) & (costs.c.position == steps.c.position)
    return source.outerjoin(_latest, _latest.c.id == steps.c.task_id).outerjoin(costs, of_step)


def _sums() -> sa.Select[Any]:
    refused = (
        ((tasks.c.status == TaskStatus.FAILED) | (tasks.c.status == TaskStatus.CANCELLED))
        & tasks.c.remote_id.is_(None)
        & ~tasks.c.outcome_unknown
        & (tasks.c.cancel_receipt.is_(None) | (tasks.c.cancel_receipt == CancelReceipt.NEVER_STARTED))
    )
    currency = tasks.c.cost.op("->>")(sa.literal_column("'currency'"))
    amount = sa.func.sum(sa.cast(tasks.c.cost.op("->>")(sa.literal_column("'amount'")), sa.Numeric()))
    return sa.select(currency.label("currency"), amount.label("amount"), sa.func.count().label("attempts")).where(
        tasks.c.sent.is_not(None),
        tasks.c.provider.is_not(None),  # a sub-workflow has none, and counts its own costs
        tasks.c.cost.is_not(None) | ~refused,
    )


def _listed(sums: sa.Subquery) -> sa.Select[Any]:
    each = sa.func.json_build_array(sums.c.currency, sums.c.amount, sums.c.attempts)
    return sa.select(sa.cast(sa.func.json_agg(aggregate_order_by(each, sums.c.currency)), sa.Text()).label("costs"))
