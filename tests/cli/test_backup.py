"""`stepwell dump` and `stepwell restore`: the embedded database in a file, and back in a data folder."""

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from stepwell.persistence.embedded.programs import find_programs
from stepwell.persistence.embedded.server import EmbeddedPostgres
from stepwell.persistence.schema.tables import metadata
from support.database.postgres import fresh_folder
from support.database.prepared_cluster import copy_cluster
from support.processes.stepwell_process import (
    READY_S,
    STOP_S,
    StepwellProcess,
    running_up,
    stepwell,
    surroundings,
    until,
)
from support.workflows.image_pipelines import create, get, until_ended

Rows = dict[str, list[str]]
OTHER_MAJOR = "13"
BYTE_MAX = 0xFF


@pytest.fixture(scope="module")
def site(prepared: Path) -> Iterator[Path]:
    """A folder with `data`, the data folder of an ended `up`, and `backup`, a dump made while that ran."""
    with fresh_folder() as folder:
        copy_cluster(prepared, folder / "data")
        with running_up(folder / "data") as up, up.client() as client:
            for _ in range(2):
                assert until_ended(client, create(client))["status"] == "COMPLETED"
            (folder / "sign-in").write_text(client.post("/ui/sign-in/urls").json()["path"])
            dumped = dump(folder / "data", folder / "backup")
            assert (dumped.returncode, dumped.stdout) == (0, f"The database is in {folder}/backup.\n")
            assert dumped.stderr.endswith(f" they stay in {folder}/data/artifacts\n")
            (folder / "feed.json").write_bytes(client.get("/api/v1/events?limit=1000").content)
            assert up.terminate() == 0
        yield folder


@pytest.fixture(scope="module")
def site_rows(site: Path) -> Rows:
    return rows(site / "data")


@pytest.fixture(scope="module")
def restored(site: Path) -> Iterator[Path]:
    """The data folder that a restore of `backup` has made, to be copied."""
    with fresh_folder() as folder:
        done = restore(folder / "data", site / "backup")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"The database is restored in {folder}/data. All sessions and sign-in URLs have ended.\n"
        yield folder / "data"


@pytest.fixture
def restored_dir(restored: Path, data_dir: Path) -> Path:
    """A data folder with the restored database."""
    copy_cluster(restored / "postgres", data_dir)
    return data_dir


def dump(data_dir: Path, file: Path | str, **env: str) -> "subprocess.CompletedProcess[str]":
    return stepwell("dump", "--data-dir", data_dir, file, env=env)


def restore(data_dir: Path, file: Path | str, **env: str) -> "subprocess.CompletedProcess[str]":
    return stepwell("restore", "--data-dir", data_dir, file, env=env)


