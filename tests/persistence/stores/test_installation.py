"""The record of a database about itself."""

from stepwell.persistence.connections.database import asyncpg_connect, create_asyncpg_pool
from stepwell.persistence.stores.installation import PostgresInstallation


async def test_a_folder_of_artifacts_is_recorded_once_the_block_has_ended(dsn: str) -> None:
    async with create_asyncpg_pool(asyncpg_connect(dsn, timeout_s=10)) as pool:
        installation = PostgresInstallation(pool)
        async with installation.recording_folder() as before:
            assert not before.has_folder
            assert await installation.read() == before
        after = await installation.read()
        assert (after.id, after.has_folder) == (before.id, True)
