"""One workflow of 10,000 steps over HTTP: how long its create takes, and what others notice meanwhile.

    PYTHONPATH=tests python tests/bench/big.py [--steps 10000] [--rounds 3]

The service is in this process with durable commits; who posts, and who reads another workflow all the while, are a
process of their own.
"""

import argparse
import asyncio
import json
import random
import socket
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import uvloop

from stepwell.bench.loads import Load, Shape
from stepwell.bench.measurements import measure, percentile
from stepwell.cli.http_server import HttpServer
from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.freed_memory import tune_gc
from stepwell.settings import Settings
from support.database.postgres import fresh_folder, running_server
from support.service.live_service import running_service, token

DURABLE = {"fsync": "on", "full_page_writes": "on"}
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
PATH = "/api/v1/workflows/"
READERS = 4
PAUSE_S = 0.01


async def client(address: str, steps: int) -> None:
    """Prints what it saw as JSON."""
    body = json.dumps(next(Load(Shape.LAYERED, 1, steps, 1).bodies()))
    small = next(Load(Shape.CHAIN, 1, 2, 1).bodies())
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    async with httpx.AsyncClient(base_url=address, headers=headers, timeout=60) as http:
        other = (await http.post(PATH, json=small)).raise_for_status().json()["id"]
        took: list[float] = []

        async def read() -> None:
            while True:
                began = time.perf_counter()
                (await http.get(PATH + other)).raise_for_status()
                took.append(time.perf_counter() - began)
                await asyncio.sleep(random.uniform(0, 2 * PAUSE_S))

        async with asyncio.TaskGroup() as group:
            readers = [group.create_task(read(), name=f"reader {number}") for number in range(READERS)]
            while len(took) < 2 * READERS:
                await asyncio.sleep(PAUSE_S)
            took.clear()
            began = time.perf_counter()
            made = (await http.post(PATH, content=body)).raise_for_status()
            created = time.perf_counter() - began
            path = PATH + made.json()["id"]
            while (await http.get(path, params={"include_steps": False})).json()["status"] not in ENDED:
                await asyncio.sleep(5 * PAUSE_S)
            end_s = time.perf_counter() - began
            for reader in readers:
                reader.cancel()
    sys.stdout.write(json.dumps({"created_s": created, "ended_s": end_s, "others_s": took}))


async def main(dsn: str, folder: Path, steps: int, rounds: int) -> None:
    await migrate(dsn)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with running_service(dsn, folder) as service, asyncio.TaskGroup() as group:
            server = HttpServer(service.app.api, Settings(data_dir=folder))
            group.create_task(server.serve(sockets=[listener]), name="http")
            await server.opened.wait()
            for _ in range(rounds):
                async with measure(service.app.metrics) as measured:
                    command = (sys.executable, __file__, "--client", address, "--steps", str(steps))
                    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
                    out, _ = await process.communicate()
                print(report(json.loads(out), measured.lags_s))
            server.should_exit = True


def report(seen: dict[str, Any], lags_s: list[float]) -> str:
    others = seen["others_s"]
    return (
        f"created in {seen['created_s']:.2f} s, ended after {seen['ended_s']:.2f} s; {len(others)} other requests:"
        f" p50 {_ms(others, 50)} ms, p99 {_ms(others, 99)} ms, at most {_ms(others, 100)} ms;"
        f" loop lag p99 {_ms(lags_s, 99)} ms, at most {_ms(lags_s, 100)} ms"
    )


def _ms(values_s: list[float], percent: float) -> int:
    return round(percentile(values_s, percent) * 1e3)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--steps", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--client", help=argparse.SUPPRESS)
    arguments = options.parse_args()
    if arguments.client:
        asyncio.run(client(arguments.client, arguments.steps))
    else:
        tune_gc()
        with running_server(DURABLE) as server, fresh_folder() as files:
            uvloop.run(main(server.dsn(), files, arguments.steps, arguments.rounds))
