"""`stepwell bench`: measures the speed of the real engine and the real database on this machine."""

import asyncio
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import asyncpg
from msgspec import Struct, json
from msgspec.structs import asdict, replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stepwell.app import Application
from stepwell.bench.driver import drive, in_process
from stepwell.bench.http_load import run_http_load
from stepwell.bench.loads import Load
from stepwell.bench.measurements import TRANSITIONS, measure
from stepwell.bench.report import Report, report_of
from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED, Refused
from stepwell.cli.http_server import HttpServer, bound_socket
from stepwell.cli.keys import ServiceKeys, keys_of_settings
from stepwell.cli.output import print_message, print_result
from stepwell.cli.postgres import embedded_postgres, keep_running
from stepwell.cli.serve import configured_dsn, database_faults
from stepwell.cli.service_host import open_service
from stepwell.cli.signals import Signals, run_stoppable
from stepwell.cli.tokens import make_token
from stepwell.domain.errors import Unavailable
from stepwell.domain.workflow_limits import places_of
from stepwell.persistence.benchmark.queries import Incomplete, bare_commits, check_rows, forget_all, recorded_times
from stepwell.persistence.benchmark.scratch_schema import scratch_schema
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.startup import prepare_database, reach_database
from stepwell.settings import Settings

_COMMITS = 200  # before the load, and again after it
_ANSWER_S = 30.0
_POLL_S = 0.2


class BenchOptions(Struct, frozen=True):
    """The options of the command."""

    load: Load
    api: bool
    as_json: bool


def bench(settings: Settings, options: BenchOptions, signals: Signals) -> int:
    """Run the load and print the report. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal.
    """
    with tempfile.TemporaryDirectory(prefix="stepwell-bench-") as folder:
        # The service deletes files that no row names, so it gets an empty folder of its own.
        active = options.load.concurrency * places_of(options.load.steps, 0)
        own = replace(
            settings,
            artifact_dir=Path(folder),
            s3_bucket=None,
            jwt_secret=secrets.token_hex(32),
            jwt_algorithm="HS256",
            jwt_public_key=None,
            jwt_jwks_url=None,
            public_url=None,
            # All workflows in flight are active: the benchmark waits for those in memory.
            max_active_workflows=max(settings.max_active_workflows, 2 * active),
            max_active_workflows_per_tenant=max(settings.max_active_workflows_per_tenant, active),
        )
        if settings.database_url is not None:
            dsn = configured_dsn(settings)
            return run_stoppable(signals, lambda _: _run_on(dsn, own, options), stopped=FAILED)
        open_folder(settings.data_dir)
        with embedded_postgres(settings, signals, "a benchmark beside it would measure both", "bench") as postgres:
            return run_stoppable(signals, lambda _: _run_on_embedded(postgres, own, options), stopped=FAILED)


async def _run_on_embedded(postgres: EmbeddedPostgres, settings: Settings, options: BenchOptions) -> int:
    async with asyncio.TaskGroup() as group:
        respawning = group.create_task(keep_running(postgres), name="postgres")
        code = await _run_on(postgres.dsn(), settings, options)
        respawning.cancel()
    return code


async def _run_on(dsn: str, settings: Settings, options: BenchOptions) -> int:
    with database_faults(), bound_socket(replace(settings, host="127.0.0.1", port=0)) as listener:
        await reach_database(dsn, timeout_s=_ANSWER_S, waiting=lambda why: print_message(f"waiting, because {why}"))
        keys = keys_of_settings(replace(settings, host="127.0.0.1", port=listener.getsockname()[1]))
        async with scratch_schema(dsn) as (scratch, connection):
            await prepare_database(scratch, timeout_s=_ANSWER_S, waiting=lambda _: None)
            async with (
                open_service(keys, scratch, exclusive=True) as app,
                _api_server(app, keys, listener) if options.api else nullcontext(),
            ):
                report = await _run_and_measure(app, keys, connection, options)
    for name, value in asdict(report).items():
        print_result(f"{name:<20} {value}")
    if options.as_json:
        print_result(json.encode(report).decode())
    return 0


@asynccontextmanager
async def _api_server(app: Application, keys: ServiceKeys, listener: socket.socket) -> AsyncIterator[None]:
    server = HttpServer(app.api, keys.settings, app.connections)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listener]), name="http")
        await server.opened.wait()
        try:
            yield
        finally:  # also when stopped by a signal: a request that outlives the server finds the schema dropped
            server.should_exit = True
            await asyncio.wait({serving})


async def _run_and_measure(
    app: Application, keys: ServiceKeys, connection: asyncpg.Connection, options: BenchOptions
) -> Report:
    async def run(load: Load) -> None:
        if options.api:
            await run_http_load(load, keys.settings.base_url, _token(keys))
        else:
            await drive(load.bodies(), in_process(app.services), load.concurrency)

    load = options.load
    async with asyncio.timeout(_ANSWER_S):  # before it, new workflows wait for admission, and not in memory
        await app.components.webhooks.recovery.caught_up.wait()
    await run(replace(load, workflows=1, concurrency=1))  # opens the connections and prepares the statements
    await forget_all(connection)
    commits = await bare_commits(connection, _COMMITS)
    try:
        async with measure(app.metrics) as measurements, _progress(app, load):
            await run(load)
    except* Unavailable:
        raise Refused("the database went away") from None
    commits += await bare_commits(connection, _COMMITS)
    try:
        await check_rows(connection, load.workflows, load.total_steps)
    except Incomplete as error:
        raise Refused(f"something is wrong with the engine: {error}") from error
    return report_of(load, measurements, await recorded_times(connection), commits)


def _token(keys: ServiceKeys) -> str:
    return make_token(keys.settings, tenant=None, every=True, scopes=(), subject="stepwell bench")


@asynccontextmanager
async def _progress(app: Application, load: Load) -> AsyncIterator[None]:
    """Show the progress on stderr: a bar on a terminal, else a line for each tenth."""
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
    before = app.metrics.value(TRANSITIONS)
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), auto_refresh=False) as bar:
        task = bar.add_task("", total=load.total_steps)

        async def poll() -> None:
            tenths = 0
            while True:
                await asyncio.sleep(_POLL_S)
                done = int(app.metrics.value(TRANSITIONS) - before) // 2
                bar.update(task, completed=min(done, load.total_steps), refresh=True)
                if bar.disable and done * 10 // load.total_steps > tenths:
                    tenths = done * 10 // load.total_steps
                    print_message(f"{done} of {load.total_steps} steps")

        async with asyncio.TaskGroup() as group:
            polling = group.create_task(poll(), name="progress")
            yield
            polling.cancel()
