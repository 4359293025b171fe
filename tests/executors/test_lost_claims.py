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
from stepwell.executors.worker_resources import SharedResources, WorkerResources, open_records
from stepwell.ports.providers import Attempt, AttemptIO
from stepwell.providers.celery.job_records import Claim, JobPhase
from stepwell.providers.celery.messages import ResultMessage, decode, encode
from stepwell.providers.in_process import InProcess
from stepwell.providers.registry import Registry
from support.processes.celery_workers import RedisServer
from support.service.installed_settings import read_settings


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
        settings = read_settings(environ, executor="celery")
        shared, records, provider = SharedResources(settings, stack), open_records(settings, stack), EndlessProvider()

        async def resources() -> WorkerResources:
            return replace(await shared.get(), registry=Registry([provider]))

        executor = AttemptExecutor(records, resources)
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(executor.execute(job_id, encode(message), "first"), name="attempt")
            await provider.has_stored.wait()
            if lost_to == "another worker":  # the claim has ended while this worker was cut off
                redis_server.client.set(f"stepwell-claim-{job_id}", "another", px=60_000)
            else:
                assert await records.revoke(job_id) is None
            assert not await attempt
        expected = (Claim.TAKEN, True) if lost_to == "another worker" else (Claim.ENDED, False)
        claim, _ = await records.claim(job_id, "third", "third")
    assert (claim, has_note(tmp_path)) == expected


async def test_a_job_is_claimed_before_the_resources_are_opened(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_executor, "_TAKEN_S", 0)
    settings = read_settings({"STEPWELL_CELERY_BROKER_URL": redis_server.url}, executor="celery")
    message, opening, may_fail = replace(MESSAGE, task_id=uuid4()), asyncio.Event(), asyncio.Event()
    job_id = str(message.task_id)

    async def resources() -> WorkerResources:
        opening.set()
        await may_fail.wait()
        raise OSError("the bucket is away")

    async with asyncio.timeout(60), AsyncExitStack() as stack:
        records = open_records(settings, stack)
        executor = AttemptExecutor(records, resources)
        async with asyncio.TaskGroup() as group:
            attempt = group.create_task(executor.execute(job_id, encode(message), "first"), name="attempt")
            await opening.wait()
            record = (await records.read([job_id]))[job_id]
            assert (record.phase, record.claimed) == (JobPhase.STARTED, True)
            assert not await executor.execute(job_id, "a duplicate", "first")
            may_fail.set()
        assert attempt.result()
        end = decode((await records.read([job_id]))[job_id].result, ResultMessage)
    assert end.error is not None
    assert (end.error.message, end.error.retryable) == ("the worker first can't start: the bucket is away", True)


def has_note(folder: Path) -> bool:
    return any(folder.rglob("note.txt"))
