"""`stepwell bench`: measures the speed of the real engine and the real database on this machine."""

import asyncio
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

import asyncpg
from msgspec import Struct, json
from msgspec.structs import replace
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from stepwell.app import Service
from stepwell.basics.errors import Unavailable
from stepwell.basics.workflow_limits import slots_of
from stepwell.bench.celery_worker import NoBroker, celery_settings, celery_worker
from stepwell.bench.driver import drive, in_process
from stepwell.bench.engine_processes import engine_processes
from stepwell.bench.http_load import run_http_load
from stepwell.bench.loads import Load, Work
from stepwell.bench.measurements import TRANSITIONS, Measurements, Report, measure, report_of
from stepwell.bench.subprocesses import ProcessEnded
from stepwell.bench.waiting_provider import install_plug_in
from stepwell.cli.data_folder import open_folder
from stepwell.cli.errors import FAILED, MISUSED, Refused
from stepwell.cli.http_server import HttpServer
from stepwell.cli.keys import ServiceKeys, keys_of_settings
from stepwell.cli.listeners import bound_socket
from stepwell.cli.output import print_message, print_result
from stepwell.cli.postgres import DATABASE_S, embedded_postgres, kept_running
from stepwell.cli.serve import configured_dsn, database_faults
from stepwell.cli.service_host import open_service
from stepwell.cli.signals import Signals, run_stoppable
from stepwell.cli.tokens import make_token
from stepwell.cli.up import embedded_settings
from stepwell.cli.worker import require_celery
from stepwell.persistence.benchmark import (
    Incomplete,
    bare_commits,
    check_rows,
    forget_all,
    recorded_times,
    scratch_schema,
    written,
)
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.startup import prepare_database, reach_database
from stepwell.settings import Settings

_COMMITS = 200  # before the load, and again after it
_POLL_S = 0.2

RunLoad = Callable[[], Awaitable[Measurements]]


class BenchOptions(Struct, frozen=True):
    load: Load
    api: bool
    as_json: bool
    processes: int = 1
    workers: int | None = None  # Celery's; None: LOCAL works on the machine of the engine, without Celery

    @property
    def transitions_per_step(self) -> int:
        """Its start and its end. A Celery worker is a remote provider for the engine, which gets the step."""
        return 2 if self.workers is None or self.load.work is Work.NOTHING else 3

    @property
    def in_this_process(self) -> bool:
        """True if the engine runs in this process. Only other processes load the waiting load, which is a plug-in."""
        return self.processes == 1 and self.workers is None and self.load.work is not Work.WAIT


def bench(settings: Settings, options: BenchOptions, signals: Signals) -> int:
    """Run the load and print the report. Returns the exit code.

    Raises `Refused`, and KeyboardInterrupt for a signal.
    """
    if options.api and not options.in_this_process:
        raise Refused("--api measures one process without Celery, and no steps that wait", code=MISUSED)
    if options.workers is not None:
        require_celery()
    try:
        with tempfile.TemporaryDirectory(prefix="stepwell-bench-") as folder:
            return _bench_in(Path(folder), settings, options, signals)
    except (NoBroker, ProcessEnded) as error:
        raise Refused(str(error)) from error


def _bench_in(folder: Path, settings: Settings, options: BenchOptions, signals: Signals) -> int:
    active = options.load.concurrency * slots_of(options.load.steps, 0)
    own = embedded_settings(
        settings,
        # The service deletes files that no row names, so it gets a new folder.
        artifact_dir=folder / "artifacts",
        s3_bucket=None,
        jwt_secret=secrets.token_hex(32),
        jwt_algorithm="HS256",
        jwt_public_key=None,
        jwt_jwks_url=None,
        public_url=None,
        executor="inline",
        # All workflows in flight are active: the benchmark waits for those in memory.
        max_active_workflows=max(settings.max_active_workflows, 2 * active),
        max_active_workflows_per_tenant=max(settings.max_active_workflows_per_tenant, active),
    )
    if settings.database_url is not None:
        dsn = configured_dsn(settings)
        return run_stoppable(signals, lambda _: _run_on(dsn, folder, own, options), stopped=FAILED)
    open_folder(settings.data_dir)
    with embedded_postgres(settings, signals, "a benchmark beside it would measure both", "bench") as postgres:
        return run_stoppable(signals, lambda _: _run_on_embedded(postgres, folder, own, options), stopped=FAILED)


async def _run_on_embedded(postgres: EmbeddedPostgres, folder: Path, settings: Settings, options: BenchOptions) -> int:
    async with kept_running(postgres):
        return await _run_on(postgres.dsn(), folder, settings, options)


