from pathlib import Path

import pytest

from stepwell.artifacts.store import ObstoreArtifacts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(root: Path) -> ObstoreArtifacts:
    return ObstoreArtifacts.local(root)
