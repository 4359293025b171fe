"""Steps of LOCAL on a real Celery worker, over a real Redis."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.processes.celery_workers import RedisServer, Worker, running_worker
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.asyncio


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="module")
def worker(redis_server: RedisServer, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    environ = {"STEPWELL_CELERY_BROKER_URL": redis_server.url, "STEPWELL_ARTIFACT_DIR": str(artifacts)}
    with running_worker(tmp_path_factory.mktemp("worker"), environ, "--concurrency", "2") as running:
        yield running


@pytest.fixture
async def service(dsn: str, tmp_path: Path, redis_server: RedisServer, artifacts: Path) -> AsyncIterator[Service]:
    async with running_service(
        dsn, tmp_path, executor="celery", celery_broker_url=redis_server.url, artifact_dir=artifacts
    ) as running:
        yield running


async def test_a_step_of_local_runs_on_a_worker(service: Service, worker: Worker) -> None:
    first = {"id": "draw", "task_type": "GENERATION", "config": {"prompt": "a coat", "width": 64, "height": 64}}
    second = {
        "id": "sharpen",
        "task_type": "DETAIL_ENHANCER",
        "input_mappings": [{"from_step": "draw", "from_field": "result_image_path", "to_field": "base_image_url"}],
    }
    workflow = await service.until_ended((await service.create(first, second))["id"])
    assert workflow["status"] == "COMPLETED", worker.log.read_text() + str(workflow)
    path = workflow["final_step_result"]["result_image_path"]
    assert (await service.client.get(f"/api/v1/artifacts/{path}")).status_code == 200
    assert "stepwell.attempt" in worker.log.read_text()
