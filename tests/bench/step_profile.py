"""Where the time of a step goes: microseconds of each part, for a chain, a wide workflow and a bare commit.

    STEPWELL_POSTGRES_BIN=/usr/lib/postgresql/15/bin .venv/bin/python tests/bench/step_profile.py [--quick]

A PostgreSQL of its own runs, by TCP, with fsync. The engine runs in this process. `part_times.py` measures its parts,
and subtracts what the measurement costs. PostgreSQL itself measures its statements (pg_stat_statements) and the syncs
of its log. The table goes to stdout. With --write, it also replaces the one in the manual. That takes 20 seconds.
"""

import argparse
import asyncio
import gc
import os
import platform
import secrets
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench import part_times
from bench.manual_blocks import PERFORMANCE, paragraph, replace_blocks, table
from bench.part_times import PartClock, hooked
from bench.servers import tcp_postgres
from stepwell.app import PostgresSource, running_app
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.bench.driver import drive
from stepwell.bench.loads import Load, Shape
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.engine.service import Services
from stepwell.persistence.benchmark import bare_commits
from stepwell.persistence.schema.migrations import migrate
from stepwell.runtime.freed_memory import tune_gc
from stepwell.runtime.telemetry import configure_logging
from support.database.embedded_servers import ask
from support.database.postgres import TestServer, connected, database
from support.service.live_service import settings_for

SETTINGS = {"shared_preload_libraries": "pg_stat_statements", "track_wal_io_timing": "on"}
LOADS = (Load(Shape.CHAIN, 10, 200, concurrency=1), Load(Shape.FAN, 20, 1_000, concurrency=5))
QUICK = (Load(Shape.CHAIN, 1, 20, concurrency=1), Load(Shape.FAN, 2, 20, concurrency=2))
_COMMITS = 2_000
_ONE_DIGIT = 9.95
_CLAIM_S = 30.0
_IO_SINCE = 18  # the version of PostgreSQL that moved the syncs of the log to pg_stat_io
_STATEMENTS = """
SELECT (coalesce(sum(total_exec_time), 0) * 1000)::float8
  FROM pg_stat_statements JOIN pg_database ON pg_database.oid = dbid
 WHERE datname = current_database()
"""
_WAL_SYNCS = "SELECT wal_sync_time * 1000 FROM pg_stat_wal"
_IO_SYNCS = "SELECT sum(fsync_time) * 1000 FROM pg_stat_io WHERE object = 'wal'"

# The rows of the table: the part, and what it is.
ROWS = {
    part_times.DECIDE: "decide: an input becomes a decision",
    part_times.ENCODE: "encode: rows, and the message of the driver",
    part_times.SEND: "send the message",
    part_times.DECODE: "decode the reply",
    part_times.EFFECTS: "effects",
    part_times.DISPATCH: "dispatch of ready steps",
    part_times.RESULT: "result of the step",
    part_times.TIMERS: "timers",
    part_times.TASKS: "tasks: start them",
    part_times.CREATE: "creation of the workflows",
    part_times.OTHER: "event loop, checkpointer and others",
}


class Measured(NamedTuple):
    """Microseconds of a whole run: of the parts, of the statements in PostgreSQL, and from start to end."""

    parts: Mapping[str, float]
    statements: float
    wall: float


@dataclass(frozen=True)
class Profile:
    """Microseconds for each step of a load, or for each bare commit.

    `parts` are those of the event loop's thread. `wall` is the time from the start of the load to its end, divided by
    the steps. If one step runs at a time, it is the sum of the others and of `waits`.
    """

    name: str
    parts: Mapping[str, float]
    statement: float
    commit: float
    wall: float
    one_by_one: bool

    @property
    def waits(self) -> float:
        return self.wall - sum(self.parts.values()) - self.statement - self.commit


def profile_load(server: TestServer, load: Load) -> Profile:
    async def run(dsn: str, clock: PartClock) -> Measured:
        with tempfile.TemporaryDirectory() as folder:
            settings, source = settings_for(Path(folder)), PostgresSource(dsn)
            secret = secrets.token_bytes(32)
            async with running_app(settings, source=source, url_secret=secret, exclusive=True) as app:
                async with asyncio.timeout(_CLAIM_S):
                    await app.engine.ownership.caught_up.wait()
                await _drive(app.services, Load(load.shape, 2, 5, concurrency=1), dsn, clock)
                return await _drive(app.services, load, dsn, clock)

    name = f"{load.concurrency} {load.shape}{'s' if load.concurrency > 1 else ''} of {load.steps:,}"
    return _profile(server, name, load.total_steps, run, one_by_one=load.shape is Shape.CHAIN and load.concurrency == 1)


