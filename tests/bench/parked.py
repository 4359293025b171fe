"""The cost of parked workflows for a service: memory, statements and connections, and how soon one that is due runs.

    python tests/bench/parked.py [--workflows 100000] [--seconds 60]

Each waits for a time, and one of them is due while the service runs. Durable commits. The service without workflows is
measured first.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg

from stepwell.persistence.schema.migrations import migrate
from support.database.many_parked import seed_parked
from support.database.postgres import fresh_folder, running_server
from support.database.statement_recorder import statements_sent
from support.service.live_service import Service, running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
_DUE = "SELECT wake_at, extract(epoch FROM wake_at - clock_timestamp()) FROM workflows WHERE id = $1"


def rss_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


async def idle(service: Service, sql: asyncpg.Connection, name: str, seconds: float) -> None:
    await asyncio.sleep(2)
    before = statements_sent(service)
    await asyncio.sleep(seconds)
    statements, connections = statements_sent(service) - before, await sql.fetchval(_CONNECTIONS)
    print(f"{name}: {rss_mb():.1f} MB, {connections} connections, {statements:.0f} statements in {seconds:.0f} s")


async def main(dsn: str, folder: Path, workflows: int, seconds: float) -> None:
    await migrate(dsn)
    sql = await asyncpg.connect(dsn)
    async with running_service(dsn, folder) as service:
        await idle(service, sql, "no workflow", seconds)
    due = await seed_parked(sql, workflows, first_in_s=2 * seconds, others_in_s=86_400)
    began = time.perf_counter()
    async with running_service(dsn, folder) as service:
        print(f"ready after {time.perf_counter() - began:.2f} s beside {workflows:,} parked workflows")
        await idle(service, sql, "parked", seconds)
        before = statements_sent(service)
        until, left = await sql.fetchrow(_DUE, due)
        await asyncio.sleep(max(float(left) - 0.1, 0))
        waited = statements_sent(service) - before
        while await sql.fetchval("SELECT status FROM workflows WHERE id = $1", due) != "COMPLETED":
            await asyncio.sleep(0.005)
        rows = await sql.fetch("SELECT step_id, completed_at FROM steps WHERE workflow_id = $1 ORDER BY position", due)
        late = [(row["completed_at"] - until).total_seconds() * 1e3 for row in rows]
        print(f"{waited:.0f} statements until one was due, {statements_sent(service) - before:.0f} until it had ended")
        print(f"its wait ended {late[0]:.0f} ms after its time, and its next step {late[1]:.0f} ms after that time")
    await sql.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--workflows", type=int, default=100_000)
    options.add_argument("--seconds", type=float, default=60)
    arguments = options.parse_args()
    with running_server(DURABLE) as server, fresh_folder() as files:
        asyncio.run(main(server.dsn(), files, arguments.workflows, arguments.seconds))
