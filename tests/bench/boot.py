"""The start of a service, and the memory of an idle one.

    python tests/bench/boot.py [--runs 5] [--workflows 10000] [--steps 10]

Measures `stepwell up` on a new data folder, on an existing one, and on one with many workflows that a killed process
has left: the time from the start of the process to the first 200 of /health/ready, as the median of the runs. Measures
the memory of an idle `up`, and of an idle `serve`. Then starts the service within this process, over the same number
of workflows, and measures how soon all are in memory.

Each workflow has one attempt under way at a provider that never answers, so that what is in memory stays there. All
commits are durable.
"""

import argparse
import asyncio
import os
import shutil
import socket
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

sys.path.insert(0, str(Path(__file__).parents[1]))

import asyncpg
import httpx

from stepwell.bench.measurements import measure, peak_rss_mb, percentile
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.freed_memory import tune_gc
from support.database.postgres import fresh_folder, running_server
from support.processes.celery_workers import free_port
from support.processes.stepwell_process import StepwellProcess, start
from support.providers.scripted import Hang, ScriptedProvider
from support.service.live_service import running_service

DURABLE = {"fsync": "on", "full_page_writes": "on"}
SEED = """
WITH w AS (
    INSERT INTO workflows (id, created_by, origin_instance, config, total_steps, final_position, created_at, started_at,
        status, name, updated_at, owner, epoch, last_event)
    SELECT gen_random_uuid(), 'someone', 'bench', '{}', $2, $2 - 1, now(), now(), 'RUNNING', 'n', now(), $3, 1, 3
    FROM generate_series(1, $1)
    RETURNING id
), s AS (
    INSERT INTO steps (workflow_id, position, id, step_id, task_type, definition, depends_on, max_retries, timeout_s,
        provider, status, task_id, attempt, provider_attempts, updated_at)
    SELECT w.id, p, gen_random_uuid(), 'step-' || p, 'GENERATION',
        json_build_object('id', 'step-' || p, 'task_type', 'GENERATION', 'config', json_build_object('prompt', 'x'),
            'depends_on', CASE WHEN p = 0 THEN '[]'::json ELSE json_build_array('step-' || p - 1) END),
        CASE WHEN p = 0 THEN '{}'::int[] ELSE ARRAY[p - 1] END, 3, 600, 'CUSTOM',
        CASE WHEN p = 0 THEN 'RUNNING' ELSE 'PENDING' END,
        CASE WHEN p = 0 THEN gen_random_uuid() END, (p = 0)::int, (p = 0)::int, now()
    FROM w, generate_series(0, $2 - 1) AS p
    RETURNING workflow_id, task_id
), t AS (
    INSERT INTO tasks (id, workflow_id, position, attempt, provider, started_at, status, phase, outputs)
    SELECT task_id, workflow_id, 0, 1, 'CUSTOM', now(), 'RUNNING', 'INTENT', '[]' FROM s WHERE task_id IS NOT NULL
)
INSERT INTO processes VALUES ($3, 'infinity')
"""


_LOOK_S = 0.005
_IDLE_S = 5.0
_SECRET = {"STEPWELL_JWT_SECRET": "a secret of the benchmark, of 32 bytes or more"}


class Seconds(NamedTuple):
    """How long a start took, and the CPU time of the service and of the child processes that have ended by then."""

    wall: float
    cpu: float

    def __str__(self) -> str:
        return f"ready after {self.wall:.2f} s, with {self.cpu:.2f} s of CPU time"


