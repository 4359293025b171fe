from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from stepwell.artifacts import s3 as module
from stepwell.artifacts.store import ObstoreArtifacts
from support.emulators.s3 import S3Server, s3_server


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def store(root: Path) -> ObstoreArtifacts:
    return ObstoreArtifacts.local(root)


@pytest.fixture(scope="session")
def one_s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


@pytest.fixture
def s3(one_s3: S3Server) -> S3Server:
    """Healthy, and without a past; buckets are a test's own."""
    one_s3.heal()
    one_s3.calls.clear()
    return one_s3


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as ever, without their pauses."""
    monkeypatch.setitem(module._RETRIES, "backoff", {"init_backoff": timedelta(milliseconds=1)})
