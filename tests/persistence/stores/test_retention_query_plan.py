"""The retention reads only workflows that are due, however many have ended."""

import json
from uuid import uuid4

import asyncpg
import pytest

from stepwell.persistence.stores.purges import EXPIRE
from support.database.bulk_workflows import seed
from support.database.query_plans import plan_nodes

BATCH = 50


@pytest.mark.parametrize(("year", "most"), [(2099, 0), (2020, BATCH + 20)])
async def test_a_batch_reads_no_workflow_that_is_not_due(dsn: str, year: int, most: int) -> None:
    sql = await asyncpg.connect(dsn)
    await seed(sql, 5_000, steps=1, year=year)
    await sql.execute(f"PREPARE expire (uuid, float8, bigint, int, int) AS {EXPIRE}")
    execute = f"EXECUTE expire('{uuid4()}', 86400, 1000, {BATCH}, 1000)"
    (plan,) = json.loads(await sql.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {execute}"))
    await sql.close()
    scans = [
        node
        for node in plan_nodes(plan["Plan"])
        if node.get("Relation Name") == "workflows" and "Scan" in node["Node Type"] and "completed_at" in str(node)
    ]
    read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in scans]
    assert sum(read) <= most + 2  # one row shows that a workflow is due, and one when the next one is
