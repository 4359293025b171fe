"""Brings a database's tables up to date, at start or by `stepwell migrate`."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, select, text
from sqlalchemy.pool import NullPool

import stepwell
from stepwell.persistence.connections.database import create_engine
from stepwell.persistence.schema.indexes import create_indexes
from stepwell.persistence.tables.installation import installation
from stepwell.persistence.tables.workflows import workflows

# Where Alembic keeps the revision of the tables. Pre-releases used the table `alembic_version`.
VERSION_TABLE: Final = "schema_revision"
PRE_RELEASE_TABLE: Final = "alembic_version"

# Any constant will do, as long as every Stepwell process uses the same one.
_ADVISORY_LOCK = 0x5745_4C4C
# While a statement waits for a lock, other statements queue behind it. So this bounds the time for which the service
# may stand still.
_LOCK_TIMEOUT = "3s"


class UnusableTables(Exception):
    """The tables are of a version whose tables this one may not use. The message is one line."""


def newest_revision() -> str:
    """Return the newest revision of the tables that this code knows. They are numbers of four digits."""
    return max(file.name[:4] for file in (script_folder() / "versions").glob("[0-9]*.py"))


def script_folder() -> Path:
    """Return the folder of the migrations: inside the package in a wheel, at the top of the tree in a checkout."""
    packaged = Path(stepwell.__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(stepwell.__file__).parents[2] / "migrations"


async def migrate(dsn: str) -> bool:
    """Run every missing migration, one process at a time. Return False if newer tables are left alone.

    All of them run in one transaction. New tables have all their indexes then. Tables of an earlier version may lack
    some: `build_missing_indexes`.

    Raises `UnusableTables`, and what asyncpg or SQLAlchemy raise if the database can't be reached, or refuses. While
    other processes use the tables, this may be a deadlock or a lock that wasn't free in time. Then the caller may try
    again.
    """
    engine = create_engine(dsn, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> bool:
    """Run the missing migrations. Return False if newer tables are left alone. Raises `UnusableTables`."""
    current = None
    if connection.scalar(text(f"SELECT to_regclass('{VERSION_TABLE}') IS NOT NULL")):
        current = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a constant
    if current == newest_revision():
        return True
    # Alembic takes 0.1 s of CPU time and 10 MB, which a process on tables of its own version saves.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    if current is None:
        _refuse_pre_release(connection)
        command.upgrade(config, "head")
        create_indexes(connection)
    elif current < newest_revision():
        _lock(connection)
        command.upgrade(config, "head")
    else:
        _check_usable(connection, current)
        return False
    return True


def _refuse_pre_release(connection: Connection) -> None:
    """Raise `UnusableTables` if a pre-release has made the tables. Another program may have an `alembic_version`."""
    tables = inspect(connection)
    if tables.has_table(PRE_RELEASE_TABLE) and tables.has_table(workflows.name):
        raise UnusableTables(
            "the database was written by a pre-release of Stepwell, which no release can use: begin with an empty "
            "database or data folder"
        )


def _check_usable(connection: Connection, current: str) -> None:
    """Raise `UnusableTables` if the tables of the unknown revision *current* need newer code than this."""
    newest = newest_revision()
    oldest = connection.execute(select(installation.c.oldest_revision)).scalar_one()
    if newest < oldest:  # revisions are numbers of four digits, in one chain
        raise UnusableTables(
            f"the database was written by a newer version of Stepwell: its tables have revision {current}, which needs "
            f"a version with revision {oldest} or later, and this one has {newest}: start the newer version"
        )


def _lock(connection: Connection) -> None:
    """Lock all tables before the first is changed.

    Migrations lock one table after the other, and processes of the version before lock them in another order. This can
    end in a deadlock, which would undo the work of minutes. Here a deadlock can only happen before any work.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
    connection.execute(text("LOCK TABLE workflows, steps, tasks, events IN ACCESS EXCLUSIVE MODE"))
