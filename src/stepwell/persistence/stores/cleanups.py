"""`ports.deletions.Cleanups` on asyncpg.

A statement finds the due cleanups lane by lane, so that the many cleanups of one tenant hide no other's.
"""

from collections.abc import Collection, Sequence
from typing import Final, cast
from uuid import UUID

from stepwell.contract.enums import TaskType, WorkflowStatus
from stepwell.lifecycle.cleanup_records import CleanupCounts, DueCleanup, TaskToClean
from stepwell.lifecycle.feature_level import FEATURE_LEVEL
from stepwell.lifecycle.records import TaskRecord
from stepwell.persistence.connections.connection_pool import PooledAdapter
from stepwell.persistence.tables.column import Row, names
from stepwell.persistence.tables.tasks import TASK, read_task
from stepwell.rules.list_records import TaskCursor

_MOST_DUE: Final = 1_000

REQUEST: Final = """
WITH reported AS MATERIALIZED (
    SELECT EXISTS (
        SELECT FROM events WHERE workflow_id = $2 AND type = 'workflow.files_deleted'
    ) AS already
)
INSERT INTO cleanups AS c (workflow_id, lane, owner, next_at, repeated)
SELECT w.id, coalesce(w.tenant, ''), $1, clock_timestamp(), reported.already
FROM workflows AS w, reported
WHERE w.id = $2 AND w.deleted_at IS NOT NULL AND (
    NOT reported.already OR EXISTS (SELECT FROM tasks WHERE workflow_id = $2 AND deleted_at IS NULL)
)
ON CONFLICT (workflow_id) DO UPDATE SET next_at = least(c.next_at, excluded.next_at), owner = CASE
    WHEN EXISTS (SELECT FROM processes AS p WHERE p.id = c.owner AND p.lease_until > clock_timestamp()) THEN c.owner
    ELSE $1 END
RETURNING owner
"""

TAKE_OVER: Final = f"""
WITH others AS MATERIALIZED (
    SELECT owners.id, p.id IS NULL OR p.lease_until = '-infinity' AS gone
    FROM (SELECT DISTINCT owner AS id FROM cleanups) AS owners
    LEFT JOIN processes AS p ON p.id = owners.id
    WHERE owners.id <> $1 AND (p.id IS NULL OR p.lease_until <= clock_timestamp())
), orphans AS MATERIALIZED (
    SELECT c.workflow_id FROM others JOIN cleanups AS c ON c.owner = others.id
    WHERE (others.gone OR c.next_at <= clock_timestamp())
      AND NOT EXISTS (SELECT FROM workflows AS w WHERE w.id = c.workflow_id AND w.feature_level > {FEATURE_LEVEL})
    FOR UPDATE OF c SKIP LOCKED
)
UPDATE cleanups AS c SET owner = $1 FROM orphans AS o WHERE c.workflow_id = o.workflow_id
"""  # noqa: S608 - built from a constant

NEXT: Final = """
SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM cleanups WHERE owner = $1
"""

# The recursive stage finds each lane by one step in the index.
DUE: Final = f"""
WITH RECURSIVE lanes AS (
    (SELECT lane FROM cleanups WHERE owner = $1 ORDER BY lane LIMIT 1)
    UNION ALL
    SELECT (SELECT c.lane FROM cleanups AS c WHERE c.owner = $1 AND c.lane > l.lane ORDER BY c.lane LIMIT 1)
    FROM lanes AS l WHERE l.lane IS NOT NULL
), known AS MATERIALIZED (SELECT lane, clock_timestamp() AS now FROM lanes WHERE lane IS NOT NULL)
(SELECT d.workflow_id, d.lane, d.tries, d.purge, d.purge AND d.purged_by IS NULL AS expired, 0::float8 AS seconds
 FROM known CROSS JOIN LATERAL (
    SELECT * FROM cleanups AS c
    WHERE c.owner = $1 AND c.lane = known.lane AND c.next_at <= known.now
      AND (c.workflow_id IN (SELECT unnest($2::uuid[]))) IS NOT TRUE
    ORDER BY c.next_at LIMIT $3
 ) AS d ORDER BY d.next_at LIMIT {_MOST_DUE})
UNION ALL
SELECT NULL, NULL, 0, false, false, extract(epoch FROM min(d.next_at - known.now))::float8
FROM known CROSS JOIN LATERAL (
    SELECT next_at FROM cleanups AS c
    WHERE c.owner = $1 AND c.lane = known.lane AND c.next_at > known.now ORDER BY c.next_at LIMIT 1
) AS d
HAVING min(d.next_at) IS NOT NULL
"""  # noqa: S608 - built from a constant