def profile_commits(server: TestServer, number: int) -> Profile:
    """Profile a bare commit of one row, one after the other on one connection."""

    async def run(dsn: str, clock: PartClock) -> Measured:
        async with connected(dsn) as connection:
            await bare_commits(connection, 10)
            return await _measure(bare_commits(connection, number), dsn, clock)

    return _profile(server, "a bare commit", number, run, one_by_one=True)


async def _drive(services: Services, load: Load, dsn: str, clock: PartClock) -> Measured:
    """Run *load*, with definitions that are validated before."""
    validated = {body["name"]: validate_workflow(body, services.catalog) for body in load.bodies()}

    async def run_one(body: dict[str, Any]) -> None:
        record = await services.workflows.create(
            EVERY_TENANT, "profile", validated[body["name"]], tenant=None, start=True
        )
        await services.workflows.until_idle(record.state.id)

    return await _measure(drive(load.bodies(), run_one, load.concurrency), dsn, clock)


async def _measure(work: Coroutine[Any, Any, object], dsn: str, clock: PartClock) -> Measured:
    async with connected(dsn) as connection:
        before = await connection.fetchval(_STATEMENTS)
        gc.collect()
        began = time.perf_counter()
        clock.reset()
        await work
        parts, changes = clock.parts()
        wall = time.perf_counter() - began - changes / 1e9
        statements = await connection.fetchval(_STATEMENTS) - before
    return Measured({name: ns / 1e3 for name, ns in parts.items()}, statements, wall * 1e6)


def _profile(
    server: TestServer, name: str, steps: int, run: Callable[[str, PartClock], Awaitable[Measured]], *, one_by_one: bool
) -> Profile:
    async def profile() -> Profile:
        clock = PartClock()
        clock.calibrate()
        async with database(server) as dsn:
            await migrate(dsn)
            async with connected(dsn) as connection:
                await connection.execute("CREATE EXTENSION pg_stat_statements")
                syncs = _IO_SYNCS if connection.get_server_version().major >= _IO_SINCE else _WAL_SYNCS
                before = await connection.fetchval(syncs)
                with hooked(clock):
                    measured = await run(dsn, clock)
            async with connected(dsn) as connection:  # a new one, which sees what the others reported at their end
                synced = await connection.fetchval(syncs) - before
        parts = {part: us / steps for part, us in measured.parts.items()}
        return Profile(name, parts, measured.statements / steps, synced / steps, measured.wall / steps, one_by_one)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(profile())


def manual_blocks(profiles: Sequence[Profile], postgres: str, date: str) -> list[str]:
    """Return what the manual's page has of *profiles*: the conditions, and a row for each part."""
    rows = [["microseconds for each step", *(each.name for each in profiles)]]
    rows += [[text, *(_figure(each.parts.get(part, 0.0)) for each in profiles)] for part, text in ROWS.items()]
    rows.append(["statement, in PostgreSQL", *(_figure(each.statement) for each in profiles)])
    rows.append(["commit: the sync of the log", *(_figure(each.commit) for each in profiles)])
    waits = [_figure(each.waits) if each.one_by_one else "" for each in profiles]
    rows.append(["network, wake-ups, the rest of PostgreSQL", *waits])
    rows.append(["**from start to end**", *(_figure(each.wall) for each in profiles)])
    python = f"Python {platform.python_version()}"
    conditions = f"Averages; {date}, {os.cpu_count()} CPUs, {python}, PostgreSQL {postgres} by TCP, with fsync."
    return [paragraph(conditions), table(rows)]


def _figure(us: float) -> str:
    if us == 0:
        return ""
    return f"{us:,.0f}" if us >= _ONE_DIGIT else f"{us:.1f}"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="small loads: to see that all of it works")
    parser.add_argument("--write", action="store_true", help="write the table to the manual, too")
    wanted = parser.parse_args(arguments)
    if wanted.write and wanted.quick:
        parser.error("--write needs the whole loads")
    configure_logging("console", "warning")
    tune_gc()
    with tcp_postgres(SETTINGS) as server:
        profiles = [profile_load(server, load) for load in (QUICK if wanted.quick else LOADS)]
        profiles.append(profile_commits(server, 100 if wanted.quick else _COMMITS))
        postgres = ask(server.dsn("postgres"), "SHOW server_version").partition(" ")[0]
    blocks = manual_blocks(profiles, postgres, time.strftime("%Y-%m-%d"))
    print("\n\n".join(blocks))
    if wanted.write:
        PERFORMANCE.write_text(replace_blocks(PERFORMANCE.read_text(), blocks))


if __name__ == "__main__":
    main(sys.argv[1:])
