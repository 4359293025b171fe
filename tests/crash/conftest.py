"""Data folders for processes that are killed."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer, create_database, fresh_folder, running_server


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"


@pytest.fixture(scope="module")
def durable() -> Iterator[TestServer]:
    """A server whose commits are on disk, as `serve` demands."""
    with running_server({"fsync": "on"}) as server:
        yield server


@pytest.fixture
def durable_dsn(durable: TestServer) -> str:
    """The address of an empty database on that server."""
    return durable.dsn(asyncio.run(create_database(durable.dsn())))