# Files are deleted only after this has committed. So if a task's position is below the recorded one, this cleanup has
# deleted a missing file.
NEXT_TASKS: Final = f"""
WITH mine AS MATERIALIZED (
    SELECT c.begun_position, c.begun_attempt, w.tenant
    FROM cleanups AS c JOIN workflows AS w ON w.id = c.workflow_id
    WHERE c.workflow_id = $2 AND c.owner = $1 FOR UPDATE OF c
), page AS MATERIALIZED (
    SELECT {names(TASK.columns)} FROM tasks
    WHERE workflow_id = $2 AND deleted_at IS NULL AND (position, attempt) > ($3, $4) AND EXISTS (SELECT FROM mine)
    ORDER BY position, attempt LIMIT $5
), begun AS (
    UPDATE cleanups AS c SET begun_position = last.position, begun_attempt = last.attempt
    FROM (SELECT position, attempt FROM page ORDER BY position DESC, attempt DESC LIMIT 1) AS last
    WHERE c.workflow_id = $2 AND c.owner = $1
      AND (last.position, last.attempt) > (c.begun_position, c.begun_attempt)
)
SELECT page.*, s.step_id, s.task_type, reader.id AS referenced_by,
       (page.position, page.attempt) <= (mine.begun_position, mine.begun_attempt) AS begun
FROM mine CROSS JOIN page
JOIN steps AS s ON s.workflow_id = page.workflow_id AND s.position = page.position
LEFT JOIN LATERAL (
    SELECT w.id FROM artifact_references AS r JOIN workflows AS w ON w.id = r.workflow_id
    WHERE r.task_id = page.id AND r.workflow_id <> $2 AND w.deleted_at IS NULL
      AND w.tenant IS NOT DISTINCT FROM mine.tenant
    ORDER BY w.id LIMIT 1
) AS reader ON true
ORDER BY page.position, page.attempt
"""  # noqa: S608 - built from constants

CHILDREN: Final = "SELECT id, status FROM workflows WHERE parent_id = $1 AND deleted_at IS NULL ORDER BY id LIMIT $2"

# The files of the tasks $6 stay for other workflows. The last of these deletes them, see `stores.purges.REMOVALS`.
SETTLE: Final = """
WITH mine AS (
    UPDATE cleanups SET deleted = deleted + $4, gone = gone + $5 WHERE workflow_id = $2 AND owner = $1
    RETURNING workflow_id
), kept AS (
    INSERT INTO file_removals (task_id, workflow_id, tenant, outputs)
    SELECT k.id, w.id, w.tenant, k.outputs FROM mine JOIN workflows AS w ON w.id = mine.workflow_id
    JOIN tasks AS k ON k.workflow_id = w.id AND k.id = ANY($6::uuid[])
    ON CONFLICT DO NOTHING
)
UPDATE tasks AS t SET deleted_at = clock_timestamp() FROM mine
WHERE t.workflow_id = mine.workflow_id AND t.id = ANY($3::uuid[]) AND t.deleted_at IS NULL
"""

POSTPONE: Final = """
UPDATE cleanups SET next_at = clock_timestamp() + make_interval(secs => $3), tries = tries + 1
WHERE workflow_id = $2 AND owner = $1
"""

COUNTS: Final = "SELECT deleted, gone, repeated FROM cleanups WHERE workflow_id = $2 AND owner = $1 AND NOT purge"

END: Final = "DELETE FROM cleanups WHERE workflow_id = $2 AND owner = $1 AND NOT purge"


class PostgresCleanups(PooledAdapter):
    async def request(self, owner: UUID, workflow_id: UUID) -> UUID | None:
        rows = await self._connections.fetch(REQUEST, owner, workflow_id)
        return cast("UUID", rows[0]["owner"]) if rows else None

    async def take_over(self, owner: UUID) -> float | None:
        async with self._connections.borrow() as connection:
            await connection.execute(TAKE_OVER, owner)
            seconds = cast("float | None", await connection.fetchval(NEXT, owner))
        return None if seconds is None else max(seconds, 0.0)

    async def due(
        self, owner: UUID, except_for: Collection[UUID], per_lane: int
    ) -> tuple[Sequence[DueCleanup], float | None]:
        rows = await self._connections.fetch(DUE, owner, list(except_for), per_lane)
        later = next((row["seconds"] for row in rows if row["workflow_id"] is None), None)
        due = [
            DueCleanup(row["workflow_id"], row["lane"], row["tries"], row["purge"], row["expired"])
            for row in rows
            if row["workflow_id"]
        ]
        return due, later

    async def next_tasks(self, owner: UUID, workflow_id: UUID, after: TaskCursor, limit: int) -> Sequence[TaskToClean]:
        return [_task(row) for row in await self._connections.fetch(NEXT_TASKS, owner, workflow_id, *after, limit)]

    async def children(self, workflow_id: UUID, limit: int) -> dict[UUID, WorkflowStatus]:
        rows = await self._connections.fetch(CHILDREN, workflow_id, limit)
        return {row["id"]: WorkflowStatus(row["status"]) for row in rows}

    async def settle(
        self,
        owner: UUID,
        workflow_id: UUID,
        task_ids: Sequence[UUID],
        deleted: int,
        gone: int,
        kept: Sequence[UUID] = (),
    ) -> None:
        await self._connections.fetch(SETTLE, owner, workflow_id, list(task_ids), deleted, gone, list(kept))

    async def postpone(self, owner: UUID, workflow_id: UUID, seconds: float) -> None:
        await self._connections.fetch(POSTPONE, owner, workflow_id, seconds)

    async def counts(self, owner: UUID, workflow_id: UUID) -> CleanupCounts | None:
        rows = await self._connections.fetch(COUNTS, owner, workflow_id)
        return CleanupCounts(*rows[0]) if rows else None

    async def end(self, owner: UUID, workflow_id: UUID) -> None:
        await self._connections.fetch(END, owner, workflow_id)


def _task(row: Row) -> TaskToClean:
    record = TaskRecord(
        read_task(row), row["workflow_id"], row["step_id"], TaskType(row["task_type"]), row["started_at"]
    )
    return TaskToClean(record, row["referenced_by"], row["begun"])
