"""The jobs of this process on Celery workers: what the result backend says about each, as soon as it changes.

A worker's result is published, so nothing is polled for a single job. Every few seconds one round trip reads all jobs
that haven't ended. It finds results that were published while the connection was down, and lost jobs.

What must hold:
- A channel is subscribed before its job is published, and all results are read after each new connection. So no end is
  missed.
- A job is lost only if a probe says so. A probe is a Celery task that goes through the same queue: once a worker has
  done it, each message that was sent before it has reached a worker, or will never do so. A job that nobody has claimed
  by then is lost: the broker was wiped, or its worker has died. A long queue, or one without workers, loses nothing.
- Without jobs there are no commands, apart from a ping of the connection.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import structlog
from msgspec import Struct
from redis import RedisError
from redis.asyncio import Redis

from stepwell.basics.errors import CallFailed
from stepwell.providers.celery.job_records import JobRecord, JobRecords, job_of_key, read_result, result_key, text_of
from stepwell.runtime.outages import OUTAGE_RETRY_S

log = structlog.get_logger()

_SWEEP_S = 4.0
_PROBE_AFTER_S = 8.0  # that a job was without a worker
_PROBE_AGAIN_S = 20.0
_SETTLE_S = 3.0  # from the end of a probe until the claims of earlier messages must be there
_FORGET_S = 300.0  # after the last poll
_PING_S = 10.0
_SILENCE_S = 25.0  # without any message: the connection is dead
_BATCH = 20  # jobs of one round trip, because a result may have 1 MiB
_MOST_PROBES = 100
_CONNECTED = "stepwell-connected"  # a channel that keeps the subscription open while there are no jobs


class BackendAway(CallFailed):
    """The result backend can't be reached. The text may be shown to users."""


@asynccontextmanager
async def backend_errors() -> AsyncIterator[None]:
    """Raise `BackendAway` if the backend doesn't respond within the deadline of a command."""
    try:
        async with asyncio.timeout(JobRecords.TIMEOUT_S):
            yield
    except (RedisError, OSError) as error:
        raise BackendAway(f"the result backend can't be reached: {type(error).__name__}") from error


class WatchedJob(Struct, eq=False):
    """A job that this process watches. Times are monotonic seconds.

    `idle_since`: nobody has claimed it since then; None while somebody has. `read_at`: when `record` came.
    """

    id: str
    workflow_id: UUID
    task_id: UUID
    queue: str
    polled_at: float
    idle_since: float | None
    record: JobRecord = JobRecord()
    read_at: float | None = None


class _Probe(Struct, eq=False):
    queue: str
    sent_at: float
    done_at: float | None = None


