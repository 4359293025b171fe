"""Many stored workflows at once, spread as they are in a service that has run for a year."""

import asyncpg

# Nine in ten are COMPLETED, one in a thousand PAUSED; 20 instances and 1,000 tenants from a third and a sixth of all
# down to next to nothing; a fifth has no tenant, a twentieth is deleted. The biggest tenant never uses the biggest
# instance: two filters that let much through each, and together nothing.
_WORKFLOWS = """
INSERT INTO workflows (id, tenant, created_by, origin_instance, origin_zone, origin_reference, config, total_steps,
    final_position, created_at, status, name, completed_steps, execution_id, started_at, completed_at, updated_at,
    deleted_at, last_event)
SELECT
    (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || left(md5(n::text), 3)
        || '8' || substr(md5(n::text), 4, 15))::uuid,
    tenant, 'someone',
    CASE WHEN tenant = 'tenant-0' AND instance = 0 THEN 'instance-1' ELSE 'instance-' || instance END,
    CASE WHEN n % 3 = 0 THEN 'zone-' || floor(10 * random() ^ 3) END, CASE WHEN n % 2 = 0 THEN 'order ' || n END,
    '{"on_failure": "drain"}', $2, $2 - 1, at, status,
    (ARRAY['Pipeline', 'pipeline', 'Spring campaign', 'Nightly'])[1 + floor(4 * random() ^ 2)] || ' number ' || n,
    CASE status WHEN 'COMPLETED' THEN $2 ELSE 0 END, gen_random_uuid(), at, at + interval '1 min',
    at + interval '1 min', CASE WHEN random() < 0.05 THEN at + interval '1 day' END, 7
FROM (
    SELECT n, timestamptz '$3-01-01' + n * interval '1 s' * (31536000.0 / $1) AS at,
        CASE WHEN random() > 0.2 THEN 'tenant-' || floor(1000 * random() ^ 4) END AS tenant,
        floor(20 * random() ^ 3)::int AS instance,
        CASE WHEN luck < 0.9 THEN 'COMPLETED' WHEN luck < 0.96 THEN 'FAILED' WHEN luck < 0.998 THEN 'CANCELLED'
            WHEN luck < 0.999 THEN 'PAUSED' WHEN luck < 0.9995 THEN 'PENDING' ELSE 'RUNNING' END AS status
    FROM (SELECT n, random() AS luck FROM generate_series(1, $1) AS n OFFSET 0) AS drawn
    OFFSET 0
) AS made
"""
_STEPS = """
INSERT INTO steps (workflow_id, position, id, step_id, task_type, definition, depends_on, max_retries, timeout_s,
    provider, status, task_id, attempt, provider_attempts, result, started_at, completed_at, updated_at)
SELECT w.id, position, gen_random_uuid(), 'step-' || position, 'GENERATION',
    json_build_object('id', 'step-' || position, 'task_type', 'GENERATION',
        'config', json_build_object('prompt', 'a picture of something nice, in daylight', 'width', 1024)),
    CASE position WHEN 0 THEN '{}' ELSE ARRAY[position - 1] END, 3, 600, 'LOCAL',
    CASE w.status WHEN 'CANCELLED' THEN 'CANCELLED' WHEN 'COMPLETED' THEN 'COMPLETED' ELSE 'PENDING' END,
    gen_random_uuid(), 1, 1,
    CASE w.status WHEN 'COMPLETED' THEN json_build_object('result_image_path', 'media/' || w.id || '/result.png') END,
    w.started_at, w.completed_at, w.updated_at
FROM workflows AS w, generate_series(0, w.total_steps - 1) AS position
WHERE NOT EXISTS (SELECT FROM steps AS s WHERE s.workflow_id = w.id)
"""
# Half of the workflows have labels: one of two environments, one of 20 teams, and one in ten an order of its own.
_LABELS = """
INSERT INTO labels (workflow_id, label, created_at)
SELECT id, label, created_at FROM (
    SELECT id, created_at, n FROM (SELECT *, row_number() OVER (ORDER BY created_at) AS n FROM workflows) AS w
    WHERE n % 2 = 0
) AS w, unnest(ARRAY[
    CASE WHEN n % 5 = 0 THEN 'env:test' ELSE 'env:prod' END, 'team:' || floor(20 * random() ^ 3),
    CASE WHEN n % 20 = 0 THEN 'order:' || n END
]) AS label WHERE label IS NOT NULL
ON CONFLICT DO NOTHING
"""


async def seed(connection: asyncpg.Connection, workflows: int, *, steps: int, year: int = 2026) -> None:
    """Store so many of a year, the same ones every time, and let the planner know."""
    await connection.execute("SELECT setseed(0.5)")
    statement = _WORKFLOWS.replace("$1", str(workflows)).replace("$2", str(steps)).replace("$3", str(year))
    await connection.execute(statement, timeout=1800)
    await connection.execute(_STEPS, timeout=1800)
    await connection.execute(_LABELS, timeout=1800)
    for table in ("workflows", "steps", "labels"):
        await connection.execute(f"VACUUM ANALYZE {table}", timeout=1800)
