"""Boot over many workflows that a killed process has left: how soon it is ready, how soon all are in memory again.

    python tests/bench/boot.py [--workflows 10000] [--steps 10]

Each has one attempt under way at a provider that never answers, so that what is in memory stays there. Durable commits.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg

from stepwell.bench.measurements import measure, peak_rss_mb, percentile
from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.freed_memory import tune_gc
from support.database.postgres import fresh_folder, running_server
from support.providers.scripted import Hang, ScriptedProvider
from support.service.live_service import running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}
SEED = """
WITH w AS (
    INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, started_at,
        status, name, updated_at, owner, epoch, last_event)
    SELECT gen_random_uuid(), 'someone', 'bench', '{}', $2, $2 - 1, now(), now(), 'RUNNING', 'n', now(), $3, 1, 3
    FROM generate_series(1, $1)
    RETURNING id
), s AS (
    INSERT INTO steps (workflow_id, position, id, step_id, task_type, definition, depends_on, max_retries, timeout_s,
        provider, status, task_id, attempt, provider_attempts, updated_at)
    SELECT w.id, p, gen_random_uuid(), 'step-' || p, 'GENERATION',
        json_build_object('id', 'step-' || p, 'task_type', 'GENERATION', 'config', json_build_object('prompt', 'x'),
            'depends_on', CASE WHEN p = 0 THEN '[]'::json ELSE json_build_array('step-' || p - 1) END),
        CASE WHEN p = 0 THEN '{}'::int[] ELSE ARRAY[p - 1] END, 3, 600, 'CUSTOM',
        CASE WHEN p = 0 THEN 'RUNNING' ELSE 'PENDING' END,
        CASE WHEN p = 0 THEN gen_random_uuid() END, (p = 0)::int, (p = 0)::int, now()
    FROM w, generate_series(0, $2 - 1) AS p
    RETURNING workflow_id, task_id
), t AS (
    INSERT INTO tasks (id, workflow_id, position, attempt, provider, started_at, status, phase, outputs)
    SELECT task_id, workflow_id, 0, 1, 'CUSTOM', now(), 'RUNNING', 'INTENT', '[]' FROM s WHERE task_id IS NOT NULL
)
INSERT INTO processes VALUES ($3, 'infinity')
"""


async def main(dsn: str, folder: Path, workflows: int, steps: int) -> None:
    await migrate(dsn)
    sql = await asyncpg.connect(dsn)
    await sql.execute(SEED, workflows, steps, uuid4(), timeout=300)
    await sql.execute("VACUUM ANALYZE")
    await sql.close()
    before, began = peak_rss_mb(), time.perf_counter()
    async with running_service(
        dsn, folder, providers=[ScriptedProvider(default=Hang())], wait_for_claims=False, grace_s=1
    ) as service:
        ready = time.perf_counter() - began
        async with measure(service.app.metrics) as measured:
            while service.app.metrics.value("stepwell_workflows_in_memory") < workflows:
                await asyncio.sleep(0.01)
            done = time.perf_counter() - began
        assert measured.counts is not None
        lag = percentile(measured.lags_s, 99) * 1e3, max(measured.lags_s) * 1e3
        print(f"ready after {ready:.2f} s, {workflows} workflows of {steps} steps in memory after {done:.2f} s")
        print(f"{measured.counts.statements:.0f} statements; loop lag p99 {lag[0]:.0f} ms, at most {lag[1]:.0f} ms")
        print(f"memory {(peak_rss_mb() - before) * 1e6 / workflows / steps:.0f} bytes a step")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workflows", type=int, default=10_000)
    options.add_argument("--steps", type=int, default=10)
    arguments = options.parse_args()
    with running_server(DURABLE) as server, fresh_folder() as files:
        tune_gc()
        asyncio.run(main(server.dsn(), files, arguments.workflows, arguments.steps))
