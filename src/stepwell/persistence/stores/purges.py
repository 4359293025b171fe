"""`ports.deletions.Purges` on asyncpg.

Each statement that deletes rows first deletes the row of the workflow. No statement of a run finds it any more, so that
nothing is written afterwards. Nobody waits for a lock: all rows are those of workflows that have ended, and rows that
somebody else has locked are left out where several statements delete them.

A statement doesn't see what others commit after its snapshot, though it may wait for them. So it reports the rows that
it may have left, and another one with a new snapshot deletes these.
"""

from collections.abc import Collection, Sequence
from typing import Final, cast
from uuid import UUID

from msgspec import json

from stepwell.contract.enums import TERMINAL_STATUSES
from stepwell.contract.tasks import Output
from stepwell.lifecycle.cleanup_records import ExpiredBatch, FileRemoval, PurgedRows
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.ports.deletions import MOST_LOSERS

_ROWS_OF_A_BATCH: Final = 50_000  # of each table
_OUTSTANDING: Final = 1_000
_ENDED: Final = ", ".join(f"'{status}'" for status in sorted(TERMINAL_STATUSES))
_OUTPUTS: Final = json.Decoder(tuple[Output, ...])

_FOLLOWED_UP: Final = "EXISTS (SELECT FROM tasks AS k WHERE k.workflow_id = {0} AND k.follow_up_until IS NOT NULL)"
IS_FOLLOWED_UP: Final = f"""
WITH RECURSIVE family AS (
    SELECT $1::uuid AS id UNION ALL SELECT c.id FROM family JOIN workflows AS c ON c.parent_id = family.id
)
SELECT EXISTS (SELECT FROM family WHERE {_FOLLOWED_UP.format("family.id")})
"""  # noqa: S608 - built from a constant

# The sub-workflows of the workflow are deleted with it. One that somebody has resumed directly is left. The epoch
# changes: a process that has loaded one of them for a verb can't store it then, and repeats the verb. The order of the
# locks is in `child_statements`.
REQUEST: Final = f"""
WITH RECURSIVE family AS (
    SELECT w.id, w.tenant, w.deleted_at, w.depth FROM workflows AS w WHERE w.id = $2 AND w.deleted_at IS NOT NULL
    UNION ALL
    SELECT c.id, c.tenant, c.deleted_at, c.depth FROM family JOIN workflows AS c ON c.parent_id = family.id
    WHERE c.owner IS NULL AND c.status IN ({_ENDED})
), to_delete AS MATERIALIZED (
    SELECT c.id FROM workflows AS c
    WHERE c.id = ANY (ARRAY(SELECT id FROM family)) AND c.deleted_at IS NULL AND c.owner IS NULL
      AND c.status IN ({_ENDED})
    ORDER BY c.depth DESC, c.id FOR UPDATE
), deleted AS (
    UPDATE workflows AS c SET deleted_at = clock_timestamp(), epoch = c.epoch + 1
    FROM to_delete WHERE c.id = to_delete.id RETURNING c.id
), begun AS (
    INSERT INTO cleanups AS c (workflow_id, lane, owner, next_at, purge, purged_by)
    SELECT w.id, coalesce(w.tenant, ''), $1, clock_timestamp(), true, $3
    FROM family AS w WHERE w.deleted_at IS NOT NULL OR w.id IN (SELECT id FROM deleted)
    ORDER BY w.depth DESC, w.id
    ON CONFLICT (workflow_id) DO UPDATE SET
        purge = true, purged_by = coalesce(c.purged_by, excluded.purged_by),
        next_at = least(c.next_at, excluded.next_at),
        owner = CASE
            WHEN EXISTS (SELECT FROM processes AS p WHERE p.id = c.owner AND p.lease_until > clock_timestamp())
            THEN c.owner ELSE $1 END
    RETURNING workflow_id, owner
)
SELECT owner FROM begun WHERE workflow_id = $2
UNION ALL SELECT owner FROM cleanups WHERE workflow_id = $2 AND purge LIMIT 1
"""  # noqa: S608 - built from a constant

WITH_UPLOADS: Final = "SELECT DISTINCT workflow_id FROM uploads WHERE workflow_id = ANY($1::uuid[])"


def _old_rows(table: str, returning: str = "workflow_id", lock: str = "") -> str:
    """Return the stage that deletes up to $3 rows of *table*."""
    return f"""old_{table} AS (
    DELETE FROM {table} WHERE ctid = ANY (ARRAY(
        SELECT t.ctid FROM free JOIN {table} AS t ON t.workflow_id = free.id LIMIT $3{lock}
    )) RETURNING {returning}
)"""  # noqa: S608 - names of tables


