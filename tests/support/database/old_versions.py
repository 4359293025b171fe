"""Databases as earlier versions have left them."""

import json
from pathlib import Path

import asyncpg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

from stepwell.persistence.connections.database import create_engine
from stepwell.persistence.schema.migrations import script_folder

_ROWS_OF_0009 = Path(__file__).with_name("rows_of_0009.json")


async def migrate_to(dsn: str, revision: str) -> None:
    """Create the tables of an earlier version in an empty database."""

    def upgrade(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(script_folder()))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)

    engine = create_engine(dsn, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(upgrade)
    await engine.dispose()


async def fill_as_of_0009(dsn: str) -> dict[str, str]:
    """Create the tables of revision 0009, with what the version of that time has written until it was killed.

    Return the ids of the workflows by their names, which say how they stand. Each has a first step "a", and some have
    more: "running" runs its second one of three, "paused" was paused before its third, and "queued" waits for a slot.
    """
    await migrate_to(dsn, "0009")
    tables = json.loads(_ROWS_OF_0009.read_text())
    sql = await asyncpg.connect(dsn)
    for table, rows in tables.items():
        columns = ", ".join(rows[0])
        await sql.execute(
            f"INSERT INTO {table} ({columns}) SELECT {columns} FROM json_populate_recordset(NULL::{table}, $1)",
            json.dumps(rows),
        )
    await sql.close()
    return {row["name"]: row["id"] for row in tables["workflows"]}
