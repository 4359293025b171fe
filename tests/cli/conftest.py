"""Data folders that PostgreSQL can be in, and servers that the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import TestServer, fresh_folder
from support.database.prepared_cluster import copy_cluster, prepared_cluster, running_copy
from support.processes.held_image import ALLOWED, HeldImage, held_image
from support.processes.stepwell_process import StepwellProcess, running_up


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Path]:
    """A cluster with the tables of the service, to be copied."""
    with prepared_cluster() as root:
        yield root


@pytest.fixture
def migrated_dir(cluster: Path, data_dir: Path) -> Path:
    """A data folder with a database, for tests that aren't about the first start."""
    copy_cluster(cluster, data_dir)
    return data_dir


@pytest.fixture(scope="session")
def durable(cluster: Path) -> Iterator[TestServer]:
    """A server whose commits are on disk, as `serve` and `bench` demand."""
    with running_copy(cluster, {"fsync": "on"}) as server:
        yield server


@pytest.fixture(scope="session")
def up(cluster: Path) -> Iterator[StepwellProcess]:
    """A `stepwell up` that may send webhooks to this machine, and download from it."""
    with fresh_folder() as folder:
        copy_cluster(cluster, folder / "data")
        with running_up(folder / "data", ALLOWED) as running:
            yield running


@pytest.fixture
def image() -> Iterator[HeldImage]:
    """An image that `up` may download. A step that needs it runs until the test releases it."""
    with held_image() as image:
        yield image
