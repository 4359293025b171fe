"""One shape on Restate: this process sends it to the ingress, and endpoints of its own run the steps.

    python -m bench.peers_restate INGRESS,ADMIN chain|fan WORKFLOWS STEPS

`peers.py` starts it, with the URLs of a server. Its last line on stdout is the seconds from the first workflow sent to
the last result.
"""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import restate

from bench.peers_report import Shape

_START_S = 30.0
_RUN_S = 150.0
_STOP_S = 10.0

peers = restate.Service("peers")


async def one_more(count: int) -> int:
    return count + 1


async def joined(counts: list[int]) -> int:
    return len(counts) + 2


@peers.handler()
async def chain(ctx: restate.Context, steps: int) -> int:
    count = 0
    for _ in range(steps):
        count = await ctx.run_typed("step", one_more, count=count)
    return count


@peers.handler()
async def fan(ctx: restate.Context, steps: int) -> int:
    first = await ctx.run_typed("first", one_more, count=0)
    # All run at once, as with `restate.gather`, which takes twice the time because it looks at all for each that ends.
    wide = [ctx.run_typed("step", one_more, count=first) for _ in range(steps - 2)]
    last: int = await ctx.run_typed("last", joined, counts=[await each for each in wide])
    return last


app = restate.app(services=[peers])


async def run(ingress: httpx.AsyncClient, shape: Shape) -> None:
    async def one() -> int:
        response = await ingress.post(f"/peers/{shape.kind}", json=shape.steps)
        return int(response.raise_for_status().json())

    counts = await asyncio.gather(*(one() for _ in range(shape.workflows)))
    assert counts == [shape.steps] * shape.workflows


@contextmanager
def endpoints() -> Iterator[str]:
    """Serve the handlers by a process for each CPU, and yield the URL.

    The server that the SDK's documentation names speaks HTTP/2, by which a journal is streamed both ways.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        command = [sys.executable, "-m", "hypercorn", "bench.peers_restate:app", "--bind", f"fd://{listener.fileno()}"]
        command += ["--workers", str(os.cpu_count() or 1), "--worker-class", "uvloop", "--log-level", "ERROR"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, pass_fds=[listener.fileno()]) as process:
            try:
                yield url
            finally:
                process.terminate()
                process.wait(_STOP_S)


async def measure(ingress: str, admin: str, uri: str, shape: Shape) -> float:
    async with httpx.AsyncClient(timeout=_START_S) as client:
        (await client.post(f"{admin}/deployments", json={"uri": uri})).raise_for_status()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=ingress, timeout=_RUN_S, limits=limits) as client:
        await run(client, Shape(shape.kind, 2, 5))  # so that connections are there
        started = time.perf_counter()
        await run(client, shape)
        return time.perf_counter() - started


def main(urls: str, kind: str, workflows: str, steps: str) -> None:
    ingress, admin = urls.split(",")
    with endpoints() as uri:
        print(asyncio.run(measure(ingress, admin, uri, Shape(kind, int(workflows), int(steps)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