def execute(data_dir: Path, *statements: str) -> None:
    """Run *statements* on the database of a folder that nobody uses."""

    async def work(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        for statement in statements:
            await connection.execute(statement)
        await connection.close()

    postgres = EmbeddedPostgres(data_dir / "postgres")
    postgres.start()
    try:
        asyncio.run(work(postgres.dsn()))
    finally:
        postgres.stop()


def rows(data_dir: Path) -> Rows:
    """Return every row of every table of the folder's database, as text, except those of live processes.

    The time at which all sessions were ended isn't returned.
    """
    found: Rows = {}

    async def read(dsn: str) -> None:
        connection = await asyncpg.connect(dsn)
        for table in {"schema_revision", *metadata.tables} - {"processes"}:
            query = f"""SELECT (to_jsonb(t) - 'sessions_ended_at')::text FROM "{table}" t ORDER BY 1"""
            found[table] = [row[0] for row in await connection.fetch(query)]
        await connection.close()

    postgres = EmbeddedPostgres(data_dir / "postgres")
    postgres.start()
    try:
        asyncio.run(read(postgres.dsn()))
    finally:
        postgres.stop()
    return found


def left_in(data_dir: Path) -> set[str]:
    """The folders beside the locks, the log and the sockets of the folder's server."""
    usual = {"owner.lock", "server.lock", "postgres.log", "run"}
    return {path.name for path in (data_dir / "postgres").iterdir()} - usual - {f"bin-{version()}"}


def version() -> str:
    """Return the version of the PostgreSQL that the commands run."""
    named = os.environ.get("STEPWELL_POSTGRES_BIN")
    return find_programs(Path(named) if named else None, None, Path("/nowhere")).version


def test_a_restored_database_has_every_row(site_rows: Rows, restored_dir: Path) -> None:
    found = rows(restored_dir)
    assert found == site_rows
    assert [len(found[table]) for table in ("workflows", "steps", "tasks")] == [2, 4, 4]


def test_up_goes_on_with_a_restored_database(site: Path, restored_dir: Path) -> None:
    shutil.copy(site / "data/secret", restored_dir)
    with running_up(restored_dir) as up, up.client() as client:
        refused = client.get((site / "sign-in").read_text(), headers={"Sec-Fetch-Site": "none"})
        assert (refused.status_code, "All sessions were ended after" in refused.text) == (403, True)
        before = events((site / "feed.json").read_bytes())
        until(lambda: len(events(client.get("/api/v1/events?limit=1000").content)) == len(before), READY_S)
        assert sorted(events(client.get("/api/v1/events?limit=1000").content)) == sorted(before)
        assert {get(client, workflow_id)["status"] for workflow_id, _ in before} == {"COMPLETED"}
        assert until_ended(client, create(client))["status"] == "COMPLETED"
        after = events(client.get("/api/v1/events?limit=1000").content)
        assert sorted(after[: len(before)]) == sorted(before)
        assert len(after) > len(before)


def events(feed: bytes) -> list[tuple[str, int]]:
    return [(event["workflow_id"], event["id"]) for event in json.loads(feed)["events"]]


@pytest.mark.extended
def test_a_dump_without_a_running_service_goes_to_stdout_and_comes_back_by_stdin(
    site: Path, site_rows: Rows, data_dir: Path
) -> None:
    program = [sys.executable, "-m", "stepwell"]
    dumped = subprocess.run(
        [*program, "dump", "--data-dir", site / "data", "-"], env=surroundings({}), capture_output=True, check=True
    )
    restored = subprocess.run(
        [*program, "restore", "--data-dir", data_dir, "-"], env=surroundings({}), input=dumped.stdout, check=False
    )
    assert restored.returncode == 0
    assert rows(data_dir) == site_rows


@pytest.mark.extended
def test_data_of_another_major_version_are_refused_and_moved_aside_by_restore(
    site: Path, site_rows: Rows, restored_dir: Path
) -> None:
    data_dir = restored_dir
    (data_dir / "postgres/data/PG_VERSION").write_text(f"{OTHER_MAJOR}\n")
    for command in (("up", "--port", "0"), ("dump", "-"), ("migrate",)):
        refused = stepwell(*command, "--data-dir", data_dir)
        assert (refused.returncode, refused.stdout) == (1, "")
        (line,) = refused.stderr.splitlines()
        assert f"is of PostgreSQL {OTHER_MAJOR}, and the programs are {version()}" in line
        assert "`stepwell dump FILE`" in line
        assert "`stepwell restore FILE`" in line
    (data_dir / "secret").write_text("kept")
    restored = restore(data_dir, site / "backup")
    assert restored.returncode == 0
    assert restored.stderr.startswith(f"stepwell: The old data are in {data_dir}/postgres/data-{OTHER_MAJOR}:")
    assert left_in(data_dir) == {"data", f"data-{OTHER_MAJOR}"}
    assert (data_dir / "secret").read_text() == "kept"
    assert rows(data_dir) == site_rows


def test_old_data_are_not_moved_over_older_ones(site: Path, restored_dir: Path) -> None:
    data_dir = restored_dir
    (data_dir / "postgres/data/PG_VERSION").write_text(f"{OTHER_MAJOR}\n")
    (data_dir / f"postgres/data-{OTHER_MAJOR}").mkdir()
    refused = restore(data_dir, site / "backup")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"stepwell: {data_dir}/postgres/data-{OTHER_MAJOR} is in the way: move it away first\n"
    assert left_in(data_dir) == {"data", f"data-{OTHER_MAJOR}"}


@pytest.mark.parametrize("old", ["data", pytest.param(f"data-{OTHER_MAJOR}", marks=pytest.mark.extended)])
def test_a_restore_that_was_killed_at_its_last_step_is_finished(old: str, site_rows: Rows, restored_dir: Path) -> None:
    data_dir = restored_dir
    folder = data_dir / "postgres"
    (folder / "data").rename(folder / "data-restored")
    before = folder / old
    before.mkdir()
    (before / "PG_VERSION").write_text(f"{OTHER_MAJOR}\n")
    assert dump(data_dir, data_dir / "again").returncode == 0
    assert left_in(data_dir) == {"data", f"data-{OTHER_MAJOR}"}
    assert rows(data_dir) == site_rows


def test_a_data_folder_with_a_database_is_refused(site: Path, site_rows: Rows) -> None:
    refused = restore(site / "data", site / "backup")
    assert (refused.returncode, refused.stdout) == (1, "")
    where = site / "data/postgres/data"
    assert refused.stderr == f"stepwell: there is a database in {where} already: move that folder away first\n"
    assert rows(site / "data") == site_rows


def test_restore_beside_a_running_service_is_refused(site: Path, up: StepwellProcess) -> None:
    refused = restore(up.data_dir, site / "backup")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.endswith(" (stepwell up): stop it first\n")


@pytest.mark.extended
@pytest.mark.parametrize("missing", [1, 10_000, 10_000_000])
def test_a_dump_that_was_cut_off_changes_nothing(missing: int, site: Path, data_dir: Path) -> None:
    (site / "cut").write_bytes((site / "backup").read_bytes()[:-missing])
    restore_refusal(data_dir, site / "cut")


@pytest.mark.parametrize("part", [0.3, pytest.param(0.99, marks=pytest.mark.extended)])
def test_a_damaged_dump_changes_nothing(part: float, site: Path, data_dir: Path) -> None:
    damaged = bytearray((site / "backup").read_bytes())
    damaged[int(part * len(damaged))] ^= 0xFF
    (site / "damaged").write_bytes(damaged)
    restore_refusal(data_dir, site / "damaged")


@pytest.mark.extended
def test_a_damaged_length_at_which_pg_restore_would_loop_changes_nothing(site: Path, data_dir: Path) -> None:
    """pg_restore loops for ever on a compressed block whose length includes bytes after the end of its data."""
    damaged = bytearray((site / "backup").read_bytes())
    lengths = re.finditer(rb"\x01\0....\0(.)\0\0\0\x78\x9c", damaged, re.DOTALL)
    place = next(each.start(1) for each in lengths if damaged[each.start(1)] < BYTE_MAX)
    damaged[place] += 1
    (site / "damaged").write_bytes(damaged)
    assert "the dump is damaged" in restore_refusal(data_dir, site / "damaged")


def restore_refusal(data_dir: Path, file: Path) -> str:
    """Check that the restore of *file* is refused and leaves nothing behind. Returns the message."""
    refused = restore(data_dir, file)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.startswith("stepwell: ")
    assert "Traceback" not in refused.stderr
    assert left_in(data_dir) == set()
    return refused.stderr


@pytest.mark.extended
def test_a_file_that_is_no_dump_is_refused(site: Path, data_dir: Path) -> None:
    text = b"SELECT 1;\n" * 1000
    (site / "text").write_bytes(text)
    assert "the dump is damaged" in restore_refusal(data_dir, site / "text")
    (site / "text").write_bytes(text + f"\nstepwell {hashlib.sha256(text).hexdigest()}\n".encode())
    assert "pg_restore failed (1):" in restore_refusal(data_dir, site / "text")
    missing = restore(data_dir, site / "none")
    assert (missing.returncode, missing.stdout) == (2, "")


@pytest.mark.extended
def test_dumps_of_other_databases_and_of_other_versions_are_refused(site: Path, restored_dir: Path) -> None:
    data_dir = restored_dir
    execute(data_dir, "UPDATE schema_revision SET version_num = '9999'")
    execute(data_dir, "UPDATE installation SET oldest_revision = '9999'")
    assert dump(data_dir, site / "newer").returncode == 0
    execute(data_dir, "ALTER TABLE schema_revision RENAME TO alembic_version")
    assert dump(data_dir, site / "before").returncode == 0
    execute(data_dir, "DROP TABLE alembic_version")
    assert dump(data_dir, site / "other").returncode == 0
    target = data_dir.parent / "target"
    assert "was written by a newer version of Stepwell" in restore_refusal(target, site / "newer")
    assert "was written by a pre-release of Stepwell" in restore_refusal(target, site / "before")
    assert "but not of a database of Stepwell" in restore_refusal(target, site / "other")


@pytest.mark.extended
def test_an_interrupted_restore_changes_nothing(site: Path, data_dir: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "stepwell", "restore", "--data-dir", data_dir, "-"],
        env=surroundings({}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdin is not None
    process.stdin.write((site / "backup").read_bytes()[:1000])
    process.stdin.flush()
    until(lambda: _is_there(data_dir / "postgres/unfinished-restore/postmaster.pid"), READY_S)
    process.send_signal(signal.SIGTERM)
    assert process.wait(STOP_S) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.communicate()
    assert left_in(data_dir) == set()
    assert restore(data_dir, site / "backup").returncode == 0


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except PermissionError:
        return False


def test_a_dump_is_for_its_owner_only_and_replaces_an_older_one_when_it_is_complete(site: Path) -> None:
    target = site / "again"
    target.write_text("older")
    target.chmod(0o644)
    link = site / "link"
    link.symlink_to(target)
    assert dump(site / "data", link).returncode == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_bytes()[:5] == b"PGDMP"
    assert link.is_symlink()
    assert not list(site.glob(".*"))


@pytest.mark.parametrize(
    ("target", "why"),
    [("/dev/null", "it is no regular file; - is stdout"), ("/nowhere/backup", "No such file or directory")],
)
def test_a_dump_that_cannot_be_written_is_refused(target: str, why: str, site: Path) -> None:
    refused = dump(site / "data", target)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"stepwell: cannot write {target}: {why}\n"


def test_a_data_folder_without_a_database_has_no_dump(data_dir: Path) -> None:
    refused = dump(data_dir, data_dir.parent / "backup")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"stepwell: there is no database in {data_dir}\n"
    assert list(data_dir.parent.iterdir()) == []


@pytest.mark.parametrize("command", ["dump", "restore"])
def test_a_database_of_the_operators_own_is_left_to_its_own_tools(command: str, site: Path) -> None:
    env = {"STEPWELL_DATABASE_URL": "postgresql://nowhere.invalid/x", "STEPWELL_DATA_DIR": str(site / "data")}
    refused = stepwell(command, site / "backup", env=env)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("stepwell: STEPWELL_DATABASE_URL: Expected none: use the pg_dump and pg_restore")


@pytest.mark.extended
def test_a_full_disk_leaves_the_older_dump(site: Path) -> None:
    target = site / "small"
    target.write_text("older")
    with running_up(site / "data"):  # whose log and database may grow
        refused = subprocess.run(
            ["bash", "-c", f"ulimit -f 8; {sys.executable} -m stepwell dump --data-dir {site}/data {target}"],
            env=surroundings({}),
            capture_output=True,
            text=True,
            check=False,
        )
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr == f"stepwell: cannot write {target}: File too large\n"
    assert target.read_text() == "older"
    assert not list(site.glob(".*"))
