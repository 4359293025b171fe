"""Reads the results of an earlier run that a new one may take over, and takes them.

What must hold:
- A result is taken only while its run isn't deleted. From then on its files are referenced by the new run, and no
  cleanup deletes them. The lock on the earlier run makes its deletion come before that, or after it: a cleanup begins
  in the transaction that deletes its workflow, and so it sees the references.
"""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from msgspec import json

from stepwell.basics.artifacts import TASK_IN_JSON
from stepwell.lifecycle.model import UnitKey
from stepwell.lifecycle.records import EarlierResult
from stepwell.persistence.tables.column import Row, names
from stepwell.persistence.tables.steps import read_flow
from stepwell.persistence.tables.tasks import TASK, read_task
from stepwell.persistence.tables.workflows import in_scope
from stepwell.rules.earlier_results import CompletedUnit, earlier_results

_IS_EARLIER: Final = f"w.id = $1 AND w.deleted_at IS NULL AND {in_scope(2, 'w.')}"
COMPLETED_UNITS: Final = f"""
SELECT s.position, NULL::int AS item, s.step_id, s.repeat, s.task_id, s.flow, octet_length(s.result::text) AS size
FROM workflows AS w JOIN steps AS s ON s.workflow_id = w.id
WHERE {_IS_EARLIER} AND s.status = 'COMPLETED' AND s.result IS NOT NULL
UNION ALL
SELECT i.position, i.item, s.step_id, s.repeat, i.task_id, i.flow, octet_length(i.result::text)
FROM workflows AS w JOIN step_items AS i ON i.workflow_id = w.id
JOIN steps AS s ON s.workflow_id = i.workflow_id AND s.position = i.position
WHERE {_IS_EARLIER} AND i.status = 'COMPLETED' AND i.result IS NOT NULL
ORDER BY position, item
"""  # noqa: S608 - built from a constant
COMPLETED_TASKS: Final = f"""
SELECT {names(TASK.columns, "t.")} FROM workflows AS w JOIN tasks AS t ON t.workflow_id = w.id
WHERE {_IS_EARLIER} AND t.status = 'COMPLETED' AND t.fingerprint IS NOT NULL
ORDER BY t.position, t.attempt
"""  # noqa: S608 - built from constants

# Returns those of the results with the keys $5 and $6 that still exist. The workflow $7, if any, needs their files.
TAKE: Final = f"""
WITH earlier AS MATERIALIZED (SELECT w.id FROM workflows AS w WHERE {_IS_EARLIER} FOR SHARE), taken AS MATERIALIZED (
    SELECT k.position, k.item, CASE WHEN k.item IS NULL THEN s.result ELSE i.result END AS result
    FROM unnest($5::int[], $6::int[]) AS k(position, item) CROSS JOIN earlier
    JOIN steps AS s ON s.workflow_id = earlier.id AND s.position = k.position
    LEFT JOIN step_items AS i ON i.workflow_id = earlier.id AND i.position = k.position AND i.item = k.item
    WHERE CASE WHEN k.item IS NULL THEN s.status ELSE i.status END = 'COMPLETED'
), named AS (
    INSERT INTO artifact_references (task_id, workflow_id, reused)
    SELECT DISTINCT m[1]::uuid, $7::uuid, true
    FROM taken CROSS JOIN LATERAL regexp_matches(taken.result::text, '{TASK_IN_JSON}', 'g') AS m
    WHERE $7::uuid IS NOT NULL
    ON CONFLICT DO NOTHING
)
SELECT position, item, result FROM taken WHERE result IS NOT NULL
"""  # noqa: S608 - built from constants


def read_earlier_results(units: Sequence[Row], tasks: Sequence[Row], workflow_id: UUID) -> list[EarlierResult]:
    """Return the results in the rows of `COMPLETED_UNITS` and `COMPLETED_TASKS`, in the order of their keys."""
    completed = [
        CompletedUnit(
            key=UnitKey(row["position"], row["item"]),
            step_id=row["step_id"],
            task_id=row["task_id"],
            size=row["size"],
            repeat=None if row["repeat"] is None else json.decode(row["repeat"]),
            flow=None if row["flow"] is None else read_flow(row["flow"]),
        )
        for row in units
    ]
    return earlier_results(workflow_id, completed, map(read_task, tasks))
