"""`stepwell migrate`: the tables brought up to date, without a service."""

import asyncio

from stepwell.cli.folder import open_folder
from stepwell.cli.postgres import embedded_postgres, migrated
from stepwell.cli.serve import prepared_database
from stepwell.settings import Settings


def migrate(settings: Settings) -> None:
    """Migrate the configured database, or the data folder's where none is. Raises `Refused`."""
    if settings.database_url is not None:
        asyncio.run(prepared_database(settings))
        return
    open_folder(settings.data_dir)
    with embedded_postgres(settings, "the Stepwell that runs on it has migrated it") as postgres:
        asyncio.run(migrated(postgres))