# Other statements lock rows of these tables before a workflow, or without it. So locked rows are left out, and a row
# that has changed after the snapshot isn't deleted.
_LOCKED_BY_OTHERS: Final = ("deliveries", "idempotency_keys", "commands")
_STAGES: Final = [
    *(_old_rows(table) for table in ("steps", "step_items", "events")),
    _old_rows("tasks", "id, workflow_id, outputs, deleted_at"),
    *(_old_rows(table, lock=" FOR UPDATE OF t SKIP LOCKED") for table in _LOCKED_BY_OTHERS),
    *(
        f"old_{table} AS (DELETE FROM {table} AS t USING free WHERE t.workflow_id = free.id)"  # noqa: S608 - as above
        for table in ("labels", "waits", "signals")
    ),
]
_ARE_LEFT: Final = "".join(
    f"""
        OR (SELECT count(*) FROM old_{table})
         < (SELECT count(*) FROM free JOIN {table} AS t ON t.workflow_id = free.id)"""  # noqa: S608 - as above
    for table in _LOCKED_BY_OTHERS
)
# Deletes the rows of the workflows in the stage `free`, which has their ids and tenants, up to $3 of each table.
# `forced`: their files are deleted even if others have taken over the results.
_DELETE_ROWS: Final = f"""
{", ".join(_STAGES)}, old_budgets AS (
    DELETE FROM budgets AS b USING free WHERE b.scope = free.id::text
), new_removals AS (
    INSERT INTO file_removals AS f (task_id, workflow_id, tenant, outputs, forced)
    SELECT k.id, k.workflow_id, free.tenant, k.outputs, free.forced
    FROM old_tasks AS k JOIN free ON free.id = k.workflow_id
    WHERE k.deleted_at IS NULL AND k.outputs::text <> '[]'
    ON CONFLICT (task_id) DO UPDATE SET forced = f.forced OR excluded.forced
    RETURNING workflow_id
), is_limited AS (
    SELECT greatest(
        (SELECT count(*) FROM old_steps), (SELECT count(*) FROM old_step_items), (SELECT count(*) FROM old_events),
        (SELECT count(*) FROM old_tasks)
    ) >= $3{_ARE_LEFT} AS yes
)"""  # noqa: S608 - built from the constants above

# A statement that locked a workflow earlier may have written rows after the snapshot. Those are left. A checkpoint
# locks a workflow before its cleanup. So the workflows are locked first, in the order of `child_statements`.
DELETE_ROWS: Final = f"""
WITH locked AS MATERIALIZED (
    SELECT w.id FROM workflows AS w WHERE w.id = ANY($2::uuid[]) ORDER BY w.depth DESC, w.id FOR UPDATE
), mine AS MATERIALIZED (
    SELECT c.workflow_id, c.purged_by, nullif(c.lane, '') AS tenant FROM cleanups AS c
    WHERE c.owner = $1 AND c.purge AND c.workflow_id = ANY($2::uuid[]) AND (SELECT count(*) FROM locked) >= 0
    ORDER BY c.workflow_id FOR UPDATE
), gone AS (
    DELETE FROM workflows AS w USING mine
    WHERE w.id = mine.workflow_id AND w.owner IS NULL AND w.deleted_at IS NOT NULL AND NOT {_FOLLOWED_UP.format("w.id")}
    RETURNING w.id, w.tenant, mine.purged_by
), free AS MATERIALIZED (
    SELECT mine.workflow_id AS id, coalesce(gone.tenant, mine.tenant) AS tenant, mine.purged_by IS NOT NULL AS forced
    FROM mine LEFT JOIN gone ON gone.id = mine.workflow_id
    WHERE gone.id IS NOT NULL OR NOT EXISTS (SELECT FROM workflows AS w WHERE w.id = mine.workflow_id)
), recorded AS (
    INSERT INTO deletions (workflow_id, actor, at)
    SELECT id, purged_by, clock_timestamp() FROM gone WHERE purged_by IS NOT NULL
    ON CONFLICT DO NOTHING
), {_DELETE_ROWS}
SELECT free.id, is_limited.yes OR free.id IN (SELECT id FROM gone) AS unfinished FROM free, is_limited
"""  # noqa: S608 - built from constants

# A sub-workflow is due with its root, and a workflow is left until its sub-workflows are gone. So each batch takes
# those at the ends of a family, and the last one its root.
_FAMILY_IS_DUE: Final = """(
    w.depth = 0 OR NOT EXISTS (
        SELECT FROM workflows AS r WHERE r.id = w.root_id AND (
            r.completed_at IS NULL OR r.completed_at > now() - make_interval(secs => $2) OR r.owner IS NOT NULL
        )
    )
) AND (
    w.depth = 0 AND w.sub_workflows = 0 OR NOT EXISTS (SELECT FROM workflows AS c WHERE c.parent_id = w.id)
)"""

