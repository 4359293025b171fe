"""`stepwell bench`: what it prints, that it leaves nothing behind, and that it touches nothing of its user's."""

import asyncio
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from stepwell.persistence.clock import DatabaseClock
from stepwell.persistence.connections.database import asyncpg_connect, create_asyncpg_pool
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.migrations import migrate
from stepwell.persistence.stores.lease_store import PostgresLeaseStore
from stepwell.persistence.stores.workflow_store import PostgresWorkflowStore
from support.database.embedded_servers import ask
from support.database.postgres import TestServer, create_database, fresh_folder
from support.database.stored_workflows import Bench
from support.processes.celery_workers import running_redis
from support.processes.stepwell_process import StepwellProcess, running_up, start, stepwell, until

FIELDS = [
    "shape",
    "workflows",
    "steps",
    "steps_per_s",
    "transitions_per_s",
    "commits",
    "statements_per_step",
    "rows_per_batch",
    "ms_per_step_p50",
    "ms_per_step_p95",
    "workflow_ms_p50",
    "workflow_ms_p99",
    "cpu_us_per_step",
    "peak_rss_mb",
    "loop_lag_ms_p99",
    "commit_ms",
    "wal_bytes_per_step",
    "stored_bytes_per_step",
]
SMALL = ("--workflows", "1", "--steps", "5")
ENDLESS = ("--workflows", "10000", "--steps", "20", "--concurrency", "50", "--json")
PROGRESS = re.compile(r"stepwell: \d+ of \d+ steps")
# What `serve` may be configured with; a benchmark has its own keys.
FOR_SERVE = {
    "STEPWELL_JWT_ALGORITHM": "EdDSA",
    "STEPWELL_JWT_PUBLIC_KEY": """-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----""",
    "STEPWELL_PUBLIC_URL": "https://stepwell.invalid",
}
CATALOG = """
SELECT string_agg(concat_ws(' ', kind, space, name), E'\\n') FROM (
    SELECT 'schema', '', nspname FROM pg_namespace
    UNION ALL SELECT 'relation ' || relkind::text, relnamespace::regnamespace::text, relname FROM pg_class
    UNION ALL SELECT 'type', typnamespace::regnamespace::text, typname FROM pg_type
    UNION ALL SELECT 'function', pronamespace::regnamespace::text, proname FROM pg_proc
) AS found(kind, space, name)
"""
SCRATCH = "SELECT array_agg(nspname::text) FROM pg_namespace WHERE nspname LIKE 'stepwell_scratch_%'"
OTHERS = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


def catalog(dsn: str) -> set[str]:
    return set(ask(dsn, CATALOG).splitlines())


@pytest.fixture
def dsn(durable: TestServer) -> Iterator[str]:
    """Of an empty database, which must be as empty at the end."""
    dsn = durable.dsn(asyncio.run(create_database(durable.dsn())))
    before = catalog(dsn)
    yield dsn
    until(lambda: catalog(dsn) == before, 60, lambda: catalog(dsn) - before)


