"""A Redis, a worker and a service that sends its in-process work there."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.emulators.s3 import S3Server, s3_server
from support.plug_in import with_package
from support.processes.celery_workers import RedisServer, Worker, running_redis, running_worker
from support.providers.ledger import LEDGER, LedgerProvider, install_plugin
from support.service.live_service import Service, running_service


@dataclass
class Workshop:
    """A worker, its broker and its folders."""

    redis: RedisServer
    worker: Worker
    environ: dict[str, str]
    artifacts: Path

    @property
    def ledger(self) -> Path:
        return Path(self.environ[LEDGER])


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@contextmanager
def running_workshop(redis_server: RedisServer, folder: Path) -> Iterator[Workshop]:
    """Run a worker of the queue `stepwell`, which does two steps at a time."""
    environ = with_package(install_plugin(folder / "plugin")) | {
        "STEPWELL_CELERY_BROKER_URL": redis_server.url,
        "STEPWELL_ARTIFACT_DIR": str(folder / "artifacts"),
    }
    with running_worker(folder, environ, "--concurrency", "2") as worker:
        yield Workshop(redis_server, worker, environ, folder / "artifacts")


@pytest.fixture(scope="session")
def workshop(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with running_workshop(redis_server, tmp_path_factory.mktemp("workshop")) as workshop:
        yield workshop


@pytest.fixture
async def service(dsn: str, tmp_path: Path, workshop: Workshop) -> AsyncIterator[Service]:
    """A service that sends LOCAL's work and that of the ledger to `workshop`."""
    async with running_service(
        dsn,
        tmp_path,
        providers=[LedgerProvider(workshop.ledger)],
        executor="celery",
        celery_broker_url=workshop.redis.url,
        artifact_dir=workshop.artifacts,
    ) as running:
        yield running


@pytest.fixture
def s3() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server