class JobMonitor:
    """Watches jobs. `trouble` says why the backend can't be reached; None while it can.

    *send_probe* sends a probe of an id to a queue; its errors are logged.
    """

    def __init__(self, redis: "Redis", send_probe: Callable[[str, str], Awaitable[None]]) -> None:
        self._redis, self.records = redis, JobRecords(redis)
        self._send_probe = send_probe
        self._notify: Callable[[UUID, UUID], None]
        self._jobs: dict[str, WatchedJob] = {}
        self._probes: dict[str, _Probe] = {}
        self._pubsub: Any = None
        self._subscribing: dict[str, asyncio.Future[None]] = {}
        self._busy = asyncio.Event()  # there are jobs that haven't ended
        self.trouble: str | None = "it isn't connected yet"

    async def run(self, notify: Callable[[UUID, UUID], None]) -> None:
        """Watch jobs until cancelled. *notify* is called with the workflow and the task of a job with news."""
        self._notify = notify
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive(), name="celery results")
            group.create_task(self._sweep(), name="celery jobs")

    async def watch(self, job_id: str, workflow_id: UUID, task_id: UUID, queue: str) -> WatchedJob:
        """Watch a job, and return it. Its channel is subscribed then. Raises `BackendAway`."""
        now = time.monotonic()
        job = self._jobs.get(job_id)
        if job is None:
            job = self._jobs[job_id] = WatchedJob(job_id, workflow_id, task_id, queue, now, now)
            self._busy.set()
            try:
                await self._subscribe(job_id)
            except BackendAway:
                del self._jobs[job_id]
                raise
        job.polled_at = now
        return job

    def sent(self, job: WatchedJob) -> None:
        """Record that the job's message was sent just now."""
        job.idle_since, job.read_at = time.monotonic(), time.monotonic()

    async def read(self, jobs: Iterable[WatchedJob]) -> None:
        """Read the records of jobs. Raises `BackendAway`."""
        by_id = {job.id: job for job in jobs}
        async with backend_errors():
            records = await self.records.read(list(by_id))
        for job_id, record in records.items():
            self._update(by_id[job_id], record)

    def is_lost(self, job: WatchedJob) -> bool:
        """Return whether nobody has the job any more, and nobody will get it."""
        if job.record.phase.is_final or job.idle_since is None or job.read_at is None:
            return False
        return any(
            probe.queue == job.queue
            and probe.sent_at > job.idle_since
            and probe.done_at is not None
            and job.read_at > probe.done_at + _SETTLE_S
            for probe in self._probes.values()
        )

    def forget(self, job_id: str) -> None:
        self._jobs.pop(job_id, None)

    def _update(self, job: WatchedJob, record: JobRecord) -> None:
        now = time.monotonic()
        changed = (record.phase, record.claimed) != (job.record.phase, job.record.claimed)
        if job.record.phase.is_final:
            return
        if record.claimed:
            job.idle_since = None
        elif job.idle_since is None:
            job.idle_since = now
        job.record, job.read_at = record, now
        if changed or self.is_lost(job):
            self._notify(job.workflow_id, job.task_id)

    # Results that are pushed

    async def _subscribe(self, job_id: str) -> None:
        if self._pubsub is None:
            raise BackendAway(f"the result backend can't be reached: {self.trouble}")
        key = result_key(job_id)
        confirmed = self._subscribing.setdefault(key, asyncio.get_running_loop().create_future())
        async with backend_errors():
            await self._pubsub.subscribe(key)
            await asyncio.shield(confirmed)

    async def _receive(self) -> None:
        while True:
            try:
                await self._receive_on_one_connection()
            except (RedisError, OSError) as error:
                if self.trouble is None:
                    log.warning("celery.backend_away", action="results", error=type(error).__name__)
                self.trouble = type(error).__name__
            except Exception as error:  # a bug of the client: the jobs are read again by the next connection
                log.exception("celery.backend_broken", action="results")
                self.trouble = type(error).__name__
            await asyncio.sleep(OUTAGE_RETRY_S)

    def _disconnect(self) -> None:
        self._pubsub = None
        for confirmed in self._subscribing.values():
            if not confirmed.done():
                confirmed.set_exception(ConnectionError("the connection was lost"))
                confirmed.exception()  # it is retrieved, if nobody waits for it
        self._subscribing.clear()

    async def _receive_on_one_connection(self) -> None:
        async with self._redis.pubsub() as pubsub:
            try:
                await self._receive_from(pubsub)
            finally:
                self._disconnect()  # before it is closed: a subscription would open it again

    async def _receive_from(self, pubsub: Any) -> None:
        watched = [job for job in self._jobs.values() if not job.record.phase.is_final]
        async with asyncio.timeout(JobRecords.TIMEOUT_S):
            await pubsub.subscribe(_CONNECTED, *(result_key(job.id) for job in watched))
        subscribed, received_at = False, time.monotonic()
        while True:
            message = await pubsub.get_message(timeout=_PING_S)
            now = time.monotonic()
            if message is None:
                if now - received_at > _SILENCE_S:
                    raise TimeoutError("no message")
                async with asyncio.timeout(JobRecords.TIMEOUT_S):
                    await pubsub.ping()
                continue
            received_at = now
            self._receive_message(message)
            if not subscribed and _channel(message) == _CONNECTED:
                subscribed, self._pubsub = True, pubsub
                await self._read_all()
                if self.trouble is not None:
                    log.info("celery.connected", action="results", jobs=len(watched))
                self.trouble = None

    def _receive_message(self, message: dict[str, Any]) -> None:
        channel = _channel(message)
        if message["type"] == "subscribe":
            if (confirmed := self._subscribing.pop(channel, None)) is not None and not confirmed.done():
                confirmed.set_result(None)
        elif message["type"] == "message":
            job_id, record = job_of_key(channel), read_result(message["data"])
            if (job := self._jobs.get(job_id)) is not None:
                self._update(job, record)
            if record.phase.is_final and (probe := self._probes.get(job_id)) is not None and probe.done_at is None:
                probe.done_at = time.monotonic()

    # Jobs that nobody has

    async def _sweep(self) -> None:
        while True:
            await self._busy.wait()
            await asyncio.sleep(_SWEEP_S)
            try:
                await self._forget_old()
                await self._read_all()
                await self._probe_queues()
            except BackendAway:
                pass
            except Exception:  # a bug here or of the client, which must not end the service
                log.exception("celery.sweep_broken", action="jobs")

    async def _forget_old(self) -> None:
        """Forget jobs that nobody polls, and old probes, and unsubscribe the channels that nobody needs."""
        now = time.monotonic()
        for job in [job for job in self._jobs.values() if now - job.polled_at > _FORGET_S]:
            del self._jobs[job.id]
        while len(self._probes) > _MOST_PROBES:
            del self._probes[next(iter(self._probes))]
        running = [job.id for job in self._jobs.values() if not job.record.phase.is_final]
        if not running:
            self._probes.clear()
            self._busy.clear()
        needed = {_CONNECTED, *self._subscribing, *map(result_key, running), *map(result_key, self._probes)}
        if self._pubsub is None or not (old := {text_of(key) for key in self._pubsub.channels} - needed):
            return
        async with backend_errors():
            await self._pubsub.unsubscribe(*old)

    async def _read_all(self) -> None:
        jobs = [job for job in self._jobs.values() if not job.record.phase.is_final]
        for start in range(0, len(jobs), _BATCH):
            await self.read(jobs[start : start + _BATCH])

    async def _probe_queues(self) -> None:
        """Send a probe to each queue in which a job has been without a worker for long."""
        now = time.monotonic()
        idle = {
            job.queue
            for job in self._jobs.values()
            if not job.record.phase.is_final and job.idle_since is not None and now - job.idle_since > _PROBE_AFTER_S
        }
        for queue in idle:
            sent = [probe.sent_at for probe in self._probes.values() if probe.queue == queue]
            if sent and now - max(sent) < _PROBE_AGAIN_S:
                continue
            probe_id = str(uuid4())
            await self._subscribe(probe_id)
            self._probes[probe_id] = _Probe(queue, time.monotonic())
            await self._send_probe(probe_id, queue)


def _channel(message: dict[str, Any]) -> str:
    return text_of(message["channel"] or "")