def bench(dsn: str, *options: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return stepwell("bench", *options, env={"STEPWELL_DATABASE_URL": dsn, **env})


def report_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """The JSON, which is the last line; the others say the same."""
    assert done.returncode == 0, done.stderr
    assert all(PROGRESS.fullmatch(line) for line in done.stderr.splitlines()), done.stderr
    *table, last = done.stdout.splitlines()
    report: dict[str, Any] = json.loads(last)
    assert list(report) == FIELDS
    assert [line.split() for line in table] == [[name, str(value)] for name, value in report.items()]
    may_be_0 = ("loop_lag_ms_p99", "ms_per_step_p50", "ms_per_step_p95")  # most steps begin and end at once
    assert all(report[name] > 0 for name in FIELDS if name not in ("shape", *may_be_0))
    assert all(report[name] >= 0 for name in may_be_0)
    return report


def check_sums(report: Mapping[str, Any], workflows: int, steps: int) -> None:
    """Each step starts and completes, each workflow completes: no transition more."""
    assert (report["workflows"], report["steps"]) == (workflows, workflows * steps)
    transitions = workflows * (2 * steps + 1)
    assert report["rows_per_batch"] == pytest.approx(transitions / report["commits"], rel=0.01)
    a_step = report["transitions_per_s"] / report["steps_per_s"]
    assert a_step == pytest.approx(transitions / report["steps"], rel=0.02)
    assert report["ms_per_step_p50"] <= report["ms_per_step_p95"] <= report["workflow_ms_p99"]


@pytest.mark.parametrize(
    "shape", ["mixed", *(pytest.param(shape, marks=pytest.mark.extended) for shape in ("fan", "layered"))]
)
def test_the_benchmark_runs_every_shape_and_payload(dsn: str, shape: str) -> None:
    options = ("--workflows", "6", "--steps", "12", "--concurrency", "3", "--payload", "3000")
    report = report_of(bench(dsn, "--shape", shape, *options, "--json"))
    check_sums(report, 6, 12)
    assert report["shape"] == shape
    assert report["commits"] <= 6 * 13
    creates = report["statements_per_step"] * 72 - report["commits"]
    assert round(creates) in range(2, 7)  # three at once, then as it comes: those at the same time are one statement


@pytest.mark.extended
def test_the_benchmark_runs_over_http_whatever_keys_are_configured(dsn: str) -> None:
    report = report_of(bench(dsn, "--api", "--workflows", "4", "--steps", "5", "--json", **FOR_SERVE))
    check_sums(report, 4, 5)
    assert report["statements_per_step"] * 20 > report["commits"] + 1  # they are created, and looked at


@pytest.mark.extended
def test_several_processes_share_the_workflows(dsn: str) -> None:
    options = ("--processes", "2", "--work", "wait", "--workflows", "3", "--steps", "4", "--json")
    done = bench(dsn, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report) == [*FIELDS, "work", "processes"]
    assert (report["work"], report["processes"]) == ("wait", 2)
    check_sums(report, 3, 4)
    assert report["ms_per_step_p50"] >= 100


@pytest.mark.extended
def test_steps_can_make_images(dsn: str) -> None:
    options = ("--work", "image", "--image-size", "32", "--shape", "fan", "--workflows", "2", "--steps", "4", "--json")
    done = bench(dsn, *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report) == [*FIELDS, "work", "images_per_s"]
    assert report["images_per_s"] == report["steps_per_s"]
    check_sums(report, 2, 4)


@pytest.mark.extended
def test_celery_workers_make_the_images_of_a_benchmark(dsn: str) -> None:
    options = ("--work", "image", "--image-size", "32", "--shape", "fan", "--workflows", "2", "--steps", "4", "--json")
    done = bench(dsn, "--executor", "celery", "--workers", "2", *options)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout.splitlines()[-1])
    assert list(report) == [*FIELDS, "work", "workers", "images_per_s"]
    assert report["workers"] == 2
    # A step starts, is submitted, and completes.
    assert report["transitions_per_s"] / report["steps_per_s"] == pytest.approx((2 * 4 * 3 + 2) / 8, rel=0.02)


@pytest.mark.extended
def test_a_benchmark_has_its_own_queues_on_a_configured_broker_and_leaves_none(dsn: str, tmp_path: Path) -> None:
    options = ("--work", "wait", "--shape", "fan", "--workflows", "2", "--steps", "2", "--executor", "celery")
    with running_redis(tmp_path) as server:
        done = bench(dsn, *options, STEPWELL_CELERY_BROKER_URL=server.url)
        assert (done.returncode, done.stderr.count("stays on the broker")) == (0, 0), done.stderr
        assert [key for key in server.client.scan_iter() if b"stepwell-bench" in key] == []


@pytest.mark.extended
def test_a_broker_that_does_not_respond_ends_the_benchmark(dsn: str) -> None:
    options = ("--executor", "celery", "--work", "wait", *SMALL)
    done = bench(dsn, *options, STEPWELL_CELERY_BROKER_URL="redis://127.0.0.1:1/0")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "stepwell: the broker at 127.0.0.1:1 doesn't respond: Connection refused\n"


