"""The records of jobs in the result backend, a Redis: Celery's own result, and the claim of a worker on the job.

What must hold:
- One worker at a time works on a job: the one with the claim. It renews the claim while it works.
- A job that has a final status never starts again, though its message may be delivered again.
- `revoke` and `finish` end a job: exactly one of the two comes first, and the other one changes nothing.
"""

import asyncio
import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from msgspec import Struct, structs
from redis.asyncio import Redis

from stepwell.providers.celery.configuration import RESULT_EXPIRES_S

CLAIM_S = 15.0  # how long a claim holds unless it is renewed
RENEW_S = 4.0
_REVOKED_EXPIRES_S = 7 * 86_400  # until then, no worker begins a revoked job whose message is still in a queue
_MOST_BYTES = 16 * 1024 * 1024  # of a record: more than Celery stores of any result that the service accepts
_BIG_BYTES = 64 * 1024  # the loop gets an iteration after each result that is bigger

_FINAL = """
local function final(key)
  local meta = redis.call('GET', key)
  if not meta then return false end
  local status = cjson.decode(meta)['status']
  if status == 'SUCCESS' or status == 'FAILURE' or status == 'REVOKED' then return status end
  return false
end
"""
# KEYS: result, claim, runs. ARGV: claimant, milliseconds of the claim, result of a started job, seconds of its life
_CLAIM = f"""{_FINAL}
local status = final(KEYS[1])
if status then return status end
if not redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 'CLAIMED' end
local runs = redis.call('INCR', KEYS[3])
redis.call('EXPIRE', KEYS[3], ARGV[4])
redis.call('SETEX', KEYS[1], ARGV[4], ARGV[3])
redis.call('PUBLISH', KEYS[1], ARGV[3])
return runs
"""
# KEYS: claim. ARGV: claimant, milliseconds
_RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""
# KEYS: claim. ARGV: claimant
_RELEASE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""
# KEYS: result, claim. ARGV: claimant, result of the job, seconds until it expires
_FINISH = f"""{_FINAL}
local status = final(KEYS[1])
if status then return status end
local claimant = redis.call('GET', KEYS[2])
if claimant and claimant ~= ARGV[1] then return 'CLAIMED' end
redis.call('SETEX', KEYS[1], ARGV[3], ARGV[2])
redis.call('PUBLISH', KEYS[1], ARGV[2])
return 'finished'
"""
# KEYS: result, claim. ARGV: result of a revoked job, seconds until it expires, 1 if a claimed job must not be ended
_REVOKE = f"""{_FINAL}
local status = final(KEYS[1])
if status then return status end
if ARGV[3] == '1' and redis.call('EXISTS', KEYS[2]) == 1 then return 'STARTED' end
redis.call('SETEX', KEYS[1], ARGV[2], ARGV[1])
redis.call('DEL', KEYS[2])
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 'revoked'
"""


class JobPhase(StrEnum):
    """Celery's status of a job. QUEUED: the backend has nothing about it."""

    QUEUED = "PENDING"
    STARTED = "STARTED"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        return self in (JobPhase.SUCCESS, JobPhase.FAILURE, JobPhase.REVOKED)


class JobRecord(Struct, frozen=True):
    """The record of a job in the result backend. `result` is that of the worker, or the error that Celery names.

    `claimed`: a worker has it.
    """

    phase: JobPhase = JobPhase.QUEUED
    result: Any = None
    claimed: bool = False


class Claim(StrEnum):
    """The outcome of a claim of a worker on a job: the worker gets the job, another worker has it, or it has ended."""

    GRANTED = "granted"
    TAKEN = "taken"
    ENDED = "ended"


def result_key(job_id: str) -> str:
    """Return Celery's key of a result, which is also the channel on which it is published."""
    return f"celery-task-meta-{job_id}"


def job_of_key(key: str) -> str:
    return key.removeprefix("celery-task-meta-")