def start_ready(command: str, folder: Path, env: Mapping[str, str] | None = None) -> tuple[StepwellProcess, Seconds]:
    """Start a service on *folder*. Return it, and the time until it was ready."""
    port = str(free_port())
    began = time.perf_counter()
    process = start(command, folder, env, "--port", port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        while process.process.poll() is None:
            with suppress(httpx.TransportError):
                if client.get("/health/ready").is_success:
                    return process, Seconds(time.perf_counter() - began, cpu_s(process.pid))
            time.sleep(_LOOK_S)
    raise SystemExit(process.stderr)


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process, and of its child processes that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def time_to_ready(folder: Path, runs: int, env: Mapping[str, str] | None = None, *, new: bool = False) -> Seconds:
    """Return the medians of the time until `up` on *folder* was ready. With *new*, each run has a new folder."""
    seconds = []
    for _ in range(runs):
        if new:
            shutil.rmtree(folder, ignore_errors=True)
        process, took = start_ready("up", folder, env)
        process.terminate()
        seconds.append(took)
    return medians(seconds)


def medians(seconds: Sequence[Seconds]) -> Seconds:
    return Seconds(*map(statistics.median, zip(*seconds, strict=True)))


def memory_mb(pid: int, kind: str = "Rss") -> float:
    """Return the resident memory of a process; with *kind* Pss, its part of what it shares with others."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:")) / 1000


def print_idle(command: str, folder: Path, env: Mapping[str, str] | None = None) -> None:
    process, _ = start_ready(command, folder, env)
    time.sleep(_IDLE_S)
    everything = sum(memory_mb(pid, "Pss") for pid in process.processes())
    print(f"idle {command}: RSS {memory_mb(process.pid):.0f} MB; PSS with its child processes {everything:.0f} MB")
    process.terminate()


async def seed(dsn: str, workflows: int, steps: int) -> None:
    await migrate(dsn)
    sql = await asyncpg.connect(dsn)
    await sql.execute(SEED, workflows, steps, uuid4(), timeout=300)
    await sql.execute("VACUUM ANALYZE")
    await sql.close()


def measure_processes(folder: Path, dsn: str, runs: int, workflows: int, steps: int) -> None:
    """Measure services in processes of their own. The database at *dsn* is for `serve`."""
    print(f"new folder: {time_to_ready(folder / 'new', runs, new=True)}")
    print(f"existing folder: {time_to_ready(folder / 'new', runs)}")
    print_idle("up", folder / "new")
    asyncio.run(migrate(dsn))  # because Alembic would stay in the memory of the process that does this
    print_idle("serve", folder / "serve", {**_SECRET, "STEPWELL_DATABASE_URL": dsn})
    seconds = []
    with socket.create_server(("127.0.0.1", 0), backlog=4_096) as silent:  # accepts no connection
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        for run in range(runs):
            data = folder / f"unfinished-{run}"  # a start changes what the next one would find
            postgres = EmbeddedPostgres(data / "postgres")
            postgres.start()
            asyncio.run(seed(postgres.dsn(), workflows, steps))
            postgres.stop()
            seconds.append(time_to_ready(data, 1, {"STEPWELL_CUSTOM_URL": url, "STEPWELL_GRACE_S": "1"}))
    print(f"{workflows} unfinished workflows of {steps} steps: {medians(seconds)}")


async def measure_boot(dsn: str, folder: Path, workflows: int, steps: int) -> None:
    """Measure the service in this process: how soon all workflows are in memory, and how much memory they take."""
    await seed(dsn, workflows, steps)
    before, began = peak_rss_mb(), time.perf_counter()
    async with running_service(
        dsn, folder, providers=[ScriptedProvider(default=Hang())], wait_for_claims=False, grace_s=1
    ) as service:
        ready = time.perf_counter() - began
        async with measure(service.app.metrics) as measured:
            while service.app.metrics.value("stepwell_workflows_in_memory") < workflows:
                await asyncio.sleep(0.01)
            done = time.perf_counter() - began
        assert measured.counts is not None
        lag = percentile(measured.lags_s, 99) * 1e3, max(measured.lags_s) * 1e3
        print(f"in this process: ready after {ready:.2f} s, all workflows in memory after {done:.2f} s")
        print(f"{measured.counts.statements:.0f} statements; loop lag p99 {lag[0]:.0f} ms, at most {lag[1]:.0f} ms")
        print(f"memory {(peak_rss_mb() - before) * 1e6 / workflows / steps:.0f} bytes a step")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=5)
    options.add_argument("--workflows", type=int, default=10_000)
    options.add_argument("--steps", type=int, default=10)
    arguments = options.parse_args()
    load = arguments.workflows, arguments.steps
    with running_server(DURABLE) as server, fresh_folder() as files:
        tune_gc()
        measure_processes(files, server.dsn(), arguments.runs, *load)
        asyncio.run(measure_boot(server.dsn(), files, *load))
