"""The embedded server against all that happens to a data folder: crashes, leftovers, strange places, other owners."""

import asyncio
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from stepwell.persistence.embedded.data_folder import DataFolder
from stepwell.persistence.embedded.programs import SystemAccount, find_programs
from stepwell.persistence.embedded.server import DataFolderInUse, EmbeddedPostgres, PostgresUnavailable
from support.database.embedded_servers import (
    DEADLINE_S,
    OWNER,
    alive,
    ask,
    lent,
    other_owner,
    query,
    quick,
    wheel_folder,
)
from support.database.postgres import (
    QUICK,
    create_database,
    database,
    drop_database,
    postmaster_pid,
    running_server,
)
from support.processes.stepwell_process import until


def test_the_first_start_makes_a_durable_server_and_the_next_keeps_its_data(folder: Path) -> None:
    server = EmbeddedPostgres(folder / "new" / "postgres")
    assert not alive(server)
    server.start()
    assert alive(server)
    ask(server.dsn(), "CREATE TABLE t AS SELECT 1 AS x", "SELECT 1")
    ask(server.dsn(), "ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET synchronous_commit = off", "SELECT 1")
    asyncio.run(asyncio.to_thread(server.stop))
    server.stop()
    assert not alive(server)

    server.start()
    try:
        assert ask(server.dsn(), "SELECT x FROM t") == 1
        for setting, value in {
            "fsync": "on",
            "synchronous_commit": "on",
            "full_page_writes": "on",
            "data_checksums": "on",
            "listen_addresses": "",
            "server_encoding": "UTF8",
            "TimeZone": "UTC",
        }.items():
            assert ask(server.dsn(), f"SHOW {setting}") == value
        assert ask(server.dsn(), "SELECT 'B' < 'a' AND upper('é') = 'É'")
    finally:
        server.stop()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_server_ends_with_its_owner_and_the_next_owner_waits_for_that(root: Path, end: signal.Signals) -> None:
    with other_owner(root) as (owner, dsn):
        ask(dsn, "DROP TABLE IF EXISTS t", "CREATE TABLE t AS SELECT 1 AS x", "SELECT 1")
        orphan = postmaster_pid(root)
        owner.send_signal(end)
        owner.wait(DEADLINE_S)
        server = quick(root)
        server.start()
        try:
            assert ask(server.dsn(), "SELECT x FROM t") == 1
            assert postmaster_pid(root) != orphan
        finally:
            server.stop()


async def test_a_killed_postmaster_is_noticed_and_comes_back(root: Path) -> None:
    server = quick(root)
    server.start()
    try:
        dsn = server.dsn()
        client = await asyncpg.connect(dsn)  # so that there is a backend that has to end, too
        await client.execute("DROP TABLE IF EXISTS t; CREATE TABLE t AS SELECT 1 AS x")
        os.kill(postmaster_pid(root), signal.SIGKILL)
        until(lambda: not alive(server), DEADLINE_S)
        until(server.respawn, DEADLINE_S)
        await asyncio.to_thread(server.wait_ready, DEADLINE_S)
        client.terminate()
        assert alive(server)
        assert server.dsn() == dsn
        assert await query(dsn, "SELECT x FROM t") == 1

        os.kill(postmaster_pid(root), signal.SIGKILL)
        until(lambda: not alive(server), DEADLINE_S)
        server.start()
        assert await query(dsn, "SELECT x FROM t") == 1
        with pytest.raises(DataFolderInUse):
            quick(root).start()
    finally:
        server.stop()


def test_a_folder_has_one_owner(root: Path) -> None:
    with other_owner(root) as (owner, dsn):
        second = quick(root)
        with pytest.raises(DataFolderInUse) as refused:
            second.start()
        assert str(refused.value) == f"{root} is in use by process {owner.pid}"
        second.stop()
        assert ask(dsn, "SELECT 1") == 1


def test_other_processes_can_read_the_owners_command(root: Path) -> None:
    first, second = quick(root), quick(root)
    assert second.owner_command() is None
    first.claim("up")
    assert second.owner_command() == "up"
    with pytest.raises(DataFolderInUse) as refused:
        second.claim("run")
    assert str(refused.value) == f"{root} is in use by process {os.getpid()} (stepwell up)"
    assert refused.value.command == "up"
    first.stop()
    assert second.owner_command() is None
    second.claim()
    assert first.owner_command() == ""
    second.stop()


def test_what_a_killed_owner_left_is_removed_before_others_learn_of_the_next(root: Path) -> None:
    with other_owner(root) as (owner, _):
        (root / "owner.lock").write_text(f"{owner.pid} up\n")
        owner.kill()
        owner.wait()
    seen = []
    following, reader = quick(root), quick(root)
    following.claim("up", lambda: seen.append(reader.owner_command()))
    assert (seen, reader.owner_command()) == ([""], "up")
    following.stop()


@pytest.mark.parametrize("stale", ["reused", "own", "empty"])
def test_a_stale_pid_is_no_server(root: Path, stale: str) -> None:
    with subprocess.Popen(["/bin/sleep", "1000"]) as bystander:
        try:
            pid = {"reused": f"{bystander.pid}\n", "own": f"{os.getpid()}\n", "empty": ""}[stale]
            (root / "run").mkdir()
            for path in (root / "data/postmaster.pid", root / "run/.s.PGSQL.5432.lock"):
                path.write_text(pid)
            server = quick(root)
            server.start()
            assert ask(server.dsn(), "SELECT 1") == 1
            server.stop()
            assert bystander.poll() is None
        finally:
            bystander.kill()


