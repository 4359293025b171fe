"""How Alembic reaches the database: the connection that the service hands in, else STEPWELL_DATABASE_URL."""

import asyncio
import os

from alembic import context
from sqlalchemy import Connection

from stepwell.persistence.schema.migrations import VERSION_TABLE, migrate
from stepwell.persistence.schema.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    asyncio.run(migrate(os.environ["STEPWELL_DATABASE_URL"]))
