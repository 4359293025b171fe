"""How long a page of the list takes out of a million workflows, filter by filter. Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/listing.py [--workflows 1000000] [--rounds 20] [--folder kept]

*page* is all that `PostgresWorkflowReader.page` does with total=false, *with total* the same and the exact count. Each
search is measured alone and with a label that 40% of the workflows have. A kept folder is seeded only once.

It also builds the indexes of the searches while a client writes, and prints how long the client has waited at most.
"""

import argparse
import asyncio
import gc
import statistics
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import asyncpg
from msgspec import structs
from sqlalchemy import event

from stepwell.basics.tenancy import EVERY_TENANT, TenantScope
from stepwell.contract.enums import WorkflowStatus
from stepwell.lifecycle.records import WorkflowParts
from stepwell.persistence.connections.connection_pool import SmallPool
from stepwell.persistence.connections.database import asyncpg_connect, create_api_engine
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.indexes import build_missing_indexes
from stepwell.persistence.schema.migrations import migrate
from stepwell.persistence.stores.workflow_reader import PostgresWorkflowReader
from stepwell.rules.list_records import ListFilter, WorkflowCursor
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


LATE, EARLY = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
LABEL = "env:prod"
SEARCHES: dict[str, tuple[TenantScope, ListFilter]] = {
    "no filter": (EVERY_TENANT, ListFilter()),
    "status COMPLETED (90%)": (EVERY_TENANT, ListFilter(statuses=(COMPLETED,))),
    "status PAUSED (0.1%)": (EVERY_TENANT, ListFilter(statuses=(PAUSED,))),
    "status FAILED or PAUSED (6%)": (EVERY_TENANT, ListFilter(statuses=(FAILED, PAUSED))),
    "label team:0 (18%)": (EVERY_TENANT, ListFilter(labels=("team:0",))),
    "label team:19 (0.9%)": (EVERY_TENANT, ListFilter(labels=("team:19",))),
    "label of one workflow": (EVERY_TENANT, ListFilter(labels=("order:400000",))),
    "name (75%)": (EVERY_TENANT, ListFilter(name="pipeline")),
    "name (13%)": (EVERY_TENANT, ListFilter(name="nightly")),
    "name (1%)": (EVERY_TENANT, ListFilter(name="nightly number 12")),
    "name, none": (EVERY_TENANT, ListFilter(name="unknown")),
    "zone (15%)": (EVERY_TENANT, ListFilter(origin_zone="zone-0")),
    "zone (1.1%)": (EVERY_TENANT, ListFilter(origin_zone="zone-9")),
    "reference": (EVERY_TENANT, ListFilter(origin_reference="order 400000")),
    "created after (17%)": (EVERY_TENANT, ListFilter(created_after=LATE)),
    "created before (8%)": (EVERY_TENANT, ListFilter(created_before=EARLY)),
    "instance (37%)": (EVERY_TENANT, ListFilter(origin_instance="instance-0")),
    "instance (1.7%)": (EVERY_TENANT, ListFilter(origin_instance="instance-19")),
    "tenant (14%)": (EVERY_TENANT, ListFilter(origin_tenant_id="tenant-0")),
    "huge tenant's": (HUGE, ListFilter()),
    "tiny tenant's": (TINY, ListFilter()),
    "oldest first": (EVERY_TENANT, ListFilter(oldest_first=True)),
    "behind a cursor at 10%": (EVERY_TENANT, ListFilter(after=WorkflowCursor(LATE, UUID(int=0)))),
    "behind a cursor at 90%": (EVERY_TENANT, ListFilter(after=WorkflowCursor(EARLY, UUID(int=0)))),
    "zone (15%) behind a cursor at 90%": (
        EVERY_TENANT,
        ListFilter(origin_zone="zone-0", after=WorkflowCursor(EARLY, UUID(int=0))),
    ),
}


async def measure_searches(dsn: str, rounds: int) -> None:
    gc.set_threshold(*gc.get_threshold()[:2], 1000)  # as the service does
    engine = create_api_engine(dsn, pool=1, timeout_s=60)
    readers = SmallPool(asyncpg_connect(dsn, timeout_s=60), size=1, timeout_s=60)
    store = PostgresWorkflowReader(engine, readers, readers)

    async def timed(scope: TenantScope, query: ListFilter) -> tuple[str, int | None]:
        """Return p50 and p95 of a page, and the total."""
        took, total = list[float](), None
        for _ in range(rounds + 1):
            began = perf_counter()
            total = (await store.page(scope, query)).total
            took.append((perf_counter() - began) * 1000)
        return "".join(f"{figure:8.1f}" for figure in _quantiles(took[1:])), total

    heading = f"{'page p50':>8}{'p95':>8}{'counted':>8}{'p95':>8}{'of':>9}"
    print(f"\n{'ms':34}{heading} | with {LABEL}: {heading}")
    for name, (scope, query) in SEARCHES.items():
        cells = []
        for labels in (query.labels, (*query.labels, LABEL)):
            one = structs.replace(query, labels=labels)
            page, _ = await timed(scope, structs.replace(one, count=False))
            counted, total = await timed(scope, one)
            cells.append(f"{page}{counted}{total:9}")
        print(f"{name:34}{cells[0]} | {'':15}{cells[1]}", flush=True)
    await engine.dispose()


async def build_indexes_under_load(dsn: str) -> None:
    """Drop the indexes of the searches and build them again, while a client updates a row every few milliseconds."""
    connection = await asyncpg.connect(dsn)
    for name in ("workflows_list_by_name", "workflows_list_by_reference", "workflows_list_by_zone"):
        await connection.execute(f"DROP INDEX {name}")
    waits, done = list[float](), asyncio.Event()

    async def write() -> None:
        while not done.is_set():
            began = perf_counter()
            await connection.execute("UPDATE workflows SET crashes = 0 WHERE id = $1", workflow_id)
            waits.append((perf_counter() - began) * 1000)
            await asyncio.sleep(0.005)

    workflow_id = await connection.fetchval("SELECT id FROM workflows LIMIT 1")
    began = perf_counter()
    async with asyncio.TaskGroup() as group:
        group.create_task(write(), name="writer")
        await build_missing_indexes(dsn, lambda _: None)
        done.set()
    took = perf_counter() - began
    print(f"three indexes built in {took:.1f} s; a write meanwhile: p50 {statistics.median(waits):.1f} ms, ", end="")
    print(f"p99 {statistics.quantiles(waits, n=100)[-1]:.1f} ms, longest {max(waits):.1f} ms", flush=True)
    await connection.close()


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
        " WHERE relnamespace = 'public'::regnamespace AND relname ~ '^(workflows|steps|labels)' ORDER BY relname"
    )
    print(", ".join(f"{row['relname']} {row['mb']} MB" for row in sizes))
    await connection.close()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--workflows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--searches-only", action="store_true")
    asked = parser.parse_args()
    with server(asked.folder) as dsn:
        asyncio.run(prepare(dsn, asked.workflows))
        asyncio.run(build_indexes_under_load(dsn))
        asyncio.run(measure_searches(dsn, asked.rounds))
        if not asked.searches_only:
            asyncio.run(measure(dsn, asked.rounds))


if __name__ == "__main__":
    main()
