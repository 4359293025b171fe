"""Data folders that PostgreSQL can be in, and a service that the tests of the command line share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import fresh_folder
from support.database.prepared_cluster import copy_cluster
from support.processes.held_image import ALLOWED, HeldImage, held_image
from support.processes.stepwell_process import StepwellProcess, running_up


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"


@pytest.fixture
def migrated_dir(prepared: Path, data_dir: Path) -> Path:
    """A data folder with a database, for tests that aren't about the first start."""
    copy_cluster(prepared, data_dir)
    return data_dir


@pytest.fixture(scope="session")
def up(prepared: Path) -> Iterator[StepwellProcess]:
    """A `stepwell up` that may send webhooks to this machine, and download from it."""
    with fresh_folder() as folder:
        copy_cluster(prepared, folder / "data")
        with running_up(folder / "data", ALLOWED) as running:
            yield running


@pytest.fixture
def image() -> Iterator[HeldImage]:
    """An image that `up` may download. A step that needs it runs until the test releases it."""
    with held_image() as image:
        yield image
