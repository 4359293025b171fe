"""Steps on a worker with RabbitMQ as the broker. The results are in Redis."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from executors.test_celery_steps import DRAW, FROM_DRAW, note
from support.processes.celery_workers import RedisServer, running_worker, start_worker
from support.processes.rabbitmq import rabbitmq_program, running_rabbitmq
from support.providers.ledger import LEDGER, LedgerProvider, install_plugin, read_ledger
from support.service.live_service import Service, running_service

pytestmark = pytest.mark.extended


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if (program := rabbitmq_program()) is None:
        pytest.skip("this machine has no RabbitMQ, so it was not tested as a broker: install rabbitmq-server")
    with running_rabbitmq(program, tmp_path_factory.mktemp("rabbitmq")) as url:
        yield url


async def test_a_step_is_done_and_continues_when_its_worker_is_killed(
    dsn: str, tmp_path: Path, rabbitmq: str, redis_server: RedisServer
) -> None:
    environ = install_plugin(tmp_path / "plugin") | {
        "STEPWELL_CELERY_BROKER_URL": rabbitmq,
        "STEPWELL_CELERY_RESULT_BACKEND": redis_server.url,
        "STEPWELL_ARTIFACT_DIR": str(tmp_path / "artifacts"),
    }
    ledger = Path(environ[LEDGER])
    first = start_worker(tmp_path, environ, "--concurrency", "1")
    try:
        first.wait_ready()
        async with running_service(
            dsn,
            tmp_path / "data",
            providers=[LedgerProvider(ledger)],
            executor="celery",
            celery_broker_url=rabbitmq,
            celery_result_backend=redis_server.url,
            artifact_dir=tmp_path / "artifacts",
        ) as service:
            sharpen = {"id": "sharpen", "task_type": "DETAIL_ENHANCER", "input_mappings": FROM_DRAW}
            workflow = await service.until_ended((await service.create(DRAW, sharpen))["id"])
            assert workflow["status"] == "COMPLETED", workflow
            created = await service.create(note(config={"work_s": 2}))
            await service.until(created["id"], lambda _: bool(read_ledger(ledger)))
            first.kill()
            with running_worker(tmp_path, environ, "--concurrency", "1"):
                await _check_it_continued(service, created["id"], ledger)
    finally:
        if first.process.poll() is None:
            first.kill()


async def _check_it_continued(service: Service, workflow_id: str, ledger: Path) -> None:
    """RabbitMQ delivers the message again, so the same attempt ends on the other worker."""
    workflow: dict[str, Any] = await service.until_ended(workflow_id, within_s=90)
    assert workflow["status"] == "COMPLETED", workflow
    assert [task["attempt"] for task in await service.tasks(workflow_id)] == [1]
    assert [run.ended_at is not None for run in read_ledger(ledger)] == [False, True]
