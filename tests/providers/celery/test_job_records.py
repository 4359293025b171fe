"""The records of jobs in a real Redis: who may begin a job, and who ends it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery
from celery.result import AsyncResult
from redis.asyncio import Redis

from stepwell.providers.celery.job_records import Claim, JobPhase, JobRecords, result_key
from support.processes.celery_workers import RedisServer


@pytest.fixture
async def records(redis_server: RedisServer) -> AsyncIterator[JobRecords]:
    redis = Redis.from_url(redis_server.url)
    yield JobRecords(redis)
    await redis.aclose()


@pytest.fixture
def job() -> str:
    return str(uuid4())


async def test_one_of_many_workers_gets_a_job(records: JobRecords, job: str) -> None:
    answers = await asyncio.gather(*(records.claim(job, str(number), "worker") for number in range(20)))
    assert sorted(claim for claim, _ in answers) == [Claim.GRANTED, *[Claim.TAKEN] * 19]
    record = (await records.read([job]))[job]
    assert (record.phase, record.claimed) == (JobPhase.STARTED, True)


async def test_only_the_claimant_renews_its_claim(records: JobRecords, job: str) -> None:
    await records.claim(job, "first", "worker")
    assert await records.renew(job, "first")
    assert not await records.renew(job, "second")


async def test_a_revoked_job_never_begins(records: JobRecords, job: str) -> None:
    assert await records.revoke(job) is None
    assert (await records.claim(job, "first", "worker"))[0] is Claim.ENDED
    assert await records.revoke(job) is JobPhase.REVOKED


async def test_a_revoked_job_is_remembered_while_no_worker_runs_for_days(
    records: JobRecords, redis_server: RedisServer, job: str
) -> None:
    await records.revoke(job)
    lifetime_s: Any = redis_server.client.ttl(result_key(job))
    assert lifetime_s > 6 * 86_400


async def test_a_revoked_job_has_no_claim_any_more(records: JobRecords, job: str) -> None:
    await records.claim(job, "first", "worker")
    assert await records.revoke(job) is None
    assert not await records.renew(job, "first")


async def test_a_job_that_a_worker_has_is_not_given_up(records: JobRecords, job: str) -> None:
    await records.claim(job, "first", "worker")
    assert await records.revoke(job, only_idle=True) is JobPhase.STARTED
    assert await records.renew(job, "first")


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE"])
async def test_a_job_that_has_ended_is_neither_revoked_nor_begun_again(
    records: JobRecords, redis_server: RedisServer, job: str, status: str
) -> None:
    redis_server.client.set(result_key(job), f'{{"status": "{status}", "result": null}}')
    assert await records.revoke(job) is JobPhase(status)
    assert (await records.claim(job, "first", "worker"))[0] is Claim.ENDED


async def test_only_the_claimant_finishes_a_job_and_only_once(records: JobRecords, job: str) -> None:
    await records.claim(job, "first", "worker")
    assert not await records.finish(job, "second", "of the second")
    assert await records.finish(job, "first", "of the first")
    assert not await records.finish(job, "first", "again")
    record = (await records.read([job]))[job]
    assert (record.phase, record.result) == (JobPhase.SUCCESS, "of the first")


async def test_a_job_of_which_the_backend_has_lost_everything_is_finished(records: JobRecords, job: str) -> None:
    assert await records.finish(job, "first", "the end")
    assert (await records.read([job]))[job].phase is JobPhase.SUCCESS


async def test_a_job_is_either_finished_or_revoked(records: JobRecords, job: str) -> None:
    await records.claim(job, "first", "worker")
    finished, revoked = await asyncio.gather(records.finish(job, "first", "the end"), records.revoke(job))
    assert (finished, revoked) in [(True, JobPhase.SUCCESS), (False, None)]
    other = f"{job}-other"
    await records.claim(other, "first", "worker")
    assert await records.revoke(other) is None
    assert not await records.finish(other, "first", "the end")


async def test_the_end_of_a_job_is_pushed_in_the_form_of_celery(
    records: JobRecords, redis_server: RedisServer, job: str
) -> None:
    client: Any = redis_server.client
    with client.pubsub() as pubsub:
        pubsub.subscribe(result_key(job))
        await records.finish(job, "first", "the end")
        messages = [pubsub.get_message(timeout=30) for _ in range(2)]
    app = Celery(backend=redis_server.url, set_as_current=False)
    try:
        assert app.backend.decode_result(messages[1]["data"])["result"] == "the end"
        result = AsyncResult(job, app=app)
        assert (result.status, result.result) == ("SUCCESS", "the end")
    finally:
        app.close()


async def test_the_runs_of_a_job_are_counted(records: JobRecords, redis_server: RedisServer, job: str) -> None:
    counts = []
    for number in range(3):
        counts.append((await records.claim(job, str(number), "worker"))[1])
        redis_server.client.delete(f"stepwell-claim-{job}")
    assert counts == [1, 2, 3]


async def test_nothing_is_known_about_a_job_that_waits(records: JobRecords, job: str) -> None:
    record = (await records.read([job]))[job]
    assert (record.phase, record.result, record.claimed) == (JobPhase.QUEUED, None, False)
