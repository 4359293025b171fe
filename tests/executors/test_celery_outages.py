"""A service whose broker is away: it stops in time, and the next one continues."""

from pathlib import Path
from typing import Any

import pytest

from executors.conftest import Workshop
from executors.test_celery_steps import note
from stepwell.basics.setting_values import TaskQueues
from stepwell.providers.celery import worker_queues
from support.processes.celery_workers import RedisServer, free_port, running_worker
from support.providers.ledger import LedgerProvider
from support.service.live_service import running_service

pytestmark = pytest.mark.extended


async def test_a_step_that_waits_for_the_broker_is_done_after_a_restart(
    dsn: str, tmp_path: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_queues, "_CALL_S", 1.0)
    (tmp_path / "broker").mkdir()
    broker = RedisServer(tmp_path / "broker", free_port())
    settings: dict[str, Any] = {
        "providers": [LedgerProvider(workshop.ledger)],
        "executor": "celery",
        "celery_broker_url": broker.url,
        "celery_result_backend": workshop.redis.url,
        "celery_queues": TaskQueues(),
        "artifact_dir": workshop.artifacts,
        "grace_s": 1,
    }
    async with running_service(dsn, tmp_path / "data", **settings) as service:
        created = await service.create(note(), config={"retry": {"base_s": 0.1}})
        await service.until(created["id"], lambda workflow: workflow["steps"][0]["status"] == "RUNNING")
    broker.start()
    try:
        environ = workshop.environ | {
            "STEPWELL_CELERY_BROKER_URL": broker.url,
            "STEPWELL_CELERY_RESULT_BACKEND": workshop.redis.url,
        }
        with running_worker(tmp_path / "worker", environ, "--concurrency", "1"):
            async with running_service(dsn, tmp_path / "data", **settings) as service:
                workflow = await service.until_ended(created["id"], within_s=120)
                assert workflow["status"] == "COMPLETED", workflow
    finally:
        broker.stop()
