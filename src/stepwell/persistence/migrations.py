"""Bring a database's tables up to date, at start or by `stepwell migrate`."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text
from sqlalchemy.pool import NullPool

import stepwell
from stepwell.persistence.database import create_engine

# Any constant will do, as long as every Stepwell process takes the same one.
_ADVISORY_LOCK = 0x5745_4C4C


def script_folder() -> Path:
    """The migrations: inside the package in a wheel, at the top of the tree in a checkout."""
    packaged = Path(stepwell.__file__).parent / "migrations"
    return packaged if packaged.is_dir() else Path(stepwell.__file__).parents[2] / "migrations"


async def migrate(dsn: str) -> None:
    """Run every migration that is missing, in one transaction, one process at a time.

    Raises what asyncpg or SQLAlchemy raise where the database can't be reached or refuses.
    """
    engine = create_engine(dsn, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(script_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
