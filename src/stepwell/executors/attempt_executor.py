"""Does an attempt on a Celery worker: claims its job, runs its provider, stores its files and its end.

What must hold:
- Only the worker with the job's claim works on it. It renews the claim, and stops when it has lost it.
- A job is claimed before anything else, even before the resources are opened: the service gives up jobs that nobody
  claims. Only the worker with the claim reports an end.
- An attempt that fails leaves no file. But a worker that has lost its claim leaves the files of another worker alone.
- A message names only files of its job, because a failure deletes them.
- Whatever happens, the worker stores a message, so that the service knows why an attempt failed.
"""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis import RedisError

from stepwell.app.attempts import build_file_access
from stepwell.artifacts.store_setup import Storage
from stepwell.basics.errors import ArtifactError, AttemptError
from stepwell.basics.strict_json.size import MAX_RESULT_BYTES, is_larger_than
from stepwell.basics.tenancy import FileScope
from stepwell.definition.mapping.evaluation import encode_value
from stepwell.engine.attempts.attempt_control import AttemptControl
from stepwell.engine.attempts.attempt_io import BoundAttemptIO
from stepwell.engine.attempts.attempt_memory import AttemptMemory
from stepwell.engine.attempts.attempt_outcomes import result_too_large
from stepwell.executors.claimants import is_dead, new_claimant
from stepwell.executors.worker_resources import MessageArtifacts, WorkerMemory, WorkerResources
from stepwell.lifecycle.model import Task
from stepwell.outbound.sanitise import sanitised
from stepwell.providers.celery.job_records import CLAIM_S, RENEW_S, Claim, JobPhase, JobRecords
from stepwell.providers.celery.messages import (
    AttemptMessage,
    ReportedError,
    ResultMessage,
    UnreadableMessage,
    attempt_of,
    decode,
    encode,
)
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

_TAKEN_S = CLAIM_S + 5.0  # by then, the claim of a dead worker has ended
_TAKEN_RETRY_S = 1.0
_MOST_RUNS = 3  # a step that kills its worker each time isn't tried for ever


