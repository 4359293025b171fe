"""The time of a step with items, beside that of a fan of as many steps.

    python tests/bench/items.py [--items 1000] [--rounds 20]

All of them do nothing (PASSTHROUGH), and as many as there are may run at once. Durable commits. Each round runs one
workflow of each kind, one after the other, so that what else the machine does slows both down.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.telemetry import configure_logging
from support.database.postgres import fresh_folder, running_server
from support.service.live_service import Service, running_service
from support.workflows.definitions import body, join

DURABLE = {"fsync": "on", "full_page_writes": "on"}
WARM_UP = 2  # rounds


def with_items(count: int) -> dict[str, Any]:
    for_each = {"count": count, "max_concurrency": 1_000}
    return body(join("first"), join("each", "first", for_each=for_each), join("last", "each"))


def fan(count: int) -> dict[str, Any]:
    middle = [join(f"s{number}", "first") for number in range(count)]
    return body(join("first"), *middle, join("last", *(step["id"] for step in middle)))


async def run(service: Service, definition: dict[str, Any]) -> tuple[float, float]:
    """Return the seconds from create to the end, and those of the service's CPU."""
    workflows, catalog = service.app.services.workflows, service.app.services.catalog
    validated = validate_workflow(definition, catalog)
    began, cpu = time.perf_counter(), time.process_time()
    record = await workflows.create(EVERY_TENANT, "bench", validated, tenant=None, start=True)
    await workflows.until_idle(record.state.id)
    return time.perf_counter() - began, time.process_time() - cpu


async def main(dsn: str, folder: Path, items: int, rounds: int) -> None:
    await migrate(dsn)
    definitions = {"items": with_items(items), "fan": fan(items)}
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in definitions}
    async with running_service(dsn, folder) as service:
        for number in range(rounds + WARM_UP):
            for kind, definition in definitions.items():
                taken = await run(service, definition)
                if number >= WARM_UP:
                    times[kind].append(taken)
    walls = {kind: median(wall for wall, _ in taken) for kind, taken in times.items()}
    cpus = {kind: median(cpu for _, cpu in taken) for kind, taken in times.items()}
    for kind in definitions:
        print(f"{kind}: {walls[kind] * 1e3:.0f} ms, {cpus[kind] * 1e3:.0f} ms of CPU (medians of {rounds})")
    of_time, of_cpu = (each["items"] / each["fan"] for each in (walls, cpus))
    print(f"{items:,} items: {of_time:.2f} x the time of the fan, {of_cpu:.2f} x the CPU")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--items", type=int, default=1_000)
    options.add_argument("--rounds", type=int, default=20)
    arguments = options.parse_args()
    configure_logging("console", "warning")
    with running_server(DURABLE) as server, fresh_folder() as files:
        asyncio.run(main(server.dsn(), files, arguments.items, arguments.rounds))
