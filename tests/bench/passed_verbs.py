"""Verbs that reach a process which doesn't run the workflow: what passing them on adds to their latency.

    python tests/bench/passed_verbs.py [--verbs 500]

Two services on one database, in one event loop, so the latency is that of a machine with one core. Durable commits.
Each verb is sent to the process that runs the workflow, and then to the other one.
"""

import argparse
import asyncio
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from stepwell.bench.measurements import percentile
from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import fresh_folder, running_server
from support.providers.scripted import Hang, ScriptedProvider, scripted_step
from support.service.live_service import Service, running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}


async def seconds_of_a_verb(service: Service, path: str, number: int) -> float:
    began = time.perf_counter()
    answer = await service.client.patch(path, json={"name": f"name {number}"})
    assert answer.status_code == 200, answer.text
    return time.perf_counter() - began


async def main(dsn: str, folder: Path, verbs: int) -> None:
    await migrate(dsn)
    provider = ScriptedProvider(default=Hang())
    async with AsyncExitStack() as stack:
        owner, other = [
            await stack.enter_async_context(
                running_service(dsn, folder, providers=[provider], exclusive=False, grace_s=1)
            )
            for _ in range(2)
        ]
        path = f"/api/v1/workflows/{(await owner.create(scripted_step('a')))['id']}"
        await provider.until_called("a")
        for service in (owner, other):
            await seconds_of_a_verb(service, path, 0)
        took: dict[str, list[float]] = {"owner": [], "other": []}
        for number in range(verbs):
            took["owner"].append(await seconds_of_a_verb(owner, path, number))
            took["other"].append(await seconds_of_a_verb(other, path, number))
        for name, seconds in took.items():
            p50, p99 = (percentile(seconds, share) * 1e3 for share in (50, 99))
            print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        added = [there - here for here, there in zip(took["owner"], took["other"], strict=True)]
        print(f"added: p50 {percentile(added, 50) * 1e3:.1f} ms, p99 {percentile(added, 99) * 1e3:.1f} ms")
        provider.release("a")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--verbs", type=int, default=500)
    arguments = options.parse_args()
    with running_server(DURABLE) as server, fresh_folder() as files:
        asyncio.run(main(server.dsn(), files, arguments.verbs))
