"""A provider of in-process work whose work is done on Celery workers. To the engine it is a remote provider."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import to_builtins

from stepwell.basics.artifacts import parse_artifact_path
from stepwell.basics.errors import AttemptError, CallFailed
from stepwell.lifecycle.model import Sent
from stepwell.ports.providers import (
    Attempt,
    AttemptIO,
    CancelAnswer,
    DeclaresMembers,
    Finished,
    Job,
    JobState,
    JobStatus,
    Provider,
    ReadsFiles,
    RefusesSteps,
    Request,
)
from stepwell.providers.celery.job_records import JobPhase, JobRecord
from stepwell.providers.celery.messages import (
    ReportedError,
    ResultMessage,
    UnreadableMessage,
    decode,
    encode,
    message_of,
)
from stepwell.providers.celery.worker_queues import WorkerQueues
from stepwell.runtime.offloop import off_loop_if_large

_MOST_ARTIFACTS = 1_000  # that the inputs of one step may name
_AT_ONCE = 8  # queries about artifacts
_NEXT_POLL_S = 30.0  # a poll reads nothing: news wakes the attempt
_QUEUE = "queue"


class CeleryProvider:
    """Implements `RemoteProvider` for *provider*, which works in-process on the workers. *store_id*: `AttemptMessage`.

    The task's id is the id of the Celery task. It is committed before anything is sent, so the job is found again after
    any crash.
    """

    listing_lag_s = 0.0
    runs_on_workers: Literal[True] = True

    def __init__(self, provider: Provider, queues: WorkerQueues, store_id: str | None = None) -> None:
        self.type, self.needs_credential = provider.type, provider.needs_credential
        self.capabilities, self.model = provider.capabilities, provider.model
        self._queues, self._provider, self._store_id = queues, provider, store_id
        # The optional protocols: an instance has exactly those of its provider.
        if isinstance(provider, RefusesSteps):
            self.refusals = provider.refusals
        if isinstance(provider, ReadsFiles):
            self.url_reader = provider.url_reader
        if isinstance(provider, DeclaresMembers):
            self.members = provider.members

    def close(self) -> None:
        if (close := getattr(self._provider, "close", None)) is not None:
            close()

    def ends_jobs(self, _model: str, /) -> bool:
        return True

    async def prepare(self, attempt: Attempt, io: AttemptIO, /) -> Request:
        message = message_of(attempt, self.type, await _artifact_sizes(attempt.inputs, io), self._store_id)
        model = self.model(attempt.task_type, attempt.provider_config)
        return Request(model=model, body=to_builtins(message))

    async def submit(self, attempt: Attempt, request: Request, _io: AttemptIO, /) -> Job | Finished:
        job = self._job(attempt)
        text = await off_loop_if_large(encode, request.body)
        await self._queues.publish(
            job.id,
            attempt.workflow_id,
            text,
            queue=job.urls[_QUEUE],
            root_id=attempt.execution_id,
            name=f"({self.type} {attempt.task_type}, attempt {attempt.number})",
            timeout_s=attempt.timeout_s,
        )
        return job

    async def poll(self, attempt: Attempt, job: Job, /) -> JobState:
        watched = await self._queues.job(job.id, attempt.workflow_id, self._queue_of(attempt, job))
        if self._queues.monitor.is_lost(watched) and await self._queues.give_up(watched):
            error, again = "no worker has the job: the broker has lost it, or its worker died", attempt.on_unknown
            return JobState(status=JobStatus.FAILED, word="lost", error=error, retryable=again == "resubmit")
        return _state(watched.record)

    async def fetch(self, attempt: Attempt, job: Job, io: AttemptIO, /) -> Finished:
        watched = await self._queues.job(job.id, attempt.workflow_id, self._queue_of(attempt, job))
        if watched.record.phase is not JobPhase.SUCCESS:
            raise CallFailed("the result is gone", forgotten=True)
        message = _read(watched.record)
        for output in message.outputs:
            io.record_file(output, has_credentials=message.has_credentials)
        self._queues.monitor.forget(job.id)
        assert message.result is not None
        return Finished(message.result)

    async def cancel(self, _attempt: Attempt, job: Job, /) -> CancelAnswer:
        ended = await self._queues.end(job.id)
        if ended in (JobPhase.SUCCESS, JobPhase.FAILURE):
            return CancelAnswer.ENDED
        await self._queues.revoke(job.id)
        return CancelAnswer.ACCEPTED

    def called_back(self, _body: bytes, /) -> Job | None:
        return None

    async def reconcile(self, attempt: Attempt, _sent: Sent, /) -> Sequence[Job] | None:
        return [self._job(attempt)]  # if nothing was sent, the job is found to be lost

    def _job(self, attempt: Attempt) -> Job:
        return Job(id=str(attempt.task_id), urls={_QUEUE: self._queues.queues.of(attempt.task_type)})

    def _queue_of(self, attempt: Attempt, job: Job) -> str:
        return job.urls.get(_QUEUE) or self._queues.queues.of(attempt.task_type)


def _state(record: JobRecord) -> JobState:
    match record.phase:
        case JobPhase.QUEUED:
            return JobState(status=JobStatus.RUNNING, word="queued", again_s=_NEXT_POLL_S, queued=True)
        case JobPhase.STARTED:
            queued = not record.claimed
            return JobState(status=JobStatus.RUNNING, word="started", again_s=_NEXT_POLL_S, queued=queued)
        case JobPhase.REVOKED:
            return JobState(status=JobStatus.CANCELLED, word="revoked")
    error = _error_of(record)
    if error is None:
        return JobState(status=JobStatus.SUCCEEDED, word="success")
    return JobState(
        status=JobStatus.FAILED,
        word="failure",
        error=error.message,
        retryable=error.retryable,
        request_fault=error.request_fault,
        provider_fault=error.provider_fault,
    )


def _read(record: JobRecord) -> ResultMessage:
    try:
        return decode(record.result, ResultMessage)
    except UnreadableMessage as error:
        text = f"the result of the worker can't be used: {error}"
        return ResultMessage(error=ReportedError(message=text, retryable=True))


def _error_of(record: JobRecord) -> ReportedError | None:
    """Return the error of a job that has ended; None if it has a result."""
    if record.phase is JobPhase.SUCCESS:
        return _read(record).error
    result = record.result if isinstance(record.result, dict) else {}
    kind = str(result.get("exc_type") or "unknown")[:100]
    return ReportedError(message=_CELERY_ERRORS.get(kind, f"the worker failed: {kind}"), retryable=True)


_CELERY_ERRORS = {
    "NotRegistered": "the worker doesn't know this Celery task: it runs another version, or something else",
    "TimeLimitExceeded": "the worker ended the step, because it didn't end itself when its time was over",
    "WorkerLostError": "the worker process died (out of memory, or killed)",
}


async def _artifact_sizes(inputs: Mapping[str, Any], io: AttemptIO) -> dict[str, int]:
    """Return the sizes of the tenant's artifacts that the inputs name, by path. Paths of others are left out."""
    paths = list(dict.fromkeys(_artifact_paths(inputs)))
    if len(paths) > _MOST_ARTIFACTS:
        message = f"the inputs name more than {_MOST_ARTIFACTS:,} files"
        raise AttemptError(message, retryable=False, provider_fault=False)
    sizes: dict[str, int] = {}
    for start in range(0, len(paths), _AT_ONCE):
        some = paths[start : start + _AT_ONCE]
        found = await asyncio.gather(*map(io.size_of, some))
        sizes |= {path: size for path, size in zip(some, found, strict=True) if size is not None}
    return sizes


def _artifact_paths(value: Any) -> Iterator[str]:
    """Yield the strings in a JSON value that are paths of artifacts. Its depth is bounded."""
    if isinstance(value, str):
        if parse_artifact_path(value) is not None:
            yield value
    elif isinstance(value, Mapping):
        for member in value.values():
            yield from _artifact_paths(member)
    elif isinstance(value, list | tuple):
        for member in value:
            yield from _artifact_paths(member)
