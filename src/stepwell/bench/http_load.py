"""A load over HTTP. It runs in another process, so that its work isn't measured as the service's.

`python -m stepwell.bench.http_load` reads an `HttpLoadOrder` from stdin, and ends with the load.
"""

import asyncio
import sys
from typing import Any

import httpx
from msgspec import Struct, json

from stepwell.bench.driver import RunOne, drive
from stepwell.bench.loads import Load

_PATH = "/api/v1/workflows/"
_ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.25
_RESPONSE_S = 60.0


class HttpLoadOrder(Struct, frozen=True):
    """The order that `bench` gives to the process that posts workflows over HTTP."""

    load: Load
    address: str
    token: str


async def run_http_load(load: Load, address: str, token: str) -> None:
    """Start a process that posts *load* to *address* and polls each workflow until its end. Raises RuntimeError."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "stepwell.bench.http_load", stdin=asyncio.subprocess.PIPE
    )
    try:
        await process.communicate(json.encode(HttpLoadOrder(load, address, token)))
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise RuntimeError(f"the load ended with exit code {process.returncode}")


def _over_http(client: httpx.AsyncClient) -> RunOne:
    async def run_one(body: dict[str, Any]) -> None:
        response = (await client.post(_PATH, content=json.encode(body))).raise_for_status()
        path, pause = _PATH + response.json()["id"], _FIRST_PAUSE_S
        while response.json()["status"] not in _ENDED:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)
            response = (await client.get(path, params={"include_steps": False})).raise_for_status()

    return run_one


async def _run(order: HttpLoadOrder) -> None:
    headers = {"Authorization": f"Bearer {order.token}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=order.load.concurrency)
    async with httpx.AsyncClient(base_url=order.address, headers=headers, limits=limits, timeout=_RESPONSE_S) as client:
        await drive(order.load.bodies(), _over_http(client), order.load.concurrency)


if __name__ == "__main__":
    asyncio.run(_run(json.decode(sys.stdin.buffer.read(), type=HttpLoadOrder)))
