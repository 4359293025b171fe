"""How long a page of the list takes out of a million workflows, filter by filter. Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/listing.py [--workflows 1000000] [--rounds 20] [--folder kept]

*page* is all that `PostgresWorkflowReader.page` does but the count, *total* the count. A kept folder is seeded
only once.
"""

import argparse
import asyncio
import gc
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import asyncpg
from sqlalchemy import event

from stepwell.contract.enums import WorkflowStatus
from stepwell.domain.records import ListFilter, WorkflowParts
from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from support.database.bulk_workflows import seed
from support.database.postgres import fresh_folder

HUGE, TINY, NOBODY = TenantScope("tenant-0"), TenantScope("tenant-999"), TenantScope()
COMPLETED, FAILED, PAUSED = WorkflowStatus.COMPLETED, WorkflowStatus.FAILED, WorkflowStatus.PAUSED
CASES: dict[str, tuple[TenantScope, ListFilter]] = {
    "everything": (EVERY_TENANT, ListFilter()),
    "everything, deleted too": (EVERY_TENANT, ListFilter(include_deleted=True)),
    "COMPLETED (90%)": (EVERY_TENANT, ListFilter(statuses=(COMPLETED,))),
    "FAILED (6%)": (EVERY_TENANT, ListFilter(statuses=(FAILED,))),
    "PAUSED (0.1%)": (EVERY_TENANT, ListFilter(statuses=(PAUSED,))),
    "PAUSED, deleted too": (EVERY_TENANT, ListFilter(statuses=(PAUSED,), include_deleted=True)),
    "instance, dense": (EVERY_TENANT, ListFilter(origin_instance="instance-0")),
    "instance, sparse": (EVERY_TENANT, ListFilter(origin_instance="instance-19")),
    "instance, none": (EVERY_TENANT, ListFilter(origin_instance="elsewhere")),
    "instance and COMPLETED": (EVERY_TENANT, ListFilter(origin_instance="instance-0", statuses=(COMPLETED,))),
    "instance and PAUSED": (EVERY_TENANT, ListFilter(origin_instance="instance-19", statuses=(PAUSED,))),
    "tenant asked for": (EVERY_TENANT, ListFilter(origin_tenant_id="tenant-0")),
    "tenant asked for, tiny": (EVERY_TENANT, ListFilter(origin_tenant_id="tenant-999")),
    "huge tenant's": (HUGE, ListFilter()),
    "huge tenant's, deleted too": (HUGE, ListFilter(include_deleted=True)),
    "huge tenant's COMPLETED": (HUGE, ListFilter(statuses=(COMPLETED,))),
    "huge tenant's PAUSED": (HUGE, ListFilter(statuses=(PAUSED,))),
    "huge tenant's, dense instance, none": (HUGE, ListFilter(origin_instance="instance-0")),
    "huge tenant's, all three": (HUGE, ListFilter(origin_instance="instance-1", statuses=(FAILED,))),
    "tiny tenant's": (TINY, ListFilter()),
    "tiny tenant's COMPLETED": (TINY, ListFilter(statuses=(COMPLETED,))),
    "nobody's": (NOBODY, ListFilter()),
    "nobody's COMPLETED": (NOBODY, ListFilter(statuses=(COMPLETED,))),
    "nobody's PAUSED": (NOBODY, ListFilter(statuses=(PAUSED,))),
    "another tenant's": (HUGE, ListFilter(origin_tenant_id="tenant-1")),
    "without steps": (EVERY_TENANT, ListFilter(parts=WorkflowParts(steps=False))),
    "limit 200": (EVERY_TENANT, ListFilter(limit=200)),
    "skip 10,000": (EVERY_TENANT, ListFilter(skip=10_000)),
    "skip 500,000": (EVERY_TENANT, ListFilter(skip=500_000)),
    "skip 940,000": (EVERY_TENANT, ListFilter(skip=940_000)),
}


async def measure(dsn: str, rounds: int) -> None:
    gc.set_threshold(*gc.get_threshold()[:2], 1000)  # as the service does
    engine = create_api_engine(dsn, pool=1, timeout_s=60)
    readers = SmallPool(asyncpg_connect(dsn, timeout_s=60), size=1, timeout_s=60)
    store = PostgresWorkflowReader(engine, readers, readers)
    counting = defaultdict[str, float](float)

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def began(*values: Any) -> None:
        values[4].began = perf_counter()

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def ended(*values: Any) -> None:
        if "count(" in values[2]:
            counting["total"] += perf_counter() - values[4].began

    print(f"{'':40}{'page p50':>10}{'p95':>8}{'total p50':>11}{'p95':>8}{'rows':>6}{'of':>9}  ms")
    for name, (scope, query) in CASES.items():
        pages, totals = [], []
        size = there = 0
        for _ in range(rounds + 1):
            counting.clear()
            began_at = perf_counter()
            found = await store.page(scope, query)
            took = perf_counter() - began_at
            size, there = len(found.versions), found.total or 0
            totals.append(counting["total"] * 1000)
            pages.append(took * 1000 - totals[-1])
        figures = "".join(f"{figure:9.1f}" for figure in (*_quantiles(pages[1:]), *_quantiles(totals[1:])))
        print(f"{name:40}{figures}{size:7}{there:10}")
    await engine.dispose()


def _quantiles(times: list[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


@contextmanager
def server(folder: Path | None) -> Iterator[str]:
    with ExitStack() as stack:
        embedded = EmbeddedPostgres(folder or stack.enter_context(fresh_folder()) / "postgres")
        embedded.start()
        stack.callback(embedded.stop)
        yield embedded.dsn()


async def prepare(dsn: str, workflows: int) -> None:
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    if not await connection.fetchval("SELECT EXISTS (SELECT FROM workflows)"):
        began = perf_counter()
        await seed(connection, workflows, steps=2)
        print(f"seeded in {perf_counter() - began:.0f} s")
    sizes = await connection.fetch(
        "SELECT relname, pg_relation_size(oid) / 1048576 AS mb FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relname ~ '^(workflows|steps)' ORDER BY relname"
    )
    print(", ".join(f"{row['relname']} {row['mb']} MB" for row in sizes))
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workflows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    with server(asked.folder) as dsn:
        asyncio.run(prepare(dsn, asked.workflows))
        asyncio.run(measure(dsn, asked.rounds))


if __name__ == "__main__":
    main()
