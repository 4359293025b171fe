"""One run of `peers.py`: an engine in processes, and on a server or a database, of its own."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.peers_report import OURS, PeerRun, Shape
from bench.servers import checkpoint, redis, restate, temporal
from support.database.postgres import TestServer, create_database, drop_database
from support.processes.stepwell_process import surroundings

_TESTS = Path(__file__).parents[1]
_MODULES = {
    "DBOS": "bench.peers_dbos",
    "Restate": "bench.peers_restate",
    "Temporal": "bench.peers_temporal",
    "Celery": "bench.peers_celery",
}
_SERVERS = {"Restate": restate, "Temporal": temporal, "Celery": redis}
_RUN_S = 240.0


class RunFailed(Exception):
    """A process of an engine failed, or took too long. The message has the end of what it wrote to stderr."""


def run_once(engine: str, server: TestServer, shape: Shape) -> PeerRun:
    """Run *shape* on *engine*: a peer, ours, or the path of another tree of ours that has a virtual environment.

    Raises `RunFailed`.
    """
    if engine in _SERVERS:
        with _SERVERS[engine]() as url:
            return _peer(engine, url, shape)
    with own_database(server) as url:
        if engine in _MODULES:
            return _peer(engine, url, shape)
        programs = Path(sys.executable).parent if engine == OURS else Path(engine, ".venv", "bin")
        return _stepwell(engine, programs / "stepwell", url, shape)


@contextmanager
def own_database(server: TestServer) -> Iterator[str]:
    name = asyncio.run(create_database(server.dsn("postgres")))
    asyncio.run(checkpoint(server.dsn("postgres")))
    try:
        yield server.dsn(name)
    finally:
        asyncio.run(drop_database(server.dsn("postgres"), name))


def _stepwell(engine: str, program: Path, url: str, shape: Shape) -> PeerRun:
    command = [str(program), "bench", "--json", "--shape", shape.kind]
    command += ["--workflows", str(shape.workflows), "--steps", str(shape.steps)]
    command += ["--concurrency", str(shape.workflows)]
    report = json.loads(_last_line(command, {"STEPWELL_DATABASE_URL": url}))
    assert report["steps"] == shape.total_steps, report
    return PeerRun(engine, shape, report["steps_per_s"], report["cpu_us_per_step"], report["commit_ms"])


def _peer(engine: str, url: str, shape: Shape) -> PeerRun:
    command = [sys.executable, "-m", _MODULES[engine], url, shape.kind, str(shape.workflows), str(shape.steps)]
    seconds = float(_last_line(command, {"PYTHONPATH": str(_TESTS)}))
    return PeerRun(engine, shape, shape.total_steps / seconds)


def _last_line(command: list[str], env: Mapping[str, str]) -> str:
    """Return the last line that *command* prints. Its whole session ends with it, however it ends.

    Raises `RunFailed`.
    """
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
            out, err = process.communicate(timeout=_RUN_S)
        except subprocess.TimeoutExpired as error:
            raise RunFailed(f"{' '.join(command)} didn't end within {_RUN_S:.0f} s") from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0 or not out:
        raise RunFailed(f"{' '.join(command)} ended ({process.returncode}):\n{err[-4000:]}")
    return out.splitlines()[-1]
