"""An empty database on a durable server."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer, create_database, fresh_folder


@pytest.fixture
def empty(durable: TestServer) -> str:
    """The address of an empty database."""
    return durable.dsn(asyncio.run(create_database(durable.dsn())))


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder
