"""Reads the files of the results of a run and its sub-workflows, page by page.

What must hold:
- A page takes two statements, however many sub-workflows there are. It reads the rows of the sub-workflows, each by
  an index, and of tasks, steps and items only those up to the end of the page. It also looks for results that people
  have given, in the column `flow` of the steps and items behind its beginning.
- A result by hand is listed where the next attempt at its step or item would be. Its files are uploads, or those of
  other tasks.
- A sub-workflow has the id of the attempt that created it. So it is listed at the position of
  that attempt.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from msgspec.structs import asdict
from sqlalchemy import BigInteger, Boolean, Integer, Text, Uuid, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection

from stepwell.basics.artifacts import PATH_IN_JSON
from stepwell.basics.folder_names import DefinitionKey, StepOrItem, StepPaths
from stepwell.basics.tenancy import TenantScope
from stepwell.contract.tasks import Output
from stepwell.persistence.tables.column import Row
from stepwell.rules.list_records import ITEM_ATTEMPTS, OutputCursor, StoredOutput
from stepwell.runtime.offloop import off_loop

# `path` has the positions and numbers of the attempts that lead to a sub-workflow. The list has the order of `path`. Of
# the sub-workflows that `repeat` creates, the one that counts has made the result of the step. While the step has none,
# the present one counts. OFFSET 0 makes each subquery use an index, because the planner doesn't know how many
# sub-workflows there are.
_TREE: Final = """WITH RECURSIVE tree AS (
    SELECT w.id, w.final_position, w.reuse IS NOT NULL AS reuses, TRUE AS final, ARRAY[]::int[] AS path,
           ARRAY[w.id] AS ids, ARRAY[w.id] AS finals, ARRAY[]::text[] AS step_ids, ARRAY[]::int[] AS items
    FROM workflows AS w WHERE w.id = :workflow_id AND (:every OR w.tenant IS NOT DISTINCT FROM :tenant)
      AND (:subject IS NULL OR w.created_by = :subject)
    UNION ALL
    SELECT c.id, c.final_position, c.reuse IS NOT NULL, f.final AND t.position = f.final_position,
           f.path || ARRAY[t.position, t.attempt],
           f.ids || c.id, CASE WHEN f.final AND t.position = f.final_position THEN f.finals || c.id ELSE f.finals END,
           array_append(f.step_ids, c.parent_step), array_append(f.items, c.parent_item)
    FROM tree AS f JOIN workflows AS c ON c.parent_id = f.id
    CROSS JOIN LATERAL (SELECT position, attempt, item FROM tasks WHERE id = c.id OFFSET 0) AS t
    CROSS JOIN LATERAL (
        SELECT repeat, status, result, flow FROM steps WHERE workflow_id = f.id AND position = t.position OFFSET 0
    ) AS s
    LEFT JOIN LATERAL (
        SELECT status, result, flow FROM step_items
        WHERE workflow_id = f.id AND position = t.position AND item = t.item OFFSET 0
    ) AS i ON TRUE
    WHERE c.id::text = CASE WHEN s.repeat IS NOT NULL AND coalesce(i.status, s.status) = 'COMPLETED'
                            THEN coalesce(i.result, s.result) ->> 'workflow_id'
                            ELSE coalesce(i.flow, s.flow) ->> 'child' END
)"""
# The path of the workflow of the last page, which may count no longer: another one has replaced it meanwhile.
_AFTER: Final = """, above_after AS (
    SELECT :after_workflow AS id, ARRAY[]::int[] AS path
    UNION ALL
    SELECT w.parent_id, ARRAY[k.position, k.attempt] || a.path
    FROM above_after AS a JOIN workflows AS w ON w.id = a.id JOIN tasks AS k ON k.id = w.id
    WHERE a.id <> :workflow_id
)"""
# The files of the results that people have given to the steps and items of the workflow `w`.
_GIVEN: Final = f"""
    SELECT m.id, g.position, g.attempt, g.item, g.step_id, m.number::int AS file, m.path,
           coalesce(u.size, (k.value ->> 'size')::bigint) AS size, coalesce(u.sha256, k.value ->> 'sha256') AS sha256
    FROM (
        SELECT position, attempt + 1 AS attempt, NULL::int AS item, step_id, result FROM steps
        WHERE workflow_id = w.id AND position >= w.from_position AND status = 'COMPLETED'
          AND flow ->> 'given_by' IS NOT NULL
        UNION ALL
        SELECT i.position, i.item * {ITEM_ATTEMPTS} + i.attempt + 1, i.item, s.step_id, i.result
        FROM step_items AS i JOIN steps AS s ON s.workflow_id = i.workflow_id AND s.position = i.position
        WHERE i.workflow_id = w.id AND i.position >= w.from_position AND i.status = 'COMPLETED'
          AND i.flow ->> 'given_by' IS NOT NULL AND s.flow ->> 'given_by' IS NULL
    ) AS g
    CROSS JOIN LATERAL (
        SELECT path, split_part(path, '/', 2)::uuid AS id, row_number() OVER (ORDER BY first) AS number FROM (
            SELECT f[1] AS path, min(n) AS first
            FROM regexp_matches(g.result::text, :path_pattern, 'g') WITH ORDINALITY AS f(f, n) GROUP BY 1
        ) AS f
    ) AS m
    LEFT JOIN uploads AS u ON u.id = m.id AND u.status = 'STORED'
    LEFT JOIN LATERAL (
        SELECT e.value FROM tasks AS t CROSS JOIN LATERAL json_array_elements(t.outputs) AS e(value)
        WHERE t.id = m.id AND t.deleted_at IS NULL AND e.value ->> 'path' = m.path LIMIT 1
    ) AS k ON TRUE
    WHERE (g.position, g.attempt, m.number) > (w.from_position, w.from_attempt, w.from_number)
      AND (u.id IS NOT NULL OR k.value IS NOT NULL)
    ORDER BY g.position, g.attempt, m.number LIMIT :limit"""  # noqa: S608 - built from constants
_FILE: Final = """e.number::int AS file,
               e.value ->> 'path' AS path, (e.value ->> 'size')::bigint AS size, e.value ->> 'sha256' AS sha256"""
# The files of the results that the workflow `w` has taken over. There is no attempt at these, so the files stand before
# those of the attempts at the step or item.
_REUSED: Final = f"""
    SELECT (u.reused ->> 'task_id')::uuid, u.position, u.attempt, u.item, u.step_id, {_FILE}
    FROM (
        SELECT s.position, 0 AS attempt, NULL::int AS item, s.step_id, s.flow -> 'reused' AS reused
        FROM steps AS s
        WHERE w.reuses AND s.workflow_id = w.id AND s.position >= w.from_position AND s.flow ->> 'reused' IS NOT NULL
        UNION ALL
        SELECT i.position, i.item * {ITEM_ATTEMPTS}, i.item, s.step_id, i.flow -> 'reused'
        FROM step_items AS i JOIN steps AS s ON s.workflow_id = i.workflow_id AND s.position = i.position
        WHERE w.reuses AND i.workflow_id = w.id AND i.position >= w.from_position AND i.flow ->> 'reused' IS NOT NULL
    ) AS u CROSS JOIN LATERAL json_array_elements(u.reused -> 'outputs') WITH ORDINALITY AS e(value, number)
    WHERE (u.position, u.attempt, e.number) > (w.from_position, w.from_attempt, w.from_number)
    ORDER BY u.position, u.attempt, e.number LIMIT :limit"""  # noqa: S608 - built from constants
# Both sides of the lateral join are subqueries. So it reads the workflows in their order, and the limit ends it. If the
# join had an ORDER BY instead, it would read the files of all workflows first.
# A file is final if the final step made it, or if the result of that step names it. `finals` are the workflow and those
# above it that make the final result of the root. The result of a sub-workflow names all files of the sub-workflow, so
# that of its own final step is read instead.
_PAGE: Final = f"""{_TREE}{_AFTER},
page AS MATERIALIZED (
    SELECT w.path AS above, w.ids, w.finals, w.step_ids, w.items,
           w.final AND o.position = w.final_position AS final, o.*
    FROM (
        SELECT f.*, CASE WHEN f.id = :after_workflow THEN :after_position ELSE -1 END AS from_position,
               CASE WHEN f.id = :after_workflow THEN :after_attempt ELSE -1 END AS from_attempt,
               CASE WHEN f.id = :after_workflow THEN :after_number ELSE -1 END AS from_number
        FROM tree AS f
        WHERE :after_workflow IS NULL OR f.path >= (SELECT path FROM above_after WHERE id = :workflow_id)
        ORDER BY f.path
    ) AS w
    CROSS JOIN LATERAL (
      (
        SELECT t.id, t.position, t.attempt, t.item, s.step_id, {_FILE}
        FROM tasks AS t
        JOIN steps AS s ON s.workflow_id = t.workflow_id AND s.position = t.position
        LEFT JOIN step_items AS i ON i.workflow_id = t.workflow_id AND i.position = t.position AND i.item = t.item
        CROSS JOIN LATERAL json_array_elements(t.outputs) WITH ORDINALITY AS e(value, number)
        WHERE t.workflow_id = w.id AND t.status = 'COMPLETED' AND t.deleted_at IS NULL
          AND (t.position, t.attempt) >= (w.from_position, w.from_attempt)
          AND (t.position, t.attempt, e.number) > (w.from_position, w.from_attempt, w.from_number)
          AND coalesce(i.status, s.status) = 'COMPLETED'
          AND CASE WHEN s.repeat IS NULL THEN t.id = coalesce(i.task_id, s.task_id)
                   ELSE position('media/' || t.id || '/' IN coalesce(i.result, s.result)::text) > 0 END
          AND coalesce(i.flow, s.flow) ->> 'given_by' IS NULL
        ORDER BY t.position, t.attempt, e.number LIMIT :limit
      ) UNION ALL ({_GIVEN}) UNION ALL ({_REUSED})
      ORDER BY position, attempt, file LIMIT :limit
    ) AS o
    LIMIT :limit
), named AS MATERIALIZED (
    SELECT DISTINCT f.id, m[1] AS path
    FROM (SELECT DISTINCT unnest(finals) AS id FROM page) AS f
    CROSS JOIN LATERAL (SELECT final_position FROM workflows WHERE id = f.id OFFSET 0) AS w
    CROSS JOIN LATERAL (
        SELECT result FROM steps WHERE workflow_id = f.id AND position = w.final_position
        AND status = 'COMPLETED' AND task_type <> 'SUBWORKFLOW' OFFSET 0
    ) AS s
    LEFT JOIN LATERAL (
        SELECT result FROM step_items WHERE workflow_id = f.id AND position = w.final_position OFFSET 0
    ) AS i ON TRUE
    CROSS JOIN LATERAL regexp_matches(coalesce(i.result, s.result)::text, :path_pattern, 'g') AS m
)
SELECT page.*, final OR EXISTS (
    SELECT FROM named WHERE named.path = page.path AND named.id = ANY(page.finals)
) AS is_final
FROM page ORDER BY above, position, attempt, file"""  # noqa: S608 - built from constants
_OUTPUTS: Final = text(_PAGE).bindparams(
    bindparam("workflow_id", type_=Uuid()),
    bindparam("every", type_=Boolean()),
    bindparam("tenant", type_=Text()),
    bindparam("subject", type_=Text()),
    bindparam("after_workflow", type_=Uuid()),
    *(bindparam(name, type_=Integer()) for name in ("after_position", "after_attempt", "after_number")),
    bindparam("limit", type_=BigInteger()),
    bindparam("path_pattern", PATH_IN_JSON, type_=Text()),
)
_STEP_IDS: Final = text(
    "SELECT workflow_id, step_id FROM steps WHERE workflow_id = ANY(:workflow_ids) ORDER BY workflow_id, position"
).bindparams(bindparam("workflow_ids", type_=ARRAY(Uuid())))
_BEGINNING: Final = (None, -1, -1, -1)


async def read_outputs(
    connection: AsyncConnection, scope: TenantScope, workflow_id: UUID, after: OutputCursor | None, limit: int
) -> list[StoredOutput]:
    """Return what `ports.storage.WorkflowReader.outputs` describes; nothing for an unknown workflow."""
    names = ("after_workflow", "after_position", "after_attempt", "after_number")
    values = {"workflow_id": workflow_id, "limit": limit} | asdict(scope)
    values |= zip(names, after or _BEGINNING, strict=True)
    rows = (await connection.execute(_OUTPUTS, values)).mappings().all()
    step_ids = await _step_ids(connection, rows) if rows else {}
    paths = await off_loop(lambda: StepPaths(step_ids), steps=sum(map(len, step_ids.values())))
    return [
        StoredOutput(
            cursor=OutputCursor(row["ids"][-1], row["position"], row["attempt"], row["file"]),
            output=Output(row["path"], row["size"], row["sha256"]),
            task_id=row["id"],
            step_path=paths.path(
                [*map(StepOrItem, row["step_ids"], row["items"]), StepOrItem(row["step_id"], row["item"])]
            ),
            is_final=row["is_final"],
        )
        for row in rows
    ]


async def _step_ids(connection: AsyncConnection, rows: Sequence[Row]) -> dict[DefinitionKey, list[str]]:
    """Return the steps of all definitions of *rows*. One workflow is read for each definition."""
    workflows = dict[DefinitionKey, UUID]()
    for row in rows:
        for depth, each in enumerate(row["ids"]):
            workflows.setdefault(tuple(row["step_ids"][:depth]), each)
    steps: dict[UUID, list[str]] = {each: [] for each in workflows.values()}
    for workflow_id, step_id in await connection.execute(_STEP_IDS, {"workflow_ids": list(steps)}):
        steps[workflow_id].append(step_id)
    return {key: steps[each] for key, each in workflows.items()}
