"""How the retention deletes a million old workflows: how long it takes, who waits for it, and what the tables keep.

    PYTHONPATH=tests .venv/bin/python tests/bench/retention.py [--workflows 1000000]

The service is in this process, with durable commits. One workflow in ten has a file. Meanwhile others create and update
workflows over the API, first without the retention, then beside it. A connection of its own looks every few
milliseconds for statements that wait for a lock. In the end as many workflows are stored once more.
"""

import argparse
import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
import uvloop

from stepwell.persistence.schema.startup import prepare_database
from stepwell.runtime.telemetry import configure_logging
from support.database.bulk_workflows import seed
from support.database.postgres import fresh_folder, running_server
from support.service.live_service import Service, running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}
OLD, NEW = 2024, 2025
DAYS = 30
BEFORE_S = 15.0
PAUSE_S = 0.01
TABLES = ("workflows", "steps", "tasks", "events", "labels", "artifact_references")
STEP = {"id": "a", "task_type": "PASSTHROUGH", "config": {"x": 1}}
_TASKS = """
INSERT INTO tasks (id, workflow_id, position, attempt, provider, started_at, status, phase, outputs, completed_at)
SELECT s.task_id, s.workflow_id, s.position, 1, 'LOCAL', s.started_at, 'COMPLETED', 'STORED',
    CASE WHEN s.position = 0 AND s.workflow_id::text ~ '0$|1$' THEN
        json_build_array(json_build_object('path', 'media/' || s.task_id || '/x.png', 'size', 3, 'sha256', 'ff'))
    ELSE '[]' END, s.completed_at
FROM steps AS s WHERE s.task_id IS NOT NULL AND NOT EXISTS (SELECT FROM tasks AS k WHERE k.id = s.task_id)
"""
_EVENTS = """
INSERT INTO events (workflow_id, id, type, at, step_id, actor, data, txid)
SELECT w.id, n, 'step.started', w.created_at, 'step-0', 'tester', '{"attempt": 1, "provider": "LOCAL"}', 3
FROM workflows AS w, generate_series(1, 7) AS n
WHERE NOT EXISTS (SELECT FROM events AS e WHERE e.workflow_id = w.id)
"""
_OF_LOAD = "origin_instance = 'tests'"
_FILES = "SELECT id FROM tasks WHERE outputs::text <> '[]'"
_DUE = f"""
FROM workflows
WHERE completed_at < now() - interval '{DAYS} days' AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
"""
_WAITS = "SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart)), 0)::float8 FROM pg_locks"


class Waits:
    """The longest times, in seconds: of creates, of updates, and of statements that wait for a lock.

    `refused` counts creates that were a 429, because the database was slow.
    """

    def __init__(self) -> None:
        self.create = self.update = self.lock = 0.0
        self.creates = self.updates = self.refused = 0

    def __str__(self) -> str:
        longest = f"create {self.create * 1000:.0f} ms, update {self.update * 1000:.0f} ms"
        counts = f"{self.creates} creates, {self.refused} of them refused, {self.updates} updates"
        return f"longest {longest}, lock {self.lock * 1000:.0f} ms ({counts})"


async def store(sql: asyncpg.Connection, workflows: int, year: int) -> None:
    await seed(sql, workflows, steps=2, year=year)
    for statement in (_TASKS, _EVENTS):
        await sql.execute(statement, timeout=1800)
    await vacuum(sql)


async def vacuum(sql: asyncpg.Connection) -> None:
    for table in TABLES:
        await sql.execute(f"VACUUM ANALYZE {table}", timeout=1800)


async def sizes(sql: asyncpg.Connection) -> dict[str, int]:
    """Return the bytes of each table with its indexes."""
    return {table: await sql.fetchval(f"SELECT pg_total_relation_size('{table}')") for table in TABLES}


async def write_files(sql: asyncpg.Connection, folder: Path) -> int:
    ids = [row["id"] for row in await sql.fetch(_FILES)]
    for each in ids:
        path = folder / "artifacts/media" / str(each) / "x.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"png")
    return len(ids)


