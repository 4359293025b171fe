"""The statements that list workflows, and those about their owner.

The indexes in `schema.tables` alone say which workflows are on a page, and how many match. Only the rows of the page
are read.
"""

import re
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, Final
from uuid import UUID

import sqlalchemy as sa
from msgspec import Struct
from msgspec.structs import replace
from sqlalchemy.dialects.postgresql import JSON, aggregate_order_by

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.enums import EventType, SkipReason, StepStatus, WaitsFor, WorkflowStatus
from stepwell.lifecycle.records import WHOLE, WorkflowOwnership, WorkflowParts
from stepwell.persistence.statements.item_results import (
    FINAL_MAX_BYTES,
    ITEMS_DONE,
    counts_of,
    final_result_of,
    result_bytes_of,
    result_of,
)
from stepwell.persistence.stores.open_waits import has_waits_for, waits_for
from stepwell.persistence.stores.step_attempt_queries import IDS, attempt_columns, with_attempts, workflow_costs
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.events import events
from stepwell.persistence.tables.processes import processes
from stepwell.persistence.tables.steps import steps
from stepwell.persistence.tables.workflows import definition_values, labels, runs_definition, workflows
from stepwell.rules.list_records import ListFilter, WorkflowFilter

_FORMS: Final = 256  # statements of so many forms are kept: clients choose the form
_TIME: Final = sa.DateTime(timezone=True)
_LIKE_SPECIAL: Final = re.compile(r"[\\%_]")
_EQUALITIES: Final = {
    "origin_instance": workflows.c.origin_instance,
    "origin_tenant_id": workflows.c.tenant,
    "origin_zone": workflows.c.origin_zone,
    "origin_reference": workflows.c.origin_reference,
}
# Columns that no response shows but that of the definition, and that only runs read.
_NOT_SHOWN: Final = ("inputs", "inputs_schema", "named_definitions", "named_files")
_FILTERS: Final = ("statuses", "name", "created_after", "created_before", "waits_for", "definition", *_EQUALITIES)


def visible(scope: TenantScope) -> sa.ColumnElement[bool]:
    """The condition that a workflow is in *scope*."""
    return _of_tenant(scope.tenant, every=scope.every) & _created_by(scope.subject)


def _of_tenant(tenant: str | sa.BindParameter[str] | None, *, every: bool) -> sa.ColumnElement[bool]:
    # `= 'a'` or `IS NULL`, because no index serves IS NOT DISTINCT FROM.
    return sa.true() if every else workflows.c.tenant == tenant


def _created_by(subject: str | sa.BindParameter[str] | None) -> sa.ColumnElement[bool]:
    return sa.true() if subject is None else workflows.c.created_by == subject


class ListForm(Struct, frozen=True):
    """The part of a list's scope and filter that decides the text of its statements. `list_values` has the rest.

    The statements of a form are made once: to build them, and their keys in SQLAlchemy's cache, takes longer than to
    run them. `filters` are the names of those that are set. `alternatives`: there are several statuses.
    """

    every_tenant: bool
    no_tenant: bool
    filters: tuple[str, ...]
    alternatives: bool
    labels: int
    include_deleted: bool
    include_children: bool
    oldest_first: bool = False
    continues: bool = False
    parts: WorkflowParts = WHOLE
    one_subject: bool = False


def filter_form(scope: TenantScope, query: WorkflowFilter) -> ListForm:
    filters = tuple(name for name in _FILTERS if getattr(query, name) not in (None, ()))
    alternatives, labelled = len(query.statuses) > 1, len(query.labels)
    included = query.include_deleted, query.include_children
    tenants, one_subject = (scope.every, scope.tenant is None), scope.subject is not None
    return ListForm(*tenants, filters, alternatives, labelled, *included, one_subject=one_subject)


def list_form(scope: TenantScope, query: ListFilter) -> ListForm:
    form = filter_form(scope, query)
    return replace(form, oldest_first=query.oldest_first, continues=query.after is not None, parts=query.parts)