# A workflow that has changed after the snapshot is left to the next batch, because its new rows would be left behind.
# The next batch waits until the first pass over each of the last one is over. After a failed pass it doesn't, so that
# files that can't be deleted don't stop the retention, unless there are very many. `now()` is stable, so it can end the
# scan of the index; `clock_timestamp()` can't.
EXPIRE: Final = f"""
WITH busy AS MATERIALIZED (
    SELECT count(*) FILTER (WHERE tries = 0) > 0 OR count(*) >= {_OUTSTANDING} AS yes
    FROM cleanups WHERE purge AND purged_by IS NULL
), turn AS MATERIALIZED (
    SELECT FROM busy WHERE NOT yes AND pg_try_advisory_xact_lock(hashtext('stepwell retention'))
), ended AS MATERIALIZED (
    SELECT w.id, w.ctid AS version, w.tenant, w.total_steps, w.completed_at FROM workflows AS w
    WHERE w.completed_at <= now() - make_interval(secs => $2) AND EXISTS (SELECT FROM turn)
      AND w.owner IS NULL AND w.status IN ({_ENDED}) AND w.feature_level <= {FEATURE_LEVEL}
      AND NOT {_FOLLOWED_UP.format("w.id")}
      AND NOT EXISTS (SELECT FROM deliveries AS d WHERE d.workflow_id = w.id AND d.next_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM cleanups AS c WHERE c.workflow_id = w.id)
      AND {_FAMILY_IS_DUE}
    ORDER BY w.completed_at LIMIT $4 FOR UPDATE OF w SKIP LOCKED
), free AS MATERIALIZED (
    SELECT id, tenant, false AS forced FROM (
        SELECT *, sum(total_steps) OVER (ORDER BY completed_at, id) - total_steps AS before FROM ended
    ) AS e WHERE before < $5 AND version = (SELECT w.ctid FROM workflows AS w WHERE w.id = e.id)
), gone AS (
    DELETE FROM workflows AS w USING free WHERE w.id = free.id RETURNING w.id
), {_DELETE_ROWS}, purges AS (
    INSERT INTO cleanups (workflow_id, lane, owner, next_at, purge)
    SELECT free.id, coalesce(free.tenant, ''), $1, clock_timestamp(), true FROM free, is_limited
    WHERE is_limited.yes OR free.id IN (SELECT workflow_id FROM new_removals)
       OR EXISTS (SELECT FROM artifact_references AS r WHERE r.workflow_id = free.id)
    ON CONFLICT (workflow_id) DO UPDATE SET purge = true
    RETURNING workflow_id
)
SELECT (SELECT count(*) FROM gone) AS count, EXISTS (SELECT FROM purges) AS with_files,
    NOT EXISTS (SELECT FROM turn) AS busy,
    EXISTS (
        SELECT FROM workflows WHERE completed_at <= now() - make_interval(secs => $2) AND depth = 0
    ) AS is_behind,
    (SELECT extract(epoch FROM min(completed_at) - now())::float8 + $2 FROM workflows
     WHERE completed_at > now() - make_interval(secs => $2) AND depth = 0) AS next_s
"""  # noqa: S608 - built from constants

_IS_NEEDED: Final = """
EXISTS (
    SELECT FROM artifact_references AS r JOIN workflows AS w ON w.id = r.workflow_id
    WHERE r.task_id = f.task_id AND w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM f.tenant
      AND NOT (f.forced AND r.reused)
)"""
REMOVALS: Final = f"""
SELECT f.task_id, f.workflow_id, f.outputs FROM file_removals AS f
WHERE f.task_id IN (
    SELECT task_id FROM file_removals WHERE workflow_id = ANY($1::uuid[])
    UNION SELECT task_id FROM artifact_references WHERE workflow_id = ANY($1::uuid[])
) AND f.task_id > $2 AND NOT {_IS_NEEDED}
ORDER BY f.task_id LIMIT $3
"""  # noqa: S608 - built from constants

# A cleanup has left the row of a task whose files other workflows needed.
END_REMOVALS: Final = """
WITH ended AS (DELETE FROM file_removals WHERE task_id = ANY($1::uuid[]) RETURNING task_id)
UPDATE tasks AS t SET deleted_at = clock_timestamp() FROM ended WHERE t.id = ended.task_id AND t.deleted_at IS NULL
"""

