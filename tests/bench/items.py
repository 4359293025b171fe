"""1,000 items of one step against a fan of 1,000 steps: the time from create to the end, and statements.

    python tests/bench/items.py [--count 1000] [--rounds 9]

No step needs a provider, so all of it is Stepwell's own work. The steps of the fan all run at once, and so do the items
of one definition. With the default of 10 at once there are 100 commits one after the other. Durable commits. The rounds
alternate.
"""

import argparse
import asyncio
import logging
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
import structlog

from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import fresh_folder, running_server
from support.database.statement_recorder import statements_sent
from support.service.live_service import Service, running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}


def passthrough(step_id: str, **members: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "PASSTHROUGH", "config": {"prompt": "x"}, **members}


def definitions(count: int) -> dict[str, list[dict[str, Any]]]:
    """The definitions that are compared, by name."""
    join = passthrough("join", depends_on=["items"])
    return {
        "fan": [passthrough(f"s{number}") for number in range(count)],
        "items, 10 at once": [passthrough("items", for_each={"count": count}), join],
        "items, all at once": [passthrough("items", for_each={"count": count, "max_concurrency": count}), join],
    }


async def seconds_of(service: Service, sql: asyncpg.Connection, steps: list[dict[str, Any]]) -> tuple[float, float]:
    """Return the time from start to the end, and the statements that the service has sent."""
    created = await service.create(*steps, start=False)
    before, began = statements_sent(service), time.perf_counter()
    await service.app.services.workflows.start(EVERY_TENANT, "bench", UUID(created["id"]))
    while (status := await sql.fetchval("SELECT status FROM workflows WHERE id = $1", created["id"])) == "RUNNING":
        await asyncio.sleep(0.005)
    assert status == "COMPLETED"
    return time.perf_counter() - began, statements_sent(service) - before


async def main(dsn: str, folder: Path, count: int, rounds: int) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    await migrate(dsn)
    sql = await asyncpg.connect(dsn)
    async with running_service(dsn, folder) as service:
        compared = definitions(count)
        for steps in compared.values():
            await seconds_of(service, sql, steps)  # warm
        times: dict[str, list[float]] = {name: [] for name in compared}
        statements: dict[str, float] = {}
        for _ in range(rounds):
            for name, steps in compared.items():
                seconds, statements[name] = await seconds_of(service, sql, steps)
                times[name].append(seconds)
    fan = statistics.median(times["fan"])
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name}: {median:.3f} s ({min(taken):.3f} to {max(taken):.3f}), {median / fan:.2f} x the fan, ", end="")
        print(f"{statements[name]:.0f} statements")
    await sql.close()


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=9)
    arguments = options.parse_args()
    with running_server(DURABLE) as server, fresh_folder() as files:
        asyncio.run(main(server.dsn(), files, arguments.count, arguments.rounds))