def filter_values(scope: TenantScope, query: WorkflowFilter) -> dict[str, Any]:
    """The values of the parameters in `counts`, and in the conditions of a list."""
    values: dict[str, Any] = {name: getattr(query, name) for name in _FILTERS}
    values["statuses"] = list(query.statuses) if len(query.statuses) > 1 else next(iter(query.statuses), None)
    values["name"] = None if query.name is None else _LIKE_SPECIAL.sub(r"\\\g<0>", query.name) + "%"
    values["waits_for"] = None if query.waits_for is None else [*WaitsFor].index(query.waits_for) + 1
    values |= definition_values(query.definition)
    labelled = {f"label_{number}": label for number, label in enumerate(query.labels)}
    return {**values, **labelled, "scope_tenant": scope.tenant, "scope_subject": scope.subject}


def list_values(scope: TenantScope, query: ListFilter) -> dict[str, Any]:
    """The values of the parameters in the statements of a list."""
    cursor = {} if query.after is None else {"after_time": query.after.created_at, "after_id": query.after.id}
    page = {"skip": query.skip, "limit": query.limit, "one_more": query.limit + 1}
    return {**filter_values(scope, query), **cursor, **page}


@lru_cache(_FORMS)
def page_ids(form: ListForm) -> sa.Select[UUID, datetime]:
    """The page and, if there is one, the workflow behind it."""
    own = workflows.c
    return (
        sa.select(own.id, own.created_at)
        .select_from(_with_labels(form))
        .where(*_conditions(form), *_bounds(form, _cursor_columns(form)[0]), *_behind(form))
        .order_by(*_order(form, *_cursor_columns(form)))
        .offset(sa.bindparam("skip", type_=sa.BigInteger()))
        .limit(sa.bindparam("one_more", type_=sa.BigInteger()))
    )


@lru_cache(_FORMS)
def page(form: ListForm, max_bytes: int) -> sa.Select[Any]:
    """A row for each workflow of the page: its id and version, and all its columns if the page is within *max_bytes*.

    Otherwise these are NULL, and `id` is too. `page_has_next`: others follow the page.
    """
    page = page_ids(form).cte("found").prefix_with("MATERIALIZED")
    limit = sa.bindparam("limit", type_=sa.BigInteger())
    ids = sa.select(page).order_by(*_order(form, page.c.created_at, page.c.id)).limit(limit).subquery("ids")
    has_next = sa.select(sa.func.count() > limit).select_from(page).scalar_subquery()
    own = workflows.c
    label_bytes = sa.func.coalesce(_of_labels(sa.func.sum(sa.func.octet_length(labels.c.label))), _ZERO)
    page_bytes = sa.func.sum(weight(form.parts) + label_bytes).over()
    versions = (
        sa.select(
            own.id.label("page_id"),
            own.last_event.label("page_event"),
            own.updated_at.label("page_updated_at"),
            ids.c.created_at.label("page_created_at"),
            has_next.label("page_has_next"),
            waits_for(of_children=form.include_children),
            page_bytes.label("page_bytes"),
        )
        .join(ids, ids.c.id == own.id)
        .cte("versions")
        .prefix_with("MATERIALIZED")
    )
    small = versions.c.page_bytes <= sa.literal_column(str(max_bytes))
    whole = summarised(with_waits=False).where(own.id == versions.c.page_id, small).lateral("whole")
    return (
        sa.select(versions, whole)
        .outerjoin_from(versions, whole, sa.true())
        .order_by(*_order(form, versions.c.page_created_at, versions.c.page_id))
    )


@lru_cache(_FORMS)
def total(form: ListForm) -> sa.Select[int]:
    return sa.select(sa.func.count()).select_from(_all_with_labels(form)).where(*_of_all(form))


@lru_cache(_FORMS)
def counts(form: ListForm) -> sa.Select[str, int]:
    status = workflows.c.status
    query = sa.select(status, sa.func.count()).select_from(_all_with_labels(form))
    return query.where(*_of_all(form)).group_by(status)