def engine_processes(running: StepwellProcess) -> list[int]:
    return [pid for pid in running.processes() if b"engine_process" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.mark.extended
def test_the_benchmark_ends_if_one_of_its_processes_is_killed(dsn: str, tmp_path: Path) -> None:
    with running_bench(dsn, tmp_path / "data", "--processes", "2") as running:
        victim, _ = engine_processes(running)
        os.kill(victim, signal.SIGKILL)
        assert running.wait(240) == 1
        assert running.stdout == ""
        assert re.fullmatch(r"stepwell: engine process [01] ended with exit code -9", running.stderr.splitlines()[-1])
        running.wait_gone()
        assert ask(dsn, SCRATCH) is None


@pytest.mark.extended
def test_the_processes_of_a_killed_benchmark_end(dsn: str, tmp_path: Path) -> None:
    with running_bench(dsn, tmp_path / "data", "--processes", "2") as running:
        assert len(engine_processes(running)) == 2
        running.kill()
        running.wait_gone()
    report_of(bench(dsn, *SMALL, "--json"))


def transitions(dsn: str) -> int:
    """Of the only benchmark on that database, up to now."""
    (schema,) = ask(dsn, SCRATCH) or ["none"]
    try:
        found: int = ask(dsn, f"SELECT count(*) FROM {schema}.events")
    except asyncpg.UndefinedTableError:  # not yet
        return 0
    return found


@contextmanager
def running_bench(dsn: str, folder: Path, *options: str) -> Iterator[StepwellProcess]:
    """A long one, in the midst of its load; killed at the end, if it still lives."""
    running = start("bench", folder, {"STEPWELL_DATABASE_URL": dsn}, *ENDLESS, *options, port=False)
    try:
        until(lambda: running.process.poll() is not None or transitions(dsn) > 500, 240)
        assert running.process.poll() is None, running.stderr
        yield running
    finally:
        running.kill_group()


@pytest.mark.extended
@pytest.mark.parametrize(
    ("number", "options"),
    [
        (signal.SIGINT, ("--workflows", "3000")),
        (signal.SIGTERM, ("--api",)),
        (signal.SIGINT, ("--processes", "2")),
    ],
)
def test_a_signal_ends_the_benchmark_in_order(dsn: str, tmp_path: Path, number: int, options: tuple[str, ...]) -> None:
    with running_bench(dsn, tmp_path / "data", *options) as running:
        if "--workflows" in options:  # a tenth of them takes no long time
            until(lambda: re.fullmatch(r"(stepwell: \d+ of 60000 steps\n)+", running.stderr), 240)
        assert running.terminate(number) == 1
        running.wait_gone()
        assert running.stdout == ""
        assert all(PROGRESS.fullmatch(line) for line in running.stderr.splitlines()), running.stderr
        assert ask(dsn, SCRATCH) is None


@pytest.mark.extended
def test_the_schema_of_a_killed_benchmark_is_dropped_by_the_next_and_that_of_a_running_one_is_not(
    dsn: str, tmp_path: Path
) -> None:
    with running_bench(dsn, tmp_path / "data") as running:
        found = ask(dsn, SCRATCH)
        report_of(bench(dsn, *SMALL, "--json"))
        assert running.process.poll() is None
        assert ask(dsn, SCRATCH) == found
        running.kill()
        until(lambda: ask(dsn, f"SELECT count(*) {OTHERS}") == 0, 120)
        assert ask(dsn, SCRATCH) == found
        without_json = bench(dsn, *SMALL)
        assert [line.split()[0] for line in without_json.stdout.splitlines()] == FIELDS
        assert ask(dsn, SCRATCH) is None


@pytest.mark.extended
def test_a_database_that_goes_away_is_reported_in_one_line(dsn: str, tmp_path: Path) -> None:
    with running_bench(dsn, tmp_path / "data") as running:
        ask(dsn, f"SELECT count(pg_terminate_backend(pid)) {OTHERS}")
        assert running.wait(240) == 1
        assert running.stdout == ""
        assert "Traceback" not in running.stderr
        assert running.stderr.splitlines()[-1].startswith("stepwell: the connection to the database was lost")
    report_of(bench(dsn, *SMALL, "--json"))


@pytest.mark.extended
def test_a_user_who_may_not_create_schemas_is_refused(dsn: str, durable: TestServer) -> None:
    name = f"weak_{uuid4().hex}"
    ask(dsn, f"CREATE ROLE {name} LOGIN", "SELECT 1")
    parts = urlsplit(dsn)
    refused = bench(parts._replace(netloc=f"{name}@").geturl(), *SMALL)
    ask(dsn, f"DROP ROLE {name}", "SELECT 1")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert re.fullmatch(
        r"stepwell: a schema of our own is needed, but the database refuses: permission denied for database \S+\n",
        refused.stderr,
    )


def test_a_database_that_does_not_keep_what_it_commits_is_refused(server: TestServer) -> None:
    fickle = server.dsn(asyncio.run(create_database(server.dsn())))
    before = catalog(fickle)
    refused = bench(fickle, *SMALL)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == (
        "stepwell: the database doesn't keep what it commits: fsync is off, synchronous_commit is on: both must be on\n"
    )
    assert catalog(fickle) == before


@pytest.mark.parametrize(
    ("options", "url", "said"),
    [
        (("--shape", "nonsense"), "postgresql://nowhere.invalid/x", "'nonsense' is not one of"),
        (("--steps", "0"), "postgresql://nowhere.invalid/x", "0 is not in the range"),
        (("--workers", "2"), "postgresql://nowhere.invalid/x", "stepwell: --workers needs --executor celery"),
        (("--api", "--processes", "2"), "postgresql://nowhere.invalid/x", "stepwell: --api measures one process"),
        ((), "mysql://nowhere.invalid/x", "stepwell: STEPWELL_DATABASE_URL: Expected postgresql://"),
    ],
)
def test_misuse_is_exit_code_2(options: tuple[str, ...], url: str, said: str) -> None:
    refused = bench(url, *options)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert said in refused.stderr


# On the embedded database


@pytest.fixture(scope="module")
def first() -> Iterator[tuple[Path, "subprocess.CompletedProcess[str]"]]:
    """A folder that didn't exist before a benchmark, and how that went."""
    with fresh_folder() as parent:
        options = ("--workflows", "1", "--steps", "50", "--json")
        yield parent / "data", stepwell("bench", *options, "--data-dir", parent / "data")


@pytest.mark.extended
def test_the_benchmark_needs_only_a_folder(first: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, done = first
    report = report_of(done)
    check_sums(report, 1, 50)
    assert (report["shape"], report["commits"]) == ("chain", 51)  # one a step, and one that starts the first
    assert report["statements_per_step"] == 1.04  # those, and the one that creates it
    assert sorted(path.name for path in folder.iterdir()) == ["artifacts", "postgres"]
    assert list((folder / "artifacts").iterdir()) == []


async def interrupted_workflow(dsn: str) -> None:
    """One that the next service on this database would claim at once: its process is dead."""
    await migrate(dsn)
    clock, connect, sql = DatabaseClock(), asyncpg_connect(dsn, timeout_s=10), await asyncpg.connect(dsn)
    pool = await create_asyncpg_pool(connect)
    workflow_store = PostgresWorkflowStore(pool, connect, clock, uuid4())
    await Bench(workflow_store, PostgresLeaseStore(pool), sql, clock, dsn).make()
    workflow_store.end_writing()
    await pool.close()
    await sql.close()


def all_rows(dsn: str) -> dict[str, str]:
    tables = ("workflows", "steps", "tasks", "events", "processes", "schema_revision")
    return {
        table: ask(dsn, f"SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {table} AS t") for table in tables
    }


@pytest.mark.extended
def test_workflows_and_files_of_the_user_stay_as_they_are(
    first: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    folder, _ = first
    postgres = EmbeddedPostgres(folder / "postgres")
    postgres.start()
    try:
        asyncio.run(interrupted_workflow(postgres.dsn()))
        before, tables = all_rows(postgres.dsn()), catalog(postgres.dsn())
    finally:
        postgres.stop()
    assert before["workflows"].count("RUNNING") == 1
    assert not [line for line in tables if "stepwell_scratch" in line]
    file = folder / "artifacts/media" / str(uuid4()) / "result.png"  # the sweep of `up` would delete it
    file.parent.mkdir(parents=True)
    file.write_bytes(b"theirs")
    report_of(stepwell("bench", *SMALL, "--json", "--data-dir", folder))
    assert file.read_bytes() == b"theirs"
    postgres.start()
    try:
        assert all_rows(postgres.dsn()) == before
        assert catalog(postgres.dsn()) == tables
    finally:
        postgres.stop()


@pytest.mark.extended
def test_a_folder_that_is_in_use_is_refused(first: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    folder, _ = first
    with running_up(folder) as up:
        refused = stepwell("bench", *SMALL, "--data-dir", folder)
        assert (refused.returncode, refused.stdout) == (1, "")
        (line,) = refused.stderr.splitlines()
        assert re.fullmatch(r"stepwell: .* in use .*: a benchmark beside it would measure both", line), line
        assert up.process.poll() is None
        assert up.terminate() == 0