# A run that has ended may have a reference without having taken the result: its file was gone, or a process died.
_HAS_TAKEN: Final = """
EXISTS (SELECT FROM {0} AS u WHERE u.workflow_id = r.workflow_id AND strpos(u.flow::text, r.task_id::text) > 0)"""
LOSERS: Final = f"""
WITH RECURSIVE family AS (
    SELECT id, tenant FROM workflows WHERE id = $1
    UNION ALL SELECT c.id, c.tenant FROM family JOIN workflows AS c ON c.parent_id = family.id
), lost AS (
    SELECT k.id, family.tenant FROM family JOIN tasks AS k ON k.workflow_id = family.id
    WHERE k.deleted_at IS NULL AND k.outputs::text <> '[]'
), readers AS (
    SELECT r.task_id, r.workflow_id, r.reused, w.status FROM lost JOIN artifact_references AS r ON r.task_id = lost.id
    JOIN workflows AS w ON w.id = r.workflow_id AND w.deleted_at IS NULL AND w.tenant IS NOT DISTINCT FROM lost.tenant
    WHERE NOT EXISTS (SELECT FROM family WHERE family.id = w.id)
)
SELECT DISTINCT workflow_id FROM readers AS r
WHERE reused AND NOT EXISTS (SELECT FROM readers AS n WHERE n.task_id = r.task_id AND NOT n.reused)
  AND (status NOT IN ({_ENDED}) OR {_HAS_TAKEN.format("steps")} OR {_HAS_TAKEN.format("step_items")})
ORDER BY workflow_id LIMIT {MOST_LOSERS}
"""  # noqa: S608 - built from constants

END: Final = """
WITH ended AS (
    DELETE FROM cleanups WHERE workflow_id = ANY (ARRAY(
        SELECT workflow_id FROM cleanups WHERE owner = $1 AND purge AND workflow_id = ANY($2::uuid[])
        ORDER BY workflow_id FOR UPDATE
    )) RETURNING workflow_id
)
DELETE FROM artifact_references AS r USING ended WHERE r.workflow_id = ended.workflow_id
"""


class PostgresPurges(PooledAdapter):
    async def is_followed_up(self, workflow_id: UUID) -> bool:
        rows = await self._connections.fetch(IS_FOLLOWED_UP, workflow_id)
        return cast("bool", rows[0][0])

    async def request(self, owner: UUID, workflow_id: UUID, actor: str) -> UUID | None:
        rows = await self._connections.fetch(REQUEST, owner, workflow_id, actor)
        return cast("UUID", rows[0]["owner"]) if rows else None

    async def losers(self, workflow_id: UUID) -> Sequence[UUID]:
        return [row["workflow_id"] for row in await self._connections.fetch(LOSERS, workflow_id)]

    async def with_uploads(self, workflow_ids: Collection[UUID]) -> Collection[UUID]:
        return [row["workflow_id"] for row in await self._connections.fetch(WITH_UPLOADS, list(workflow_ids))]

    async def delete_rows(self, owner: UUID, workflow_ids: Collection[UUID], limit: int) -> PurgedRows:
        rows = await self._connections.fetch(DELETE_ROWS, owner, list(workflow_ids), limit)
        ids = frozenset(row["id"] for row in rows)
        return PurgedRows(ids, frozenset(row["id"] for row in rows if row["unfinished"]))

    async def removals(self, workflow_ids: Collection[UUID], after: UUID, limit: int) -> Sequence[FileRemoval]:
        rows = await self._connections.fetch(REMOVALS, list(workflow_ids), after, limit)
        return [FileRemoval(row["task_id"], row["workflow_id"], _paths(row["outputs"])) for row in rows]

    async def end_removals(self, task_ids: Collection[UUID]) -> None:
        await self._connections.fetch(END_REMOVALS, list(task_ids))

    async def end(self, owner: UUID, workflow_ids: Collection[UUID]) -> None:
        await self._connections.fetch(END, owner, list(workflow_ids))

    async def expire(self, owner: UUID, retention_s: float, most: int, most_steps: int) -> ExpiredBatch:
        rows = await self._connections.fetch(EXPIRE, owner, retention_s, _ROWS_OF_A_BATCH, most, most_steps)
        row = rows[0]
        next_s = None if row["next_s"] is None else max(row["next_s"], 0.0)
        return ExpiredBatch(row["count"], row["with_files"], row["busy"], row["is_behind"], next_s)


def _paths(outputs: str | bytes) -> tuple[str, ...]:
    return tuple(output.path for output in _OUTPUTS.decode(outputs))
