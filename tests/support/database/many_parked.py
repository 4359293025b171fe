"""Many parked workflows at once, as the service has left them."""

import asyncpg

# Each waits for a time, and has a second step that runs after that. One in a thousand is PAUSED.
_SEED = """
WITH w AS (
    INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, started_at,
        status, name, updated_at, epoch, last_event, has_flow, wake_at)
    SELECT gen_random_uuid(), 'someone', 'parked', '{}', 2, 1, now(), now(),
        CASE n % 1000 WHEN 1 THEN 'PAUSED' ELSE 'RUNNING' END,
        'n', now(), 1, 3, true, now() + make_interval(secs => $2) + n * interval '1 s'
    FROM generate_series(1, $1) AS n
    RETURNING id, wake_at
)
INSERT INTO steps (workflow_id, position, id, step_id, task_type, definition, depends_on, max_retries, timeout_s,
    status, started_at, updated_at, flow)
SELECT w.id, p, gen_random_uuid(), CASE p WHEN 0 THEN 'wait' ELSE 'after' END,
    CASE p WHEN 0 THEN 'DELAY' ELSE 'PASSTHROUGH' END,
    CASE p WHEN 0 THEN '{"id": "wait", "task_type": "DELAY", "config": {"seconds": 9000}}'
           ELSE '{"id": "after", "task_type": "PASSTHROUGH", "depends_on": ["wait"]}' END::json,
    CASE p WHEN 0 THEN '{}'::int[] ELSE '{0}' END, 0, 600, CASE p WHEN 0 THEN 'RUNNING' ELSE 'PENDING' END,
    CASE p WHEN 0 THEN now() END, now(),
    CASE p WHEN 0 THEN json_build_object('wait', json_build_object(
        'id', gen_random_uuid(), 'kind', 'delay', 'since', now(), 'until', w.wake_at)) END
FROM w, generate_series(0, 1) AS p
"""
_FIRST = "UPDATE workflows SET wake_at = $2 WHERE id = $1"
_FIRST_STEP = "UPDATE steps SET flow = jsonb_set(flow::jsonb, '{wait,until}', to_jsonb($2::timestamptz))::json"


async def seed_parked(sql: asyncpg.Connection, workflows: int, *, first_in_s: float, others_in_s: float) -> str:
    """Store so many parked workflows. Return the id of the one that is due in *first_in_s*; the others come later."""
    await sql.execute(_SEED, workflows, others_in_s, timeout=1800)
    for table in ("workflows", "steps"):
        await sql.execute(f"VACUUM ANALYZE {table}", timeout=1800)
    first = str(await sql.fetchval("SELECT id FROM workflows WHERE status = 'RUNNING' LIMIT 1"))
    await make_due(sql, first, first_in_s)
    return first


async def make_due(sql: asyncpg.Connection, workflow_id: str, in_s: float = 0) -> None:
    """Let a parked workflow be due in so many seconds."""
    at = await sql.fetchval("SELECT clock_timestamp() + make_interval(secs => $1)", in_s)
    await sql.execute(_FIRST, workflow_id, at)
    await sql.execute(f"{_FIRST_STEP} WHERE workflow_id = $1 AND position = 0", workflow_id, at)
