"""What a worker returns for messages that it can't use."""

from uuid import uuid4

import pytest
from msgspec import json
from msgspec.structs import replace

from executors.conftest import Workshop
from stepwell.contract.enums import ProviderType, TaskType
from stepwell.providers.celery.job_records import JobPhase, read_result, result_key
from stepwell.providers.celery.messages import VERSION, AttemptMessage, ReportedError, ResultMessage, decode, encode
from stepwell.providers.celery.worker_queues import Publisher
from support.processes.stepwell_process import until

MESSAGE = AttemptMessage(
    provider=ProviderType.CUSTOM,
    task_id=uuid4(),
    workflow_id=uuid4(),
    tenant=None,
    step_id="note",
    task_type=TaskType.GENERATION,
    number=1,
    inputs={"prompt": "a note"},
    provider_config={},
    seed=0,
    timeout_s=10,
    artifacts={},
)


async def error_for(
    workshop: Workshop, text: str, job_id: str = str(MESSAGE.task_id), *, timeout_s: float = 10, taken_ms: int = 0
) -> ReportedError:
    """Send a message about the job of `MESSAGE` to the worker, as *job_id*. Returns the error that it reports.

    Another worker has the job for *taken_ms*.
    """
    publisher = Publisher(workshop.redis.url)
    workshop.redis.client.delete(result_key(job_id), f"stepwell-claim-{job_id}", f"stepwell-runs-{job_id}")
    if taken_ms:
        workshop.redis.client.set(f"stepwell-claim-{job_id}", "another", px=taken_ms)
    await publisher.publish(job_id, text, queue="stepwell", root_id=None, name="()", timeout_s=timeout_s)
    await publisher.close()

    def returned() -> bytes | None:
        data = workshop.redis.client.get(result_key(job_id))
        return data if isinstance(data, bytes) and read_result(data).phase.is_final else None

    record = read_result(until(returned, 60, workshop.worker.log.read_text))
    assert record.phase is JobPhase.SUCCESS
    error = decode(record.result, ResultMessage).error
    assert error is not None
    return error


@pytest.mark.extended
async def test_a_worker_that_has_another_store_says_so(workshop: Workshop) -> None:
    error = await error_for(workshop, encode(replace(MESSAGE, store="another")))
    assert error.retryable
    assert "has another artifact store than the service" in error.message


@pytest.mark.parametrize(("version", "age"), [(VERSION + 1, "newer"), (VERSION - 1, "older")])
async def test_a_worker_that_cannot_read_a_version_says_so(workshop: Workshop, version: int, age: str) -> None:
    error = await error_for(workshop, json.encode({"version": version}).decode())
    assert error.retryable
    assert f"can't read the message: its version {version} is {age} than {VERSION}" in error.message


async def test_a_worker_without_the_provider_says_so(workshop: Workshop) -> None:
    error = await error_for(workshop, encode(replace(MESSAGE, provider=ProviderType("ABSENT"))))
    assert error.retryable
    assert "has no in-process provider ABSENT" in error.message


async def test_a_message_about_the_files_of_another_job_is_refused(workshop: Workshop) -> None:
    error = await error_for(workshop, encode(MESSAGE), str(uuid4()))
    assert "can't read the message: it belongs to another job" in error.message


async def test_a_message_is_delivered_again_while_a_dead_worker_has_the_claim(workshop: Workshop) -> None:
    text = encode(replace(MESSAGE, provider=ProviderType.FAL, timeout_s=0.5))
    error = await error_for(workshop, text, timeout_s=0.5, taken_ms=1_500)
    assert "has no in-process provider FAL" in error.message
