"""A load over HTTP, in a process of its own so that its work isn't counted as the service's.

`python -m stepwell.bench.http_load` reads an `HttpLoadOrder` from stdin and ends when the load has.
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
_FIRST_LOOK_S, _LAST_LOOK_S = 0.01, 0.25
_ANSWER_S = 60.0


class HttpLoadOrder(Struct, frozen=True):
    load: Load
    address: str
    token: str


async def order(load: Load, address: str, token: str) -> None:
    """Have a process post *load* to *address*, and look at each workflow until it has ended. Raises RuntimeError."""
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
        answer = (await client.post(_PATH, content=json.encode(body))).raise_for_status()
        path, pause = _PATH + answer.json()["id"], _FIRST_LOOK_S
        while answer.json()["status"] not in _ENDED:
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _LAST_LOOK_S)
            answer = (await client.get(path, params={"include_steps": False})).raise_for_status()

    return run_one


async def _run(given: HttpLoadOrder) -> None:
    headers = {"Authorization": f"Bearer {given.token}", "Content-Type": "application/json"}
    limits = httpx.Limits(max_connections=given.load.concurrency)
    async with httpx.AsyncClient(base_url=given.address, headers=headers, limits=limits, timeout=_ANSWER_S) as client:
        await drive(given.load.bodies(), _over_http(client), given.load.concurrency)


if __name__ == "__main__":
    asyncio.run(_run(json.decode(sys.stdin.buffer.read(), type=HttpLoadOrder)))
