"""Requests a second over HTTP, beside a bare handler that returns the same bytes on the same server. Run by hand:

    PYTHONPATH=tests .venv/bin/python tests/bench/over_http.py [--rounds 5] [--seconds 2] [--concurrency 32]

The service is `stepwell up` on a fresh folder; the bare handler decodes what is posted by msgspec, and does no more.
Both are processes of their own, and so is the load. They take turns, so that whatever else happens happens to both.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from urllib.parse import urlsplit

import httptools
from litestar import Litestar, MediaType, Response, get, post
from litestar.params import FromPath

from stepwell.cli.http_server import HttpServer
from stepwell.cli.listeners import bound_socket
from stepwell.contract.definition import CreateWorkflow
from stepwell.settings import Settings
from support.database.postgres import fresh_folder
from support.processes.stepwell_process import StepwellProcess, running_up, until
from support.workflows.image_pipelines import pipeline

BASE = "/api/v1/workflows/"
LISTED = 50
PIPELINE = pipeline(1024)


class Connection(asyncio.Protocol):
    """Sends *request* again as soon as it has its response, until `stopped`."""

    stopped = False
    responses = 0

    def __init__(self, request: bytes, status: int) -> None:
        self.request, self.status = request, status
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self.parser.get_status_code() == self.status, self.parser.get_status_code()
        Connection.responses += 1
        if Connection.stopped:
            self.transport.close()
        else:
            self.send()

    def connection_lost(self, _: Exception | None) -> None:
        self.closed.set_result(None)


async def load(order: dict[str, Any]) -> float:
    """Requests a second."""
    request, address = order["request"].encode(), urlsplit(order["address"])
    loop = asyncio.get_running_loop()
    began = perf_counter()
    connections = [
        (await loop.create_connection(lambda: Connection(request, order["status"]), address.hostname, address.port))[1]
        for _ in range(order["concurrency"])
    ]
    await asyncio.sleep(order["seconds"])
    rate = Connection.responses / (perf_counter() - began)
    Connection.stopped = True
    await asyncio.wait_for(asyncio.gather(*(connection.closed for connection in connections)), 30)
    return rate


def bare_app(responses: dict[str, str]) -> Litestar:
    made, one, page = (responses[name].encode() for name in ("create", "get", "list"))

    @post(BASE)
    async def create(data: CreateWorkflow) -> Response[bytes]:
        return Response(made, media_type=MediaType.JSON)

    @get(BASE + "{workflow_id:str}")
    async def get_one(workflow_id: FromPath[str]) -> Response[bytes]:
        return Response(one, media_type=MediaType.JSON)

    @get(BASE)
    async def get_page() -> Response[bytes]:
        return Response(page, media_type=MediaType.JSON)

    return Litestar([create, get_one, get_page], openapi_config=None, logging_config=None)


async def serve_bare(responses: dict[str, str]) -> None:
    settings = Settings(data_dir=Path(), port=0)
    with bound_socket(settings) as listener:
        server = HttpServer(bare_app(responses), settings)

        def stop() -> None:
            server.should_exit = True

        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop)
        print(f"http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
        await server.serve([listener])


@contextmanager
def running_bare(responses: dict[str, str], folder: Path) -> Iterator[str]:
    (folder / "responses.json").write_text(json.dumps(responses))
    command = [sys.executable, __file__, "--bare", str(folder / "responses.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def measured(address: str, request: str, status: int, seconds: float, concurrency: int) -> float:
    order = {
        "address": address,
        "request": request,
        "status": status,
        "seconds": seconds,
        "concurrency": concurrency,
    }
    process = subprocess.run(
        [sys.executable, __file__, "--load"], input=json.dumps(order), capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return float(process.stdout)


def requests(up: StepwellProcess) -> tuple[dict[str, tuple[str, int]], dict[str, str]]:
    """The request and status of each operation, and the responses of the service."""
    body = json.dumps(PIPELINE)
    content = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
    head = f"Host: bench\r\nAuthorization: Bearer {up.token}\r\n"
    with up.client() as client:
        made = [client.post(BASE, params={"start": False}, json=PIPELINE) for _ in range(LISTED)]
        ended = client.post(BASE, json=pipeline(64)).json()["id"]
        until(lambda: client.get(BASE + ended).json()["status"] == "COMPLETED", 60)
        responses = {"create": made[0].text, "get": client.get(BASE + ended).text, "list": client.get(BASE).text}
    sent = {
        "create": (f"POST {BASE}?start=false HTTP/1.1\r\n{head}{content}\r\n\r\n{body}", 201),
        "get": (f"GET {BASE}{ended} HTTP/1.1\r\n{head}\r\n", 200),
        "list": (f"GET {BASE}?limit={LISTED} HTTP/1.1\r\n{head}\r\n", 200),
    }
    return sent, responses


def compare(rounds: int, seconds: float, concurrency: int, only: str) -> None:
    with fresh_folder() as folder, running_up(folder / "up") as up:
        sent, responses = requests(up)
        with running_bare(responses, folder) as bare:
            print(f"{'':8}{'bytes':>8}{'stepwell':>10}{'bare':>10}  requests/s{'ratio':>8}")
            for name, (request, status) in sent.items():
                if only not in (name, "all"):
                    continue
                ours, theirs = [], []
                for _ in range(rounds):
                    ours.append(measured(up.url, request, status, seconds, concurrency))
                    theirs.append(measured(bare, request, status, seconds, concurrency))
                rates = statistics.median(ours), statistics.median(theirs)
                ratio = f"{rates[0] / rates[1]:8.1%}"
                print(f"{name:8}{len(responses[name]):8}{rates[0]:10.0f}{rates[1]:10.0f}{'':12}{ratio}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--only", choices=["all", "create", "get", "list"], default="all")
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if asked.bare is not None:
        asyncio.run(serve_bare(json.loads(asked.bare.read_text())))
    elif asked.load:
        print(asyncio.run(load(json.load(sys.stdin))))
    else:
        with contextlib.suppress(KeyboardInterrupt):
            compare(asked.rounds, asked.seconds, asked.concurrency, asked.only)


if __name__ == "__main__":
    main()