@asynccontextmanager
async def load(service: Service, dsn: str) -> AsyncIterator[Waits]:
    """Create and update workflows, and watch for locks, within the context."""
    waits = Waits()
    target = (await service.create(STEP, start=False))["id"]
    sql = await asyncpg.connect(dsn)

    async def create() -> None:
        while True:
            began = perf_counter()
            body = {"name": "a load", "origin_instance": "tests", "steps": [STEP]}
            response = await service.client.post("/api/v1/workflows/", json=body)
            assert response.status_code in {201, 429}, response.text
            waits.create, waits.creates = max(waits.create, perf_counter() - began), waits.creates + 1
            waits.refused += response.status_code == 429
            await asyncio.sleep(PAUSE_S)

    async def update() -> None:
        while True:
            began = perf_counter()
            response = await service.client.patch(f"/api/v1/workflows/{target}", json={"name": f"n {began}"})
            assert response.status_code == 200, response.text
            waits.update, waits.updates = max(waits.update, perf_counter() - began), waits.updates + 1
            await asyncio.sleep(PAUSE_S)

    async def watch() -> None:
        while True:
            waits.lock = max(waits.lock, await sql.fetchval(_WAITS))
            await asyncio.sleep(PAUSE_S / 2)

    async with asyncio.TaskGroup() as group:
        asyncio_tasks = [group.create_task(work(), name=work.__name__) for work in (create, update, watch)]
        yield waits
        for asyncio_task in asyncio_tasks:
            asyncio_task.cancel()
    await sql.close()


async def run(dsn: str, workflows: int, folder: Path) -> None:
    await prepare_database(dsn, timeout_s=60, waiting=print)
    sql = await asyncpg.connect(dsn)
    began = perf_counter()
    await store(sql, workflows, OLD)
    files = await write_files(sql, folder)
    due, full = await sql.fetchval(f"SELECT count(*) {_DUE}"), await sizes(sql)
    print(f"stored {workflows} workflows, {due} of them due, and {files} files in {perf_counter() - began:.0f} s")
    settings: dict[str, Any] = {"max_active_workflows_per_tenant": 500}
    async with running_service(dsn, folder, **settings) as service, load(service, dsn) as waits:
        await asyncio.sleep(BEFORE_S)
    print(f"without: {waits}")
    began = perf_counter()
    async with running_service(dsn, folder, retention_days=DAYS, **settings) as service, load(service, dsn) as waits:
        while await sql.fetchval(f"SELECT EXISTS (SELECT {_DUE})"):
            await asyncio.sleep(1)
        while left := await sql.fetchval("SELECT count(*) FROM cleanups"):
            await asyncio.sleep(0.1)
        took = perf_counter() - began
        assert left == 0
    kept = {path.parent.name for path in (folder / "artifacts/media").glob("*/*")}
    orphans = kept - {str(row["id"]) for row in await sql.fetch(_FILES)}
    print(f"deleted {due} workflows in {took:.0f} s ({due / took:.0f}/s)")
    print(f"{len(kept)} files are left, {len(orphans)} of them without a task")
    print(f"beside:  {waits}")
    for table in TABLES[1:]:
        await sql.execute(f"DELETE FROM {table} WHERE workflow_id IN (SELECT id FROM workflows WHERE {_OF_LOAD})")
    await sql.execute(f"DELETE FROM workflows WHERE {_OF_LOAD}")
    await vacuum(sql)
    await vacuum(sql)  # pages of indexes that the first has emptied are free only after the second
    empty = await sizes(sql)
    await store(sql, workflows, NEW)
    again = await sizes(sql)
    print(f"{'':22}{'full':>9}{'deleted':>9}{'again':>9} MB  growth")
    for table in TABLES:
        figures = "".join(f"{each[table] / 2**20:9.0f}" for each in (full, empty, again))
        print(f"{table:22}{figures}{100 * (again[table] / full[table] - 1):9.1f} %")
    growth = sum(again.values()) / sum(full.values()) - 1
    print(f"all tables: {100 * growth:.1f} %")
    await sql.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workflows", type=int, default=1_000_000)
    asked = parser.parse_args()
    configure_logging("console", "warning")
    with running_server(DURABLE) as server, fresh_folder() as folder:
        uvloop.run(run(server.dsn(), asked.workflows, folder))


if __name__ == "__main__":
    main()
