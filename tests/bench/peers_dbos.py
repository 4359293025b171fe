"""One shape on DBOS: an app in this process, on the database at the URL it is told. `peers.py` starts it.

    python -m bench.peers_dbos URL chain|fan WORKFLOWS STEPS

Its last line on stdout is the seconds from the first workflow handed in to the last result known.
"""

import asyncio
import sys
import time

from dbos import DBOS

from bench.peers_report import Shape

# DBOS bounds its threads by nothing, but hundreds of them that fight for one interpreter take longer than a few.
_THREADS = 4


def one_more(count: int) -> int:
    return count + 1


def joined(counts: list[int]) -> int:
    return len(counts) + 2


@DBOS.step()
def step(count: int) -> int:
    return one_more(count)


@DBOS.workflow()
def chain(steps: int) -> int:
    count = 0
    for _ in range(steps):
        count = step(count)
    return count


@DBOS.workflow()
async def fan(steps: int) -> int:
    # A sync step takes one trip to a thread and back, an async one two: one to look, one to record.
    first = await DBOS.run_step_async({}, one_more, 0)
    wide = await asyncio.gather(*(DBOS.run_step_async({}, one_more, first) for _ in range(steps - 2)))
    last: int = await DBOS.run_step_async({}, joined, wide)
    return last


def run(shape: Shape) -> None:
    """Run it; on threads, which take half the CPU of async workflows where nothing else is parallel."""
    if shape.kind == "chain":
        handles = [DBOS.start_workflow(chain, shape.steps) for _ in range(shape.workflows)]
        counts = [handle.get_result() for handle in handles]
    else:
        counts = asyncio.run(_fans(shape))
    assert counts == [shape.steps] * shape.workflows


async def _fans(shape: Shape) -> list[int]:
    counts: list[int] = await asyncio.gather(*(fan(shape.steps) for _ in range(shape.workflows)))
    return counts


def main(url: str, kind: str, workflows: str, steps: str) -> None:
    shape = Shape(kind, int(workflows), int(steps))
    DBOS(
        config={
            "name": "peers",
            "system_database_url": url,
            "max_executor_threads": _THREADS,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        run(Shape(kind, 2, 5))  # so that connections and statements are there
        started = time.perf_counter()
        run(shape)
        print(time.perf_counter() - started)
    finally:
        DBOS.destroy()


if __name__ == "__main__":
    main(*sys.argv[1:])
