"""What a worker does with its files when another worker has taken its job over, or the job was revoked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from msgspec.structs import replace

from executors.test_celery_messages_to_workers import MESSAGE
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.executors import attempt_executor
from stepwell.executors.attempt_executor import AttemptExecutor
from stepwell.executors.worker_resources import open_resources
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.celery.job_records import Claim
from stepwell.providers.celery.messages import encode
from stepwell.providers.in_process import InProcess
from stepwell.providers.registry import Registry
from stepwell.settings import read_settings
from support.processes.celery_workers import RedisServer


class EndlessProvider(InProcess):
    """Stores a file, and then works for ever."""

    type = ProviderType.CUSTOM

    def __init__(self) -> None:
        self.has_stored = asyncio.Event()

    def capabilities(self, task_type: TaskType, /) -> frozenset[str] | None:
        return frozenset() if task_type is TaskType.GENERATION else None

    async def run(self, _attempt: Attempt, io: AttemptIO, /) -> dict[str, Any]:
        await io.store("note.txt", b"stored")
        self.has_stored.set()
        await asyncio.Event().wait()
        return {}


@pytest.mark.parametrize("lost_to", ["another worker", "a cancellation"])
async def test_a_worker_without_its_claim_deletes_files_unless_another_worker_has_the_job(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost_to: str
) -> None:
    monkeypatch.setattr(attempt_executor, "RENEW_S", 0.05)
    environ = {"STEPWELL_CELERY_BROKER_URL": redis_server.url, "STEPWELL_ARTIFACT_DIR": str(tmp_path)}
    message = replace(MESSAGE, task_id=uuid4(), timeout_s=60)
    job_id = str(message.task_id)
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        resources = await open_resources(read_settings(environ, executor="celery"), stack)
        provider = EndlessProvider()
        executor = AttemptExecutor(replace(resources, registry=Registry([provider])))
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(executor.execute(job_id, encode(message), "first"), name="attempt")
            await provider.has_stored.wait()
            if lost_to == "another worker":  # the claim has ended while this worker was cut off
                redis_server.client.set(f"stepwell-claim-{job_id}", "another", px=60_000)
            else:
                assert await resources.records.revoke(job_id) is None
            assert await attempt is None
        expected = (Claim.TAKEN, True) if lost_to == "another worker" else (Claim.ENDED, False)
        claim, _ = await resources.records.claim(job_id, "third", "third")
    assert (claim, has_note(tmp_path)) == expected


def has_note(folder: Path) -> bool:
    return any(folder.rglob("note.txt"))
