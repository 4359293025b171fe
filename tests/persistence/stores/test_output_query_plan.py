"""A page of outputs reads rows by indexes, and no more tasks than it needs, however many sub-workflows there are."""

import json
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import event

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.persistence.connections.database import create_api_engine
from stepwell.persistence.stores.output_pages import read_outputs
from support.database.bulk_workflows import seed
from support.database.query_plans import plan_nodes

CHILDREN, LIMIT = 1_000, 50
# The oldest workflow runs all others, and each is one item of its first step.
_TREE = """
UPDATE workflows SET parent_id = root.id, parent_step = 'step-0', parent_item = number, depth = 1
FROM (SELECT id FROM workflows ORDER BY created_at, id LIMIT 1) AS root,
     (SELECT id, row_number() OVER (ORDER BY id) - 1 AS number FROM workflows) AS child
WHERE workflows.id = child.id AND number BETWEEN 1 AND $1 AND workflows.id <> root.id RETURNING parent_id
"""
_ITEMS = """
INSERT INTO step_items (workflow_id, position, item, value, status, task_id, updated_at, flow)
SELECT parent_id, 0, parent_item, '1', 'COMPLETED', id, updated_at, json_build_object('child', id)
FROM workflows WHERE parent_id IS NOT NULL
"""
# So that the table has items of many workflows, as that of a service has.
_OTHER_ITEMS = """
INSERT INTO step_items (workflow_id, position, item, value, status, updated_at)
SELECT id, 1, 0, '1', 'PENDING', updated_at FROM workflows WHERE parent_id IS NOT NULL
"""
_ATTEMPTS = """
INSERT INTO tasks (id, workflow_id, position, attempt, started_at, status, phase, outcome_unknown, outputs, item)
SELECT id, parent_id, 0, parent_item, updated_at, 'COMPLETED', 'STORED', FALSE, '[]', parent_item
FROM workflows WHERE parent_id IS NOT NULL
"""
_FILES = """
INSERT INTO tasks (id, workflow_id, position, attempt, started_at, status, phase, outcome_unknown, outputs)
SELECT task_id, workflow_id, position, 1, updated_at, 'COMPLETED', 'STORED', FALSE,
       json_build_array(json_build_object('path', 'media/' || task_id || '/a.png', 'size', 1, 'sha256', ''))
FROM steps WHERE position > 0
"""


async def test_a_page_reads_by_indexes_and_only_its_own_tasks(dsn: str) -> None:
    connection = await asyncpg.connect(dsn)
    await seed(connection, CHILDREN * 2, steps=3)
    await connection.execute("UPDATE steps SET status = 'COMPLETED'")
    root: UUID = await connection.fetchval(_TREE, CHILDREN)
    for statement in (_ITEMS, _OTHER_ITEMS, _ATTEMPTS, _FILES):
        await connection.execute(statement)
    for table in ("workflows", "steps", "step_items", "tasks"):
        await connection.execute(f"VACUUM ANALYZE {table}")
    engine = create_api_engine(dsn, pool=1, timeout_s=30)
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    async with engine.connect() as reader:
        first = await read_outputs(reader, EVERY_TENANT, root, None, LIMIT)
        sent.clear()
        assert len(await read_outputs(reader, EVERY_TENANT, root, first[-1].cursor, LIMIT)) == LIMIT
    await engine.dispose()
    assert len(sent) == 2
    (plan,) = json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sent[0][0]}", *sent[0][1]))
    await connection.close()
    scans = [node for node in plan_nodes(plan["Plan"]) if "Scan" in node["Node Type"] and "Relation Name" in node]
    assert {node["Node Type"] for node in scans if node["Relation Name"] != "workflows"} == {"Index Scan"}
    (of_page,) = (node for node in scans if node["Alias"] == "t")
    assert of_page["Actual Loops"] <= LIMIT + 1
    assert of_page["Actual Rows"] * of_page["Actual Loops"] <= 2 * LIMIT + 2