def _all_with_labels(form: ListForm) -> sa.FromClause:
    # The index of names doesn't have the order of time, so its rows can't be merged with others.
    return _with_labels(form, same_time="name" not in form.filters)


def _of_all(form: ListForm) -> list[sa.ColumnElement[bool]]:
    return [*_conditions(form), *_bounds(form, workflows.c.created_at)]


@cache
def page_steps(*, results: bool) -> sa.Select[Any]:
    """The steps of the workflows `ids`, with their attempts and the counts of their items.

    Without *results* they lack that column.
    """
    columns = [result_column(steps) if column is steps.c.result else column for column in steps.c]
    if not results:
        columns = [column for column in steps.c if column is not steps.c.result]
    of_page = steps.c.workflow_id == IDS
    read = sa.select(*columns, *attempt_columns(), item_counts_column()).select_from(with_attempts(steps))
    return read.where(of_page).order_by(steps.c.workflow_id, steps.c.position)


@cache
def summarised(*, with_waits: bool = True) -> sa.Select[Any]:
    """Workflows with the views of their steps. The database computes these from the few rows of the page.

    Without *with_waits*, the column `waits_for` is missing.
    """
    own = steps.c.workflow_id == workflows.c.id
    running = (
        sa.select(steps.c.step_id)
        .where(own, steps.c.status == StepStatus.RUNNING)
        .order_by(steps.c.started_at, steps.c.position)
        .limit(1)
    )
    message = sa.func.concat(steps.c.step_id, ": ", steps.c.error_message)
    has_failed = steps.c.status == StepStatus.FAILED
    failed = sa.select(sa.func.array_agg(aggregate_order_by(message, steps.c.position))).where(own, has_failed)
    fatal = sa.select(message).where(own, has_failed, ~steps.c.optional).order_by(steps.c.position).limit(1)
    skipped = (steps.c.status == StepStatus.SKIPPED) & (steps.c.skip_reason != SkipReason.FAILURE)
    done = sa.select(sa.func.count()).where(own, skipped | (has_failed & steps.c.optional))

    def if_flow(query: sa.Select[Any]) -> sa.ColumnElement[Any]:
        """The value of *query*; NULL without running it for workflows without flow control."""
        return sa.case((workflows.c.has_flow, query.correlate(workflows).scalar_subquery()))

    final = steps.alias("final")
    return sa.select(
        *(column for column in workflows.c if column.name not in _NOT_SHOWN),
        running.correlate(workflows).scalar_subquery().label("current_step"),
        failed.correlate(workflows).scalar_subquery().label("step_errors"),
        if_flow(fatal).label("fatal_error"),
        if_flow(done).label("done_without_result"),
        workflow_costs().correlate(workflows).scalar_subquery().label("costs"),
        _of_labels(sa.func.array_agg(labels.c.label)).label("labels"),
        final.c.step_id.label("final_step_id"),
        sa.case((workflows.c.has_flow, sa.literal_column(ITEMS_DONE))).label("items_done"),
        sa.literal_column(final_result_of(final.description), JSON()).label("final_step_result"),
        *((waits_for(),) if with_waits else ()),
    ).join(final, (final.c.workflow_id == workflows.c.id) & (final.c.position == workflows.c.final_position))


@cache
def weight(parts: WorkflowParts) -> sa.ColumnElement[int]:
    """About the most bytes that a workflow's definitions, results, errors and config take. Reads none of them."""
    own = steps.alias(_WEIGHED).c
    result = sa.literal_column(_RESULT_BYTES, sa.Integer()) if parts.results else _ZERO
    error = sa.func.coalesce(sa.func.octet_length(own.error_message), _ZERO)
    size: sa.ColumnElement[int]
    if parts.steps:
        size = sa.literal_column("200") + _unpacked_bytes(own.definition) + result + error
    else:
        of_final = sa.func.least(result, sa.literal_column(str(FINAL_MAX_BYTES)))
        size = sa.case((own.position == workflows.c.final_position, of_final), else_=_ZERO) + error
    total = sa.select(sa.func.sum(size)).where(own.workflow_id == workflows.c.id).correlate(workflows).scalar_subquery()
    return total + _unpacked_bytes(workflows.c.config)


