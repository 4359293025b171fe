"""Data folders that PostgreSQL can be in, and servers that several tests of a module share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer, fresh_folder, running_server
from support.processes.stepwell_process import StepwellProcess, running_up


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"


@pytest.fixture(scope="module")
def durable() -> Iterator[TestServer]:
    """A server whose commits are on disk, as `serve` and `bench` demand."""
    with running_server({"fsync": "on"}) as server:
        yield server


@pytest.fixture(scope="module")
def up() -> Iterator[StepwellProcess]:
    """A `stepwell up` that may send webhooks to this machine."""
    env = {"STEPWELL_ALLOWED_CIDRS": "127.0.0.0/8"}
    with fresh_folder() as folder, running_up(folder / "data", env) as running:
        yield running
