"""A durable server, and an empty database on it."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer, create_database, fresh_folder, running_server


@pytest.fixture(scope="module")
def durable() -> Iterator[TestServer]:
    """A server whose commits are on disk, as `serve` demands."""
    with running_server({"fsync": "on"}) as server:
        yield server


@pytest.fixture
def empty(durable: TestServer) -> str:
    """The address of an empty database."""
    return durable.dsn(asyncio.run(create_database(durable.dsn())))


@pytest.fixture
def folder() -> Iterator[Path]:
    with fresh_folder() as folder:
        yield folder