def result_column(table: sa.FromClause) -> sa.ColumnElement[Any]:
    """The result of each of the steps in *table*, an alias of `steps`."""
    return sa.literal_column(result_of(table.description), JSON()).label("result")


def item_counts_column() -> sa.ColumnElement[Any]:
    """The column that `tables.steps.shown_step` decodes, of `steps`."""
    return sa.literal_column(counts_of(steps.name), JSON()).label("item_counts")


_WEIGHED: Final = "weighed"
_BYTES: Final = "coalesce(pg_column_size({0}) * CASE WHEN pg_column_compression({0}) IS NULL THEN 1 ELSE 50 END, 0)"
_RESULT_BYTES: Final = result_bytes_of(_WEIGHED, _BYTES, _BYTES.format(f"{_WEIGHED}.result"))
_ZERO: sa.ColumnElement[int] = sa.literal_column("0")


def _unpacked_bytes(column: sa.ColumnElement[Any]) -> sa.ColumnElement[int]:
    """The bytes of a value, or 50 times as many as it takes compressed: to know them it would have to be unpacked."""
    factor = sa.case(
        (sa.func.pg_column_compression(column).is_(None), sa.literal_column("1")), else_=sa.literal_column("50")
    )
    return sa.func.pg_column_size(column) * factor


