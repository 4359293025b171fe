"""Brings a database's tables up to date, at start or by `stepwell migrate`."""

from enum import Enum, auto
from functools import cache
from itertools import takewhile
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.pool import NullPool

import stepwell
from stepwell.persistence.connections.database import create_engine
from stepwell.persistence.schema.indexes import create_indexes
from stepwell.persistence.schema.tables import installation

# Any constant will do, as long as every Stepwell process uses the same one.
_ADVISORY_LOCK = 0x5745_4C4C
# While a statement waits for a lock, other statements queue behind it. So this bounds the time for which the service
# may stand still.
_LOCK_TIMEOUT = "3s"


class TooNew(Exception):
    """The tables are of a newer version, which this one may not work on. The message is one line."""


class TablesVersion(Enum):
    """The version of the tables, compared with this code's: older, the same, or newer and usable."""

    BEHIND = auto()
    CURRENT = auto()
    NEWER = auto()


@cache
def newest_revision() -> str:
    """Return the newest revision of the tables that this code knows."""
    config = Config()
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    return ScriptDirectory.from_config(config).get_current_head() or ""


def script_folder() -> Path:
    """Return the folder of the migrations: inside the package in a wheel, at the top of the tree in a checkout."""
    packaged = Path(stepwell.__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(stepwell.__file__).parents[2] / "migrations"


async def migrate(dsn: str) -> TablesVersion:
    """Run every missing migration, one process at a time. Return CURRENT, or NEWER for tables that are left alone.

    Those that change tables run in one transaction. One that copies data runs in its own, without a lock on the tables,
    and is the last one that a crash can leave missing. New tables have all their indexes then. Tables of an earlier
    version may lack some: `build_missing_indexes`.

    Raises `TooNew`, and what asyncpg or SQLAlchemy raise if the database can't be reached, or refuses. While other
    processes use the tables, this may be a deadlock or a lock that wasn't free in time. Then the caller may try again.
    """
    engine = create_engine(dsn, poolclass=NullPool)
    try:
        version = TablesVersion.BEHIND
        while version is TablesVersion.BEHIND:
            async with engine.begin() as connection:
                await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
                version = await connection.run_sync(_upgrade)
        return version
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> TablesVersion:
    """Run the next migrations that share a transaction. Return the version of the tables then. Raises `TooNew`."""
    config = Config()
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    if current is None:
        command.upgrade(config, "head")
        create_indexes(connection)
        return TablesVersion.CURRENT
    if not _is_known(scripts, current):
        _check_usable(connection, scripts, current)
        return TablesVersion.NEWER
    missing = list(scripts.iterate_revisions("head", current))[::-1]
    if not missing:
        return TablesVersion.CURRENT
    changes = list(takewhile(lambda script: not _copies_data(script), missing))
    if changes:
        _lock(connection)
    last = changes[-1] if changes else missing[0]
    command.upgrade(config, last.revision)
    return TablesVersion.CURRENT if last is missing[-1] else TablesVersion.BEHIND


def _is_known(scripts: ScriptDirectory, revision: str) -> bool:
    try:
        scripts.get_revision(revision)
    except CommandError:  # "Can't locate revision ..."
        return False
    return True


def _check_usable(connection: Connection, scripts: ScriptDirectory, current: str) -> None:
    """Raise `TooNew` if the tables of the unknown revision *current* need newer code than this."""
    newest = scripts.get_current_head() or ""
    oldest = current
    if inspect(connection).has_table(installation.name):
        oldest = connection.execute(select(installation.c.oldest_revision)).scalar() or current
    if newest < oldest:  # revisions are numbers of four digits, in one chain
        raise TooNew(
            f"the database was written by a newer version of Stepwell: its tables have revision {current}, which needs "
            f"a version with revision {oldest} or later, and this one has {newest}: start the newer version"
        )


def _copies_data(script: Script) -> bool:
    return getattr(script.module, "COPIES_DATA", False)


def _lock(connection: Connection) -> None:
    """Lock all tables before the first is changed.

    Migrations lock one table after the other, and processes of the version before lock them in another order. This can
    end in a deadlock, which would undo the work of minutes. Here a deadlock can only happen before any work.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(text("LOCK TABLE workflows, steps, tasks, events IN ACCESS EXCLUSIVE MODE"))
