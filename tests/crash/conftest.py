"""Data folders for processes that are killed."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from stepwell.persistence.embedded.server import DATABASE
from support.database.postgres import TestServer, database, fresh_folder
from support.database.prepared_cluster import copy_cluster


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"


@pytest.fixture
def data_dir(folder: Path, prepared: Path) -> Path:
    """A data folder with a database, for tests that aren't about the first start."""
    copy_cluster(prepared, folder)
    return folder


@pytest.fixture
async def durable_dsn(durable: TestServer) -> AsyncIterator[str]:
    """The address of a migrated database on a server whose commits are on disk, as `serve` demands."""
    async with database(durable, DATABASE) as dsn:
        yield dsn
