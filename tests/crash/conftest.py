"""Data folders for processes that are killed."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.database.postgres import fresh_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    """A data folder that doesn't exist yet; not in `tmp_path`, which is closed to other users."""
    with fresh_folder() as folder:
        yield folder / "data"