def test_a_server_started_by_hand_is_left_alone(root: Path) -> None:
    data = root / "data"
    info = data.stat()
    account = SystemAccount(info.st_uid, info.st_gid, "") if os.geteuid() == 0 else None
    programs = find_programs(None, account, root)
    options = ["-D", str(data), "--listen_addresses=", "-k", str(data)]
    with (root / "by-hand.log").open("wb") as log:
        by_hand = programs.spawn("postgres", *options, log=log.fileno(), pass_fds=())
    try:
        until(lambda: DataFolder(root).accepts_connections(by_hand.pid), DEADLINE_S)
        with pytest.raises(PostgresUnavailable, match=f"process {by_hand.pid}"):
            quick(root).start()
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait(DEADLINE_S)


def test_an_interrupted_initdb_is_done_again(folder: Path) -> None:
    root = folder / "postgres"
    command = [sys.executable, "-c", OWNER, str(root), "0", str(wheel_folder())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        until(lambda: any(root.glob("unfinished-*/PG_VERSION")), DEADLINE_S)
        owner.kill()
    assert not (root / "data").exists()
    server = quick(root)
    server.start()
    try:
        assert ask(server.dsn(), "SELECT 1") == 1
        assert not list(root.glob("unfinished-*"))
    finally:
        server.stop()


def test_the_callers_environment_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "LANG": "xx_XX.nonsense",
        "LC_ALL": "xx_XX.nonsense",
        "TZ": "Nowhere/Nothing",
        "PGDATA": "/nonexistent",
        "PGHOST": "nowhere.invalid",
        "PGPORT": "1",
        "PGUSER": "noone",
        "PGDATABASE": "none",
        "PGOPTIONS": "--nonsense=1",
        "PGSSLMODE": "require",
        "STEPWELL_JWT_SECRET": "secret",
    }.items():
        monkeypatch.setenv(name, value)
    server = quick(folder / "postgres")
    server.start()
    try:
        assert ask(server.dsn(), "SHOW fsync") == "off"
        environment = Path(f"/proc/{postmaster_pid(folder / 'postgres')}/environ")
        assert not environment.exists() or b"secret" not in environment.read_bytes()
    finally:
        server.stop()


@pytest.mark.parametrize("name", ["with space", "it's, ünï\\cödé%20", "l" * 120])
def test_a_data_folder_may_have_any_path(folder: Path, made_once: Path, name: str) -> None:
    with lent(made_once, folder / name) as root:
        server = quick(root)
        server.start()
        try:
            assert ask(server.dsn(), "SELECT 1") == 1
            sockets = Path(ask(server.dsn(), "SHOW unix_socket_directories"))
            assert folder not in sockets.parents
            assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        finally:
            server.stop()
        assert not sockets.exists()


def test_sockets_elsewhere_of_a_killed_owner_are_cleared_away(folder: Path, made_once: Path) -> None:
    with lent(made_once, folder / "with space") as root:
        with other_owner(root) as (_, dsn):
            left = Path(ask(dsn, "SHOW unix_socket_directories"))
        assert left.exists()
        server = quick(root)
        server.start()
        server.stop()
        assert not left.exists()


def test_data_of_another_major_version_is_refused(root: Path) -> None:
    version = root / "data/PG_VERSION"
    right = version.read_text()
    version.write_text("13\n")
    try:
        with pytest.raises(PostgresUnavailable, match=r"PostgreSQL 13, and the programs are \d+\.\d+, .* dump .* rest"):
            quick(root).start()
    finally:
        version.write_text(right)


def test_foreign_files_are_not_taken_for_data(folder: Path) -> None:
    treasure = folder / "postgres/data/treasure"
    treasure.parent.mkdir(parents=True)
    treasure.touch()
    with pytest.raises(PostgresUnavailable, match="no data folder"):
        quick(folder / "postgres").start()
    assert treasure.exists()


def test_a_failed_start_reports_why_and_releases_the_folder(root: Path) -> None:
    with pytest.raises(PostgresUnavailable, match=r'(?s)postgres\.log says:.*"shared_buffers": "nonsense"'):
        quick(root, shared_buffers="nonsense").start()
    server = quick(root)
    server.start()
    assert ask(server.dsn(), "SELECT 1") == 1
    server.stop()


def test_a_folder_that_can_not_be_created_is_reported_in_our_words(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(PostgresUnavailable, match="cannot use the data folder"):
        quick(folder / "file" / "postgres").start()
    with pytest.raises(PostgresUnavailable, match="cannot run"):
        EmbeddedPostgres(folder / "postgres", binaries=folder).start()


def test_only_the_main_thread_starts_a_server(root: Path) -> None:
    server = quick(root)
    with pytest.raises(RuntimeError):
        server.respawn()
    with pytest.raises(RuntimeError):
        asyncio.run(asyncio.to_thread(server.start))
    server.start()
    server.stop()


@pytest.mark.parametrize("binaries", [wheel_folder(), *sorted(Path("/usr/lib/postgresql").glob("*/bin"))], ids=str)
def test_a_server_runs_other_binaries_on_request(folder: Path, binaries: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", binaries=binaries, settings=QUICK)
    server.start()
    try:
        major = int(ask(server.dsn(), "SHOW server_version_num")) // 10_000
        assert str(major) in {binaries.parent.name, "18"}
        assert ask(server.dsn(), "SHOW server_encoding") == "UTF8"
    finally:
        server.stop()


async def test_databases_of_tests_are_copies_of_a_template() -> None:
    with running_server() as server:
        assert server.embedded.running
        async with database(server) as dsn:
            await query(dsn, "CREATE TABLE t AS SELECT 1 AS x", "SELECT 1")
            name = await create_database(server.dsn(), dsn.partition("@/")[2].partition("?")[0])
            assert await query(server.dsn(name), "SELECT x FROM t") == 1
            await drop_database(server.dsn(), name)
        assert await query(server.dsn(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'") == 0
