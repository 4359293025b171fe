"""`ports.storage.EventFeed` on SQLAlchemy Core.

What must hold:
- A page of all workflows' events contains only events of transactions that are older than every running one. So no
  later commit can add an event before the end of the page. The page returns that end as its cursor.
- Each read is one statement, so it shows one moment.
"""

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncEngine

from stepwell.basics.tenancy import TenantScope
from stepwell.contract.definition import DefinitionReference
from stepwell.contract.enums import WorkflowStatus
from stepwell.persistence.connections.database import PostgresAdapter
from stepwell.persistence.stores.workflow_queries import visible
from stepwell.persistence.tables.column import Row
from stepwell.persistence.tables.events import events, history_event
from stepwell.persistence.tables.workflows import definition_values, runs_definition, workflows
from stepwell.rules.event_feed import EVERYTHING, FeedCursor, FeedEvent, FeedFilter, FeedPage, HistoryPage

# A page reads at most so many events, even if few of them match the filter.
_WINDOW = 2_000
_RENUMBERED = 2_000
# A visible event whose transaction id this server hasn't reached yet was restored from a backup of another server.
# Without a new number, nobody would see it until this server reaches that id, and then it would be among other events.
_RENUMBER = """
UPDATE events SET txid = 0
FROM (
    SELECT workflow_id, id FROM events
    WHERE txid >= (pg_snapshot_xmax(pg_current_snapshot())::text)::bigint LIMIT $1
) AS ahead
WHERE events.workflow_id = ahead.workflow_id AND events.id = ahead.id
"""
_CACHED = 256  # statements, because to build one takes longer than to run it
_FIRST_TXID = 1
_PLACE = sa.bindparam("workflow", type_=sa.Uuid()), sa.bindparam("number", type_=sa.Integer())
_SCANNED = sa.bindparam("window", type_=sa.Integer())
_NO_TXID = sa.literal_column("0", sa.BigInteger())  # no parameter, because then the partial index couldn't be used


class PostgresEventFeed(PostgresAdapter):
    """Events in PostgreSQL. *engine* serves all reads, *pool* the renumbering when the service starts."""

    def __init__(self, engine: AsyncEngine, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._reading = engine.execution_options(isolation_level="AUTOCOMMIT")  # each read is one statement

    async def history(self, scope: TenantScope, workflow_id: UUID, after: int, limit: int) -> HistoryPage | None:
        parameters = {"workflow_id": workflow_id, "after": after, "most": limit}
        async with self._reading.connect() as connection:
            rows = (await connection.execute(_history(scope), parameters)).mappings().all()
        if not rows:
            return None
        events = [history_event(row, shown=True) for row in rows if row["id"] is not None]
        return HistoryPage(events, WorkflowStatus(rows[0]["status"]), rows[0]["last_event"])

    async def page(self, scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int) -> FeedPage:
        window = limit if scope.every and wanted == EVERYTHING else max(limit, _WINDOW)
        query, parameters = page_query(scope, wanted, after, limit, window)
        async with self._reading.connect() as connection:
            rows = (await connection.execute(query, parameters)).mappings().all()
        return _read_page(rows, after, limit, window)

    async def end(self) -> FeedCursor:
        async with self._reading.connect() as connection:
            return FeedCursor.before((await connection.execute(sa.select(_bound()))).scalar_one())

    async def renumber_restored(self) -> bool:
        return cast("str", await self._pool.execute(_RENUMBER, _RENUMBERED)) != "UPDATE 0"

    async def last_events(self, scope: TenantScope, workflow_ids: Collection[UUID]) -> Mapping[UUID, int]:
        among = workflows.c.id == sa.any_(sa.literal(list(workflow_ids), ARRAY(sa.Uuid())))
        query = sa.select(workflows.c.id, workflows.c.last_event).where(among, visible(scope))
        async with self._reading.connect() as connection:
            return {row.id: row.last_event for row in await connection.execute(query)}


def _bound() -> sa.ColumnElement[int]:
    """The id of the oldest running transaction, or of the next one if none is running, as in `events.txid`."""
    xmin = sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())
    return sa.cast(sa.cast(xmin, sa.Text()), sa.BigInteger())