def _of_labels(aggregate: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    """The *aggregate* of a workflow's labels."""
    own = sa.select(aggregate).where(labels.c.workflow_id == workflows.c.id)
    return own.correlate(workflows).scalar_subquery()


def _with_labels(form: ListForm, *, same_time: bool = False) -> sa.FromClause:
    """The workflows that have all labels of the form. *same_time*: join by the time of creation too.

    Both indexes have the order of time, so all rows are joined fastest by merging these. But PostgreSQL takes the two
    conditions for independent, and expects a millionth of the rows. So a page, which needs few of them, is joined by
    the id alone.
    """
    source: sa.FromClause = workflows
    for number in range(form.labels):
        own = _label(number).c
        joined = [own.workflow_id == workflows.c.id, own.label == sa.bindparam(f"label_{number}", type_=sa.Text())]
        if same_time:
            joined += [own.created_at == workflows.c.created_at, *_bounds(form, own.created_at)]
        source = source.join(_label(number), sa.and_(*joined))
    return source


@cache
def _label(number: int) -> sa.FromClause:
    return labels.alias(f"label_{number}")


def _cursor_columns(form: ListForm) -> tuple[sa.ColumnElement[datetime], sa.ColumnElement[UUID]]:
    """The columns that order a page: those of the first label, whose index has this order too, or the workflow's."""
    if form.labels:
        return _label(0).c.created_at, _label(0).c.workflow_id
    return workflows.c.created_at, workflows.c.id


def _conditions(form: ListForm) -> list[sa.ColumnElement[bool]]:
    conditions = [_EQUALITIES[name] == sa.bindparam(name) for name in form.filters if name in _EQUALITIES]
    if "statuses" in form.filters:
        own = workflows.c.status
        alternatives = sa.bindparam("statuses", type_=sa.ARRAY(sa.Text()) if form.alternatives else sa.Text())
        conditions.append(own == sa.any_(alternatives) if form.alternatives else own == alternatives)
    if "name" in form.filters:
        conditions.append(sa.func.lower(workflows.c.name).like(sa.func.lower(sa.bindparam("name", type_=sa.Text()))))
    if "definition" in form.filters:
        conditions += runs_definition(workflows.c.stored_definition)
    if "waits_for" in form.filters:
        conditions += has_waits_for(workflows.c.id, include_children=form.include_children)
    tenant = None if form.no_tenant else sa.bindparam("scope_tenant", type_=sa.Text())
    conditions.append(_of_tenant(tenant, every=form.every_tenant))
    if form.one_subject:
        conditions.append(_created_by(sa.bindparam("scope_subject", type_=sa.Text())))
    if not form.include_deleted:
        conditions.append(workflows.c.deleted_at.is_(None))
    if not form.include_children:
        conditions.append(workflows.c.parent_id.is_(None))
    return conditions


def _bounds(form: ListForm, created_at: sa.ColumnElement[datetime]) -> list[sa.ColumnElement[bool]]:
    bounds = list[sa.ColumnElement[bool]]()
    if "created_after" in form.filters:
        bounds.append(created_at > sa.bindparam("created_after", type_=_TIME))
    if "created_before" in form.filters:
        bounds.append(created_at < sa.bindparam("created_before", type_=_TIME))
    return bounds


def _behind(form: ListForm) -> list[sa.ColumnElement[bool]]:
    """The condition that a page that continues another one begins behind its last workflow."""
    if not form.continues:
        return []
    cursor = sa.tuple_(sa.bindparam("after_time", type_=_TIME), sa.bindparam("after_id", type_=sa.Uuid()))
    own = sa.tuple_(*_cursor_columns(form))
    return [own > cursor if form.oldest_first else own < cursor]


def _order(form: ListForm, *columns: sa.ColumnElement[Any]) -> list[sa.ColumnElement[Any]]:
    return [column.asc() if form.oldest_first else column.desc() for column in columns]


def ownership_query(scope: TenantScope, workflow_id: UUID) -> sa.Select[Any]:
    """The owner of a workflow with its lease, who paused it, and its position among those that wait for admission."""
    # In a PAUSED workflow the pause is among the last events: only attempts that end come after it.
    paused = (
        sa.select(events.c.actor, events.c.at)
        .where(
            events.c.workflow_id == workflows.c.id,
            events.c.type == EventType.WORKFLOW_PAUSED,
            workflows.c.status == WorkflowStatus.PAUSED,
        )
        .order_by(events.c.id.desc())
        .limit(1)
        .correlate(workflows)
        .lateral("paused")
    )
    # A process that is alone on its database has a lease without an end.
    until = sa.func.nullif(processes.c.lease_until, sa.literal_column("'infinity'::timestamptz"))
    alive = sa.func.coalesce(processes.c.lease_until > sa.func.clock_timestamp(), sa.false())
    return (
        sa.select(
            workflows.c.owner,
            alive.label("alive"),
            until.label("lease_until"),
            paused.c.actor,
            paused.c.at,
            sa.case((_waits(workflows), _ahead()), else_=None).label("ahead"),
        )
        .outerjoin(processes, processes.c.id == workflows.c.owner)
        .outerjoin(paused, sa.true())
        .where(workflows.c.id == workflow_id, visible(scope))
    )


def _waits(table: sa.FromClause) -> sa.ColumnElement[bool]:
    return (table.c.status == WorkflowStatus.RUNNING) & table.c.owner.is_(None)


def _ahead() -> sa.ScalarSelect[int]:
    """The number of the tenant's workflows that are admitted before a waiting workflow."""
    others, name = workflows.alias("others"), sa.literal_column("''", sa.Text())
    return (
        sa.select(sa.func.count())
        .where(
            _waits(others),
            sa.func.coalesce(others.c.tenant, name) == sa.func.coalesce(workflows.c.tenant, name),
            sa.tuple_(others.c.started_at, others.c.id) < sa.tuple_(workflows.c.started_at, workflows.c.id),
        )
        .correlate(workflows)
        .scalar_subquery()
    )


def read_ownership(row: Row) -> WorkflowOwnership:
    return WorkflowOwnership(row["owner"], row["alive"], row["lease_until"], row["actor"], row["at"], row["ahead"])
