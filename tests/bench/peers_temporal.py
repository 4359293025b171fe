"""One shape on Temporal: a worker and a client in this process, on the server at the given address.

    python -m bench.peers_temporal ADDRESS chain|fan WORKFLOWS STEPS

`peers.py` starts it. A step is an activity, and all options of the worker are the defaults. The last line on stdout is
the seconds from the first workflow started to the last result.
"""

import asyncio
import os
import sys
import time
from datetime import timedelta
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from bench.peers_report import Shape

_QUEUE = "peers"
_STEP = timedelta(seconds=60)


@activity.defn
async def one_more(count: int) -> int:
    return count + 1


@activity.defn
async def joined(counts: list[int]) -> int:
    return len(counts) + 2


@workflow.defn(name="chain")
class Chain:
    @workflow.run
    async def run(self, steps: int) -> int:
        count = 0
        for _ in range(steps):
            count = await workflow.execute_activity(one_more, count, start_to_close_timeout=_STEP)
        return count


@workflow.defn(name="fan")
class Fan:
    @workflow.run
    async def run(self, steps: int) -> int:
        first = await workflow.execute_activity(one_more, 0, start_to_close_timeout=_STEP)
        wide = [workflow.execute_activity(one_more, first, start_to_close_timeout=_STEP) for _ in range(steps - 2)]
        counts = list(await asyncio.gather(*wide))
        last: int = await workflow.execute_activity(joined, counts, start_to_close_timeout=_STEP)
        return last


async def run(client: Client, shape: Shape) -> None:
    async def one() -> int:
        count: int = await client.execute_workflow(
            shape.kind, shape.steps, id=str(uuid4()), task_queue=_QUEUE, result_type=int
        )
        return count

    counts = await asyncio.gather(*(one() for _ in range(shape.workflows)))
    assert counts == [shape.steps] * shape.workflows


async def measure(address: str, shape: Shape) -> float:
    client = await Client.connect(address)
    async with Worker(client, task_queue=_QUEUE, workflows=[Chain, Fan], activities=[one_more, joined]):
        await run(client, Shape(shape.kind, 2, 5))  # so that connections are there
        started = time.perf_counter()
        await run(client, shape)
        return time.perf_counter() - started


def main(address: str, kind: str, workflows: str, steps: str) -> None:
    print(asyncio.run(measure(address, Shape(kind, int(workflows), int(steps)))), flush=True)
    os._exit(0)  # the threads of the SDK abort the interpreter now and then while it ends


if __name__ == "__main__":
    main(*sys.argv[1:])