@lru_cache(maxsize=_CACHED)
def _history(scope: TenantScope) -> sa.Select[Any]:
    """Up to `most` events of the workflow `workflow_id` after the number `after`."""
    later = (
        sa.select(events)
        .where(events.c.workflow_id == workflows.c.id, events.c.id > sa.bindparam("after", type_=sa.BigInteger()))
        .order_by(events.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .lateral("later")
    )
    return (
        sa.select(workflows.c.status, workflows.c.last_event, later)
        .join_from(workflows, later, sa.true(), isouter=True)
        .where(workflows.c.id == sa.bindparam("workflow_id", type_=sa.Uuid()), visible(scope))
        .order_by(later.c.id)
    )


def page_query(
    scope: TenantScope, wanted: FeedFilter, after: FeedCursor, limit: int, window: int
) -> tuple[sa.Select[Any], dict[str, Any]]:
    """Return a statement and its parameters: up to *limit* events that match *wanted*, of the next *window* events
    after *after*.
    """
    parameters: dict[str, Any] = {
        "txid": after.txid,
        "workflow": after.workflow_id,
        "number": after.id,
        "most": limit,
        "window": window,
    }
    if wanted.definition is not None:
        parameters |= definition_values(wanted.definition)
    restored = after.txid < _FIRST_TXID
    if restored:
        del parameters["txid"]
    return _page(scope, wanted, restored=restored), parameters


@lru_cache(maxsize=_CACHED)
def _page(scope: TenantScope, wanted: FeedFilter, *, restored: bool) -> sa.Select[Any]:
    bound = sa.select(_bound().label("txid")).cte("bound").prefix_with("MATERIALIZED")
    scanned = (_scanned_restored() if restored else _scanned(bound)).cte("scanned").prefix_with("MATERIALIZED")
    newest = sa.select(sa.func.coalesce(sa.func.max(events.c.txid), 0)).scalar_subquery()
    lagging = (newest >= bound.c.txid).label("lagging")
    count = sa.select(sa.func.count()).select_from(scanned).scalar_subquery().label("seen")
    key = (scanned.c.txid, scanned.c.workflow_id, scanned.c.id)
    names = ("last_txid", "last_workflow", "last_id")
    last = (
        sa.select(*(column.label(name) for column, name in zip(key, names, strict=True)))
        .order_by(*(column.desc() for column in key))
        .limit(1)
        .cte("last_one")
    )
    matched = (
        sa.select(scanned, *workflows.c["tenant", "origin_instance", "status", "stored_definition"])
        .join_from(scanned, workflows, workflows.c.id == scanned.c.workflow_id)
        .where(visible(scope), *_filters(wanted, scanned))
        .order_by(*key)
        .limit(sa.bindparam("most", type_=sa.Integer()))
        .subquery("matched")
    )
    return (
        sa.select(bound.c.txid.label("bound"), lagging, count, last, matched)
        .join_from(bound, last, sa.true(), isouter=True)
        .join(matched, sa.true(), isouter=True)
        .order_by(matched.c.txid, matched.c.workflow_id, matched.c.id)
    )


def _scanned(bound: sa.CTE) -> sa.Select[Any]:
    order = (events.c.txid, events.c.workflow_id, events.c.id)
    later = sa.tuple_(*order) > sa.tuple_(sa.bindparam("txid", type_=sa.BigInteger()), *_PLACE)
    return sa.select(events).where(later, events.c.txid < bound.c.txid).order_by(*order).limit(_SCANNED)


def _scanned_restored() -> sa.Select[Any]:
    """Events without a transaction id: those that `renumber_restored` found. There may be any number of them.

    They have an index of their own, which PostgreSQL uses only for exactly this condition.
    """
    order = (events.c.workflow_id, events.c.id)
    later = sa.tuple_(*order) > sa.tuple_(*_PLACE)
    return sa.select(events).where(events.c.txid == _NO_TXID, later).order_by(*order).limit(_SCANNED)


def _filters(wanted: FeedFilter, scanned: sa.CTE) -> list[sa.ColumnElement[bool]]:
    filters: list[sa.ColumnElement[bool]] = []
    if wanted.types is not None:
        filters.append(scanned.c.type.in_(sorted(wanted.types)))
    if wanted.status is not None:
        filters.append(workflows.c.status == wanted.status)
    if wanted.origin_instance is not None:
        filters.append(workflows.c.origin_instance == wanted.origin_instance)
    if wanted.definition is not None:
        filters += runs_definition(workflows.c.stored_definition)
    return filters


def _read_page(rows: Any, after: FeedCursor, limit: int, window: int) -> FeedPage:
    first = rows[0]
    bound = FeedCursor.before(first["bound"])
    events = [_event(row) for row in rows if row["id"] is not None]
    if len(events) == limit:
        position, more = events[-1].position, True
    elif first["seen"] == window:
        position, more = FeedCursor(first["last_txid"], first["last_workflow"].int, first["last_id"]), True
    elif after.txid < _FIRST_TXID:
        position, more = FeedCursor.before(_FIRST_TXID), True
    else:
        position, more = max(after, bound), False
    return FeedPage(events, position, bound, more, first["lagging"])


def _event(row: Row) -> FeedEvent:
    workflow_id = row["workflow_id"]
    return FeedEvent(
        history_event(row, shown=True),
        workflow_id,
        row["tenant"],
        row["origin_instance"],
        WorkflowStatus(row["status"]),
        FeedCursor(row["txid"], workflow_id.int, row["id"]),
        None if (reference := row["stored_definition"]) is None else DefinitionReference.parse(reference),
    )