def read_result(data: bytes | str | None) -> JobRecord:
    """Return the record in a result as Celery stores it, without the claim."""
    if data is None:
        return JobRecord()
    if len(data) > _MOST_BYTES:
        return JobRecord(JobPhase.FAILURE)
    try:
        meta = json.loads(data)
    except (ValueError, RecursionError):
        return JobRecord(JobPhase.FAILURE)
    if not isinstance(meta, dict):
        return JobRecord(JobPhase.FAILURE)
    try:
        phase = JobPhase(str(meta.get("status")))
    except ValueError:  # such as RETRY, or a state of an operator's own
        phase = JobPhase.STARTED
    return JobRecord(phase, meta.get("result"), claimed=phase is JobPhase.STARTED)


class JobRecords:
    """Reads and writes the records. Each call is one round trip. Raises `redis.RedisError` and OSError."""

    TIMEOUT_S = 5.0  # the deadline of a command

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._claim, self._renew, self._release = map(redis.register_script, (_CLAIM, _RENEW, _RELEASE))
        self._finish, self._revoke = map(redis.register_script, (_FINISH, _REVOKE))

    async def read(self, job_ids: Sequence[str]) -> dict[str, JobRecord]:
        """Return the records of the jobs by id."""
        keys = [*map(result_key, job_ids), *map(_claim_key, job_ids)]
        values = await self._redis.mget(keys) if keys else []
        claims, records = values[len(job_ids) :], {}
        for job_id, data, claim in zip(job_ids, values, claims, strict=False):
            records[job_id] = structs.replace(read_result(data), claimed=claim is not None)
            if data is not None and len(data) > _BIG_BYTES:
                await asyncio.sleep(0)
        return records

    async def claim(self, job_id: str, claimant: str, worker: str) -> tuple[Claim, int]:
        """Claim the job for *claimant*, and mark it as started by *worker*. Returns also how often it was claimed."""
        started = _encoded_result(job_id, JobPhase.STARTED, {"hostname": worker})
        keys = [result_key(job_id), _claim_key(job_id), f"stepwell-runs-{job_id}"]
        reply = await self._claim(keys, [claimant, int(CLAIM_S * 1000), started, RESULT_EXPIRES_S])
        if isinstance(reply, int):
            return Claim.GRANTED, reply
        return (Claim.TAKEN if text_of(reply) == "CLAIMED" else Claim.ENDED), 0

    async def renew(self, job_id: str, claimant: str) -> bool:
        """Renew the claim. Return False if *claimant* has lost it."""
        return bool(await self._renew([_claim_key(job_id)], [claimant, int(CLAIM_S * 1000)]))

    async def claimant(self, job_id: str) -> str | None:
        """Return who has the job; None if nobody has."""
        claimant = await self._redis.get(_claim_key(job_id))
        return None if claimant is None else text_of(claimant)

    async def release(self, job_id: str, claimant: str) -> None:
        """End the claim of *claimant*, if it still has the job."""
        await self._release([_claim_key(job_id)], [claimant])

    async def finish(self, job_id: str, claimant: str, result: str) -> bool:
        """Store the *result* of the job, in Celery's form. If nobody has the claim any more, *claimant* may do it too.

        Return False if the job has ended before, or another worker has it.
        """
        finished = _encoded_result(job_id, JobPhase.SUCCESS, result)
        arguments: list[str | int] = [claimant, finished, RESULT_EXPIRES_S]
        return text_of(await self._finish([result_key(job_id), _claim_key(job_id)], arguments)) == "finished"

    async def revoke(self, job_id: str, *, only_idle: bool = False) -> JobPhase | None:
        """End the job, so that no worker begins it, and end its claim. Return its status if it had ended before.

        With *only_idle*, a job that a worker has is left alone: STARTED is returned.
        """
        revoked = _encoded_result(job_id, JobPhase.REVOKED, None)
        arguments: list[str | int] = [revoked, _REVOKED_EXPIRES_S, int(only_idle)]
        status = text_of(await self._revoke([result_key(job_id), _claim_key(job_id)], arguments))
        return None if status == "revoked" else JobPhase(status)


def _claim_key(job_id: str) -> str:
    return f"stepwell-claim-{job_id}"


def _encoded_result(job_id: str, phase: JobPhase, result: Any) -> str:
    record = {"status": phase, "result": result, "traceback": None, "children": [], "date_done": None}
    return json.dumps(record | {"task_id": job_id})


def text_of(reply: Any) -> str:
    return reply.decode() if isinstance(reply, bytes) else str(reply)
