"""The way to the Celery workers: it publishes attempts, watches them, and revokes them.

Celery's client blocks. So each call of it runs in a thread, with a deadline.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from uuid import UUID

import structlog
from anyio import CapacityLimiter, current_time, fail_after, move_on_after, to_thread
from celery import Celery
from redis.asyncio import Redis

from stepwell.basics.errors import AttemptError, CallFailed, OutcomeUnknown
from stepwell.basics.setting_values import TaskQueues
from stepwell.providers.celery.configuration import publisher_configuration
from stepwell.providers.celery.job_monitor import BackendAway, JobMonitor, WatchedJob, backend_errors
from stepwell.providers.celery.job_records import JobPhase, JobRecords
from stepwell.providers.celery.messages import ATTEMPT_TASK, PROBE_TASK

_THREADS = 4
_CALL_S = 15.0
_SOFT_LIMIT_S, _HARD_LIMIT_S = 1.0, 10.0  # after the time of the step, in which it ends itself
log = structlog.get_logger()
_SUBMIT_S = 600.0  # how long an outage of the broker may last until a step fails
_FIRST_PAUSE_S, _LAST_PAUSE_S = 0.2, 5.0


class BrokerAway(CallFailed):
    """The broker didn't take the message, or its response was lost. The text may be shown to users."""


class Publisher:
    """A client of the broker. Its calls raise `BrokerAway`."""

    def __init__(self, broker_url: str) -> None:
        self._app = Celery("stepwell", set_as_current=False, fixups=[])
        self._app.conf.update(publisher_configuration(broker_url))
        self._threads = CapacityLimiter(_THREADS)

    async def publish(
        self, job_id: str, text: str, *, queue: str, root_id: UUID | None, name: str, timeout_s: float
    ) -> None:
        """Send an attempt. *name* is what Celery's tools show of it; *timeout_s* its time from its start."""
        await self._call(
            partial(
                self._app.send_task,
                ATTEMPT_TASK,
                (text,),
                task_id=job_id,
                queue=queue,
                root_id=job_id if root_id is None else str(root_id),
                soft_time_limit=timeout_s + _SOFT_LIMIT_S,
                time_limit=timeout_s + _HARD_LIMIT_S,
                argsrepr=name,
                kwargsrepr="{}",
                retry=True,
            )
        )

    async def publish_probe(self, job_id: str, queue: str) -> None:
        await self._call(partial(self._app.send_task, PROBE_TASK, task_id=job_id, queue=queue, retry=True))

    async def revoke(self, job_id: str) -> None:
        """Tell all workers to end the Celery task, or not to begin it."""
        await self._call(partial(self._app.control.revoke, job_id, terminate=True, signal="SIGTERM"))

    async def close(self) -> None:
        await to_thread.run_sync(self._app.close, abandon_on_cancel=True)

    async def _call(self, function: Callable[[], object]) -> None:
        try:
            with fail_after(_CALL_S):
                await to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._threads)
        except Exception as error:  # transports raise many types; a text may contain the URL
            raise BrokerAway(f"the broker can't be reached: {type(error).__name__}") from error


class WorkerQueues:
    """The queues, and the result backend. `run` must run while they are used."""

    def __init__(self, broker_url: str, result_backend: str, queues: TaskQueues) -> None:
        self.queues = queues
        self._publisher = Publisher(broker_url)
        self._redis: Redis = Redis.from_url(
            result_backend, socket_timeout=JobRecords.TIMEOUT_S, socket_connect_timeout=JobRecords.TIMEOUT_S
        )
        self._stopping = asyncio.Event()
        self.monitor = JobMonitor(self._redis, self._send_probe)

    def stop(self) -> None:
        """Let attempts that wait for the broker end. The next process finds out whether they were sent."""
        self._stopping.set()

    async def run(self, notify: Callable[[UUID, UUID], None]) -> None:
        """Watch jobs until cancelled. *notify* is called with the workflow and the task of a job with news."""
        await self.monitor.run(notify)

    async def close(self) -> None:
        async with asyncio.timeout(JobRecords.TIMEOUT_S):
            await self._redis.aclose()
            await self._publisher.close()

    async def publish(
        self,
        job_id: str,
        workflow_id: UUID,
        text: str,
        *,
        queue: str,
        root_id: UUID | None,
        name: str,
        timeout_s: float,
    ) -> None:
        """Send an attempt, and watch it.

        Sends it again while the broker doesn't respond, because a message that comes twice is done once. Raises
        `AttemptError` if the outage lasts too long, and `OutcomeUnknown` if the service stops meanwhile.
        """
        give_up_at, pause = current_time() + _SUBMIT_S, _FIRST_PAUSE_S
        while True:
            try:
                job = await self.monitor.watch(job_id, workflow_id, UUID(job_id), queue)
                await self._publisher.publish(
                    job_id, text, queue=queue, root_id=root_id, name=name, timeout_s=timeout_s
                )
            except (BackendAway, BrokerAway) as error:
                if current_time() > give_up_at:
                    raise AttemptError(str(error), retryable=True) from error
                log.warning("celery.not_sent", action="publish", task_id=job_id, error=str(error))
                with move_on_after(pause):
                    await self._stopping.wait()
                if self._stopping.is_set():
                    raise OutcomeUnknown("the service stopped before the broker took the step") from error
                pause = min(2 * pause, _LAST_PAUSE_S)
            else:
                self.monitor.sent(job)
                return

    async def job(self, job_id: str, workflow_id: UUID, queue: str) -> WatchedJob:
        """Return what is known about a job. Reads it only if this process hasn't watched it. Raises `CallFailed`."""
        job = await self.monitor.watch(job_id, workflow_id, UUID(job_id), queue)
        if job.read_at is None:
            await self.monitor.read([job])
        if self.monitor.trouble is not None and not job.record.phase.is_final:
            raise CallFailed(f"the result backend can't be reached: {self.monitor.trouble}")
        return job

    async def give_up(self, job: WatchedJob) -> bool:
        """End a lost job. Return False if a worker has it after all, or it has ended. Raises `CallFailed`."""
        async with backend_errors():
            if await self.monitor.records.revoke(job.id, only_idle=True) is None:
                self.monitor.forget(job.id)
                return True
        await self.monitor.read([job])
        return False

    async def end(self, job_id: str) -> JobPhase | None:
        """End the job in the backend: no worker begins it. Returns its status if it had ended. Raises `CallFailed`."""
        async with backend_errors():
            return await self.monitor.records.revoke(job_id)

    async def revoke(self, job_id: str) -> None:
        """Tell the workers to end the job. Raises `CallFailed`."""
        await self._publisher.revoke(job_id)

    async def _send_probe(self, probe_id: str, queue: str) -> None:
        try:
            await self._publisher.publish_probe(probe_id, queue)
        except BrokerAway as error:
            log.warning("celery.not_sent", action="probe", queue=queue, error=str(error))
