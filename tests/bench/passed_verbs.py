"""Two `serve` processes: what passing a verb on adds to its latency, and how soon one takes over from a killed one.

    python tests/bench/passed_verbs.py [--verbs 500]

Each verb is sent to the process that runs the workflow, and then to the other one. Durable commits, default lease.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from stepwell.bench.measurements import percentile
from stepwell.persistence.schema.migrations import migrate
from support.database.postgres import fresh_folder, running_server
from support.processes.cluster import WORKFLOWS, Member, held_step, running_cluster

DURABLE = {"fsync": "on", "full_page_writes": "on"}


async def seconds_of_a_verb(member: Member, path: str, number: int) -> float:
    began = time.perf_counter()
    response = await member.client.patch(path, json={"name": f"name {number}"})
    assert response.status_code == 200, response.text
    return time.perf_counter() - began


async def main(dsn: str, folder: Path, verbs: int) -> None:
    await migrate(dsn)
    async with running_cluster(dsn, folder, 2) as cluster:
        await cluster.identify()
        owner, other = cluster.members
        workflow_id = (await cluster.create(owner, held_step("held")))["id"]
        await cluster.until_job("held")
        path = WORKFLOWS + workflow_id
        for member in (owner, other):
            await seconds_of_a_verb(member, path, 0)
        took: dict[str, list[float]] = {"owner": [], "other": []}
        for number in range(verbs):
            took["owner"].append(await seconds_of_a_verb(owner, path, number))
            took["other"].append(await seconds_of_a_verb(other, path, number))
        for name, seconds in took.items():
            p50, p99 = (percentile(seconds, share) * 1e3 for share in (50, 99))
            print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")
        added = [there - here for here, there in zip(took["owner"], took["other"], strict=True)]
        print(f"added: p50 {percentile(added, 50) * 1e3:.1f} ms, p99 {percentile(added, 99) * 1e3:.1f} ms")
        await owner.kill()
        began = time.perf_counter()
        await cluster.until_owned(workflow_id, by_other_than=owner.owner)
        print(f"taken over {time.perf_counter() - began:.1f} s after kill -9")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--verbs", type=int, default=500)
    arguments = options.parse_args()
    with running_server(DURABLE) as server, fresh_folder() as files:
        asyncio.run(main(server.dsn(), files, arguments.verbs))