class AttemptExecutor:
    """Executes the attempts of one process of a worker, one after the other."""

    def __init__(self, records: JobRecords, resources: Callable[[], Awaitable[WorkerResources]]) -> None:
        """*resources* opens the resources, or returns them if they are open. Its errors end the attempt."""
        self._records, self._resources = records, resources
        self._checked_stores: set[str | None] = {None}
        self._claimed: set[str] = set()

    def has_claim(self, job_id: str) -> bool:
        """Return whether this process works on the job. Any thread may call it."""
        return job_id in self._claimed

    async def execute(self, job_id: str, text: object, worker: str) -> bool:
        """Do the attempt, and store its end. Return False if the job has ended before, or another worker has it."""
        claimant = new_claimant()
        claim, runs = await self._claim(job_id, claimant, worker)
        if claim is not Claim.GRANTED:
            return False
        if runs > _MOST_RUNS:
            message = f"the worker process died {_MOST_RUNS} times in the step (out of memory, or killed)"
            end = ResultMessage(error=ReportedError(message=message, retryable=True))
            return await self._store_end(job_id, claimant, end)
        work = asyncio.create_task(self._run(job_id, claimant, text, worker), name=f"attempt {job_id}")  # noqa: TID251 - ended below
        keep = asyncio.create_task(self._keep_claim(job_id, claimant, worker), name=f"claim {job_id}")  # noqa: TID251
        self._claimed.add(job_id)
        keep.add_done_callback(lambda _: self._claimed.discard(job_id))
        try:
            await asyncio.wait({work, keep}, return_when=asyncio.FIRST_COMPLETED)
            return work.done() and await self._store_end(job_id, claimant, work.result())
        finally:
            for asyncio_task in (work, keep):
                asyncio_task.cancel()
            await asyncio.wait({work, keep})

    async def _claim(self, job_id: str, claimant: str, worker: str) -> tuple[Claim, int]:
        """Claim the job. If another worker has it, wait until that one has renewed its claim, or has died."""
        give_up_at = asyncio.get_running_loop().time() + _TAKEN_S
        while True:
            try:
                async with asyncio.timeout(JobRecords.TIMEOUT_S):
                    claim, runs = await self._records.claim(job_id, claimant, worker)
            except (RedisError, OSError) as error:
                log.warning("celery.backend_away", action="claim", task_id=job_id, error=type(error).__name__)
                await asyncio.sleep(OUTAGE_RETRY_S)
                continue
            if claim is not Claim.TAKEN or asyncio.get_running_loop().time() > give_up_at:
                return claim, runs
            if not await self._release_dead_claim(job_id):
                await asyncio.sleep(_TAKEN_RETRY_S)

    async def _release_dead_claim(self, job_id: str) -> bool:
        """End the claim on the job if it belongs to a dead process of this machine. Return whether it did."""
        try:
            async with asyncio.timeout(JobRecords.TIMEOUT_S):
                claimant = await self._records.claimant(job_id)
                if claimant is None or not is_dead(claimant):
                    return False
                await self._records.release(job_id, claimant)
        except (RedisError, OSError):
            return False
        return True

    async def _keep_claim(self, job_id: str, claimant: str, worker: str) -> None:
        """Renew the claim until it is lost. If the backend was wiped, claim the job again."""
        while True:
            await asyncio.sleep(RENEW_S)
            try:
                async with asyncio.timeout(JobRecords.TIMEOUT_S):
                    if await self._records.renew(job_id, claimant):
                        continue
                    claim, _ = await self._records.claim(job_id, claimant, worker)
            except (RedisError, OSError):
                continue
            if claim is not Claim.GRANTED:
                return

    async def _store_end(self, job_id: str, claimant: str, end: ResultMessage) -> bool:
        """Store the end of the attempt. Return False if the job has ended before, or another worker has it."""
        text = encode(end)
        while True:
            try:
                async with asyncio.timeout(JobRecords.TIMEOUT_S):
                    return await self._records.finish(job_id, claimant, text)
            except (RedisError, OSError) as error:
                log.warning("celery.backend_away", action="finish", task_id=job_id, error=type(error).__name__)
                await asyncio.sleep(OUTAGE_RETRY_S)

    async def _run(self, job_id: str, claimant: str, text: object, worker: str) -> ResultMessage:
        try:
            message = _message_of(job_id, text)
        except UnreadableMessage as error:
            why = f"the worker {worker} can't read the message: {error}"
            return ResultMessage(error=ReportedError(message=why, retryable=True))
        deadline = asyncio.timeout(message.timeout_s)
        try:
            resources = await self._open(worker)
            async with deadline:
                return await self._finish(message, resources, claimant, worker)
        except TimeoutError as error:
            if not deadline.expired():
                return _broken(message, error)
            why = f"timed out after {message.timeout_s:g} s"
            return ResultMessage(error=ReportedError(message=why, retryable=True))
        except AttemptError as error:
            return ResultMessage(error=ReportedError.of(error))
        except Exception as error:  # noqa: BLE001 - a bug here or in a provider
            return _broken(message, error)

    async def _open(self, worker: str) -> WorkerResources:
        """Return the resources. Raises `AttemptError`."""
        try:
            return await self._resources()
        except Exception as error:  # the artifact store can't be used, for example, or a plug-in fails
            text = sanitised(f"the worker {worker} can't start: {error}")
            raise AttemptError(text, retryable=True) from error

    async def _finish(
        self, message: AttemptMessage, resources: WorkerResources, claimant: str, worker: str
    ) -> ResultMessage:
        run = resources.registry.in_process(message.provider)
        if run is None:
            raise AttemptError(f"the worker {worker} has no in-process provider {message.provider}", retryable=True)
        await self._check_store(message.store, resources.storage, worker)
        task = Task(id=message.task_id, position=0, attempt=message.number, provider=message.provider)
        links = MessageArtifacts(message.artifacts, resources.storage)
        control = AttemptControl(lambda _: True, _nothing_to_flush)
        files = build_file_access(resources.settings, resources.clients, resources.storage.artifacts, links)
        with resources.memory.reservation(message.tenant) as reservation, control.within(message.timeout_s):
            memory, workers = AttemptMemory(reservation, control), WorkerMemory(resources.max_memory)
            io = BoundAttemptIO(FileScope(message.tenant), task, files, memory, workers)
            try:
                finished = await run(attempt_of(message), io)
                _check_result(finished.result)
            except BaseException:
                await asyncio.shield(self._discard(task, resources.storage, claimant))
                raise
            outputs = tuple(io.stored.values())
            return ResultMessage(result=finished.result, outputs=outputs, has_credentials=io.has_credentials)
        raise TimeoutError  # the scope of `control` has ended the work

    async def _check_store(self, store_id: str | None, storage: Storage, worker: str) -> None:
        """Raise `AttemptError` unless the service has the same artifact store."""
        if store_id in self._checked_stores:
            return
        try:
            own = await storage.identity.read()
        except ArtifactError as error:
            raise AttemptError(str(error), retryable=True, provider_fault=False) from error
        if own != store_id:
            why = f"the worker {worker} has another artifact store than the service: give both one folder or one bucket"
            raise AttemptError(why, retryable=True, provider_fault=False)
        self._checked_stores.add(store_id)

    async def _discard(self, task: Task, storage: Storage, claimant: str) -> None:
        """Delete the files of an attempt that has failed, or was revoked.

        If another worker may have done the attempt meanwhile, the files are left to the service: it deletes those of
        each attempt that has failed.
        """
        job_id = str(task.id)
        try:
            async with asyncio.timeout(JobRecords.TIMEOUT_S):
                if not await self._records.renew(job_id, claimant):
                    record = (await self._records.read([job_id]))[job_id]
                    if record.phase not in (JobPhase.REVOKED, JobPhase.FAILURE):
                        return
            await storage.artifacts.discard(task.id)
        except (RedisError, OSError) as error:
            log.warning("celery.backend_away", action="discard", task_id=job_id, error=type(error).__name__)
        except ArtifactError:
            log.exception("artifact.discard_failed", action="discard", task_id=job_id)


def _message_of(job_id: str, text: object) -> AttemptMessage:
    """Return the message of the job. Raises `UnreadableMessage`."""
    message = decode(text, AttemptMessage)
    if str(message.task_id) != job_id:
        raise UnreadableMessage("it belongs to another job")
    return message


def _check_result(result: dict[str, object]) -> None:
    if is_larger_than(result, MAX_RESULT_BYTES):
        raise result_too_large()
    encode_value(result)


def _broken(message: AttemptMessage, error: BaseException) -> ResultMessage:
    log.error(
        "attempt.crashed", action="attempt", task_id=str(message.task_id), step_id=message.step_id, exc_info=error
    )
    return ResultMessage(error=ReportedError(message=f"internal error: {type(error).__name__}", retryable=True))


async def _nothing_to_flush() -> None:
    """A worker records nothing: its result is the record."""
