"""A PostgreSQL server for tests, one for a whole session, and databases on it.

Its folder is not pytest's: for root that is closed to the account that PostgreSQL runs as.
"""

import os
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg

from stepwell.persistence.embedded.server import DATABASE, EmbeddedPostgres
from stepwell.persistence.schema.tables import metadata
from stepwell.testing import folders

# Quick, and good enough for a folder that no one uses again: only a crash of the machine would tell.
QUICK = {"fsync": "off", "full_page_writes": "off"}

_MEMORY = Path("/dev/shm")
_MEMORY_MIN_BYTES = 4 << 30


class TestServer:
    """A running server. `embedded` is its supervisor, to be killed and revived."""

    __test__ = False  # no test case, whatever its name

    def __init__(self, embedded: EmbeddedPostgres, root: Path) -> None:
        self.embedded = embedded
        self.root = root

    def dsn(self, database: str = DATABASE) -> str:
        return self.embedded.dsn(database)

    @property
    def pid(self) -> int:
        """Of the postmaster."""
        return postmaster_pid(self.root)


def fresh_folder() -> AbstractContextManager[Path]:
    """Yield a new folder that other users may pass through. It is deleted at the end.

    For tests it is in memory where there is room: on a disk, a server takes seconds to stop, and its files to be
    deleted. Benchmarks measure the disk, too.
    """
    return folders.fresh_folder(_MEMORY if "PYTEST_VERSION" in os.environ and _has_room(_MEMORY) else None)


def _has_room(folder: Path) -> bool:
    """Return whether the clusters of several tests can be in the folder at once."""
    try:
        found = os.statvfs(folder)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK) and found.f_bavail * found.f_frsize >= _MEMORY_MIN_BYTES


@contextmanager
def running_server(settings: Mapping[str, str] | None = None) -> Iterator[TestServer]:
    """A server on a fresh folder, of STEPWELL_POSTGRES_BIN if set; *settings* go over `QUICK`. Main thread only."""
    binaries = os.environ.get("STEPWELL_POSTGRES_BIN")
    with fresh_folder() as folder:
        root = folder / "postgres"
        embedded = EmbeddedPostgres(
            root, binaries=Path(binaries) if binaries else None, settings=QUICK | dict(settings or {})
        )
        embedded.start()
        try:
            yield TestServer(embedded, root)
        finally:
            embedded.stop()


# Those that a test may empty. `installation` has one row in every database.
TABLES = ", ".join(sorted(metadata.tables.keys() - {"installation"}))


async def empty_tables(connection: asyncpg.Connection) -> None:
    """Delete all rows, once no transaction of an earlier test uses the tables.

    It takes a tenth of TRUNCATE's time, which makes new files for all tables and their indexes.
    """
    deletions = [f"DELETE FROM {table}" for table in TABLES.split(", ")]
    await connection.execute("; ".join([f"LOCK TABLE {TABLES} IN ACCESS EXCLUSIVE MODE", *deletions]))


async def create_database(dsn: str, template: str | None = None) -> str:
    """Make a database on the server of *dsn*, a copy of *template* (which nobody may be connected to); its name."""
    name = f"test_{uuid4().hex}"
    copied = "" if template is None else f' TEMPLATE "{template}"'
    async with connected(dsn) as connection:
        # To copy files takes half of what it takes to log all pages. Before PostgreSQL 15, files are always copied.
        if copied and connection.get_server_version().major >= 15:
            copied += " STRATEGY FILE_COPY"
        await connection.execute(f"CREATE DATABASE {name}{copied}")
    return name


async def drop_database(dsn: str, name: str) -> None:
    """Drop it even while clients are connected. *dsn* names another database of the server."""
    async with connected(dsn) as connection:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@asynccontextmanager
async def database(server: TestServer, template: str | None = None) -> AsyncIterator[str]:
    """The dsn of a database of its own, dropped at the end."""
    name = await create_database(server.dsn("postgres"), template)
    try:
        yield server.dsn(name)
    finally:
        await drop_database(server.dsn("postgres"), name)


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of asyncpg, closed at the end."""
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


def postmaster_pid(root: Path) -> int:
    return int((root / "data" / "postmaster.pid").read_text().split()[0])