async def _run_on(dsn: str, folder: Path, settings: Settings, options: BenchOptions) -> int:
    with database_faults():
        await reach_database(dsn, timeout_s=DATABASE_S, waiting=lambda why: print_message(f"waiting, because {why}"))
        async with scratch_schema(dsn) as (scratch, connection):
            await prepare_database(scratch, timeout_s=DATABASE_S, waiting=lambda _: None)
            async with nullcontext(settings) if options.workers is None else celery_settings(settings, folder) as used:
                engine = _this_process if options.in_this_process else _several_processes
                async with engine(used, scratch, folder, options) as run:
                    report = replace(await _report(run, connection, options), workers=options.workers)
    if options.processes > 1:
        report = replace(report, processes=options.processes)
    for name, value in report.present().items():
        print_result(f"{name:<20} {value}")
    if options.as_json:
        print_result(json.encode(report.present()).decode())
    return 0


@asynccontextmanager
async def _this_process(settings: Settings, dsn: str, _folder: Path, options: BenchOptions) -> AsyncIterator[RunLoad]:
    """Run the engine in this process, and yield the function that runs the load."""
    load = options.load
    with bound_socket(replace(settings, host="127.0.0.1", port=0)) as listener:
        keys = keys_of_settings(replace(settings, host="127.0.0.1", port=listener.getsockname()[1]))
        async with (
            open_service(keys, dsn, exclusive=True) as app,
            _api_server(app, keys, listener) if options.api else nullcontext(),
        ):

            async def run(load: Load) -> None:
                if options.api:
                    token = make_token(keys.settings, subject="stepwell bench")
                    await run_http_load(load, keys.settings.base_url, token)
                else:
                    await drive(load.bodies(), in_process(app.services), load.concurrency)

            async def run_measured() -> Measurements:
                async with measure(app.metrics) as measurements, _own_progress(app, options):
                    await run(load)
                return measurements

            async with asyncio.timeout(DATABASE_S):  # before it, new workflows wait for admission, and not in memory
                await app.engine.ownership.caught_up.wait()
            await run(replace(load, workflows=1, concurrency=1))  # opens connections and prepares statements
            yield run_measured


@asynccontextmanager
async def _several_processes(
    settings: Settings, dsn: str, folder: Path, options: BenchOptions
) -> AsyncIterator[RunLoad]:
    """Run the engine in new processes, and yield the function that runs the load."""
    env = {}
    if options.load.work is Work.WAIT:
        install_plug_in(folder / "plug-in")
        env["PYTHONPATH"] = os.pathsep.join(filter(None, (str(folder / "plug-in"), os.environ.get("PYTHONPATH"))))
    workers = options.workers
    async with (
        nullcontext() if workers is None else celery_worker(settings, workers, env),
        engine_processes(
            options.processes, settings, dsn, options.load, env, warm_up=1 if workers is None else 2 * workers
        ) as processes,
    ):

        async def run_measured() -> Measurements:
            with _progress(options) as show:
                return await processes.run(show)

        yield run_measured


@asynccontextmanager
async def _api_server(app: Service, keys: ServiceKeys, listener: socket.socket) -> AsyncIterator[None]:
    server = HttpServer(app.api, keys.settings, app.connections)
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve(sockets=[listener]), name="http")
        await server.opened.wait()
        try:
            yield
        finally:  # also when stopped by a signal: a request that outlives the server finds the schema dropped
            server.should_exit = True
            await asyncio.wait({serving})


async def _report(run: RunLoad, connection: asyncpg.Connection, options: BenchOptions) -> Report:
    load = options.load
    await forget_all(connection)
    commits = await bare_commits(connection, _COMMITS)
    before = await written(connection)
    try:
        measurements = await run()
    except* Unavailable:
        raise Refused("the database went away") from None
    bytes_ = (await written(connection)).since(before)
    commits += await bare_commits(connection, _COMMITS)
    try:
        await check_rows(connection, load.workflows, load.total_steps, options.transitions_per_step)
    except Incomplete as error:
        raise Refused(f"something is wrong with the engine: {error}") from error
    return report_of(load, measurements, await recorded_times(connection), bytes_, commits)


@asynccontextmanager
async def _own_progress(app: Service, options: BenchOptions) -> AsyncIterator[None]:
    before = app.metrics.value(TRANSITIONS)

    async def poll(show: Callable[[int], None]) -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            show(int(app.metrics.value(TRANSITIONS) - before))

    with _progress(options) as show:
        async with asyncio.TaskGroup() as group:
            polling = group.create_task(poll(show), name="progress")
            yield
            polling.cancel()


@contextmanager
def _progress(options: BenchOptions) -> Iterator[Callable[[int], None]]:
    """Show the progress on stderr: a bar on a terminal, else a line for each tenth.

    Yields a function that takes the number of transitions up to now.
    """
    load = options.load
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("steps"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), auto_refresh=False) as bar:
        task, tenths = bar.add_task("", total=load.total_steps), 0

        def show(transitions: int) -> None:
            nonlocal tenths
            done = min(transitions // options.transitions_per_step, load.total_steps)
            bar.update(task, completed=done, refresh=True)
            if bar.disable and done * 10 // load.total_steps > tenths:
                tenths = done * 10 // load.total_steps
                print_message(f"{done} of {load.total_steps} steps")

        yield show
