"""The Celery app of the workers, and the event loop that runs its attempts.

`celery -A stepwell.executors.celery:app` or `stepwell worker` starts a worker. The app is an ordinary one: Celery's
options, and tools such as `inspect` and Flower, work. It reads the settings of the environment when Celery first needs
its configuration.
"""

import asyncio
import os
import threading
import time
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any

import structlog
from celery import Celery, Task
from celery.exceptions import Ignore, ImproperlyConfigured, Reject, SoftTimeLimitExceeded
from celery.signals import worker_process_shutdown
from celery.states import SUCCESS

from stepwell.definition.provider_descriptors import InvalidProviders
from stepwell.executors.attempt_executor import AttemptExecutor
from stepwell.executors.worker_resources import SharedResources, open_records
from stepwell.providers.celery.configuration import worker_configuration
from stepwell.providers.celery.messages import ATTEMPT_TASK, PROBE_TASK, ReportedError, ResultMessage, encode
from stepwell.providers.installed_providers import installed_providers
from stepwell.settings import InvalidSettings, Settings, read_settings

_START_S = 60.0
_END_ATTEMPTS_S = 3.0  # a cancel waits for it, though the step may block the loop
_JOIN_S = 5.0
log = structlog.get_logger()
_START_AGAIN_S = 1.0


class WorkerLoop:
    """Runs attempts in the event loop of this process. It is made after the fork, because threads don't survive one.

    The loop runs at once. The first attempt opens the artifact store and the providers, once it has its job.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started: Future[tuple[asyncio.AbstractEventLoop, AttemptExecutor, asyncio.Event]] = Future()
        self._attempts: set[asyncio.Task[bool]] = set()
        # A daemon, so that a step that blocks the loop can't keep the process from its end.
        self._thread = threading.Thread(target=self._run, name="stepwell", daemon=True)
        self._thread.start()

    def execute(self, job_id: str, text: object, worker: str) -> "Future[bool]":
        """Begin an attempt. See `AttemptExecutor.execute`. Raises the error of a start that failed."""
        loop, executor, _ = self._started.result(_START_S)
        return asyncio.run_coroutine_threadsafe(self._execute(executor, job_id, text, worker), loop)

    def has_claim(self, job_id: str) -> bool:
        return self._started.done() and self._started.result()[1].has_claim(job_id)

    def close(self) -> None:
        """Cancel the attempts, close the resources, and wait until the thread has ended."""
        self._started.add_done_callback(_stop)
        self._thread.join(_JOIN_S)

    async def _execute(self, executor: AttemptExecutor, job_id: str, text: object, worker: str) -> bool:
        asyncio_task = asyncio.current_task()
        assert asyncio_task is not None
        self._attempts.add(asyncio_task)
        asyncio_task.add_done_callback(self._attempts.discard)
        return await executor.execute(job_id, text, worker)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by `execute`
            if not self._started.done():
                self._started.set_exception(error)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            executor = AttemptExecutor(open_records(self._settings, stack), SharedResources(self._settings, stack).get)
            stopped = asyncio.Event()
            self._started.set_result((asyncio.get_running_loop(), executor, stopped))
            await stopped.wait()
            for attempt in self._attempts:
                attempt.cancel()
            if self._attempts:
                await asyncio.wait(self._attempts, timeout=_END_ATTEMPTS_S)


def _stop(started: "Future[tuple[asyncio.AbstractEventLoop, AttemptExecutor, asyncio.Event]]") -> None:
    if started.exception() is None:
        loop, _, stopped = started.result()
        if not loop.is_closed():
            loop.call_soon_threadsafe(stopped.set)


app = Celery("stepwell", set_as_current=False)
_loops: dict[int, WorkerLoop] = {}  # by process: a fork has none yet


def worker_settings() -> Settings:
    """Return the settings of a worker. Raises `InvalidProviders` and `InvalidSettings`, also if there is no broker."""
    return read_settings(os.environ, installed_providers(), executor="celery")


@app.add_defaults
def configuration() -> dict[str, Any]:
    """Return the configuration of the app. Raises `ImproperlyConfigured`."""
    try:
        settings = worker_settings()
    except (InvalidSettings, InvalidProviders) as error:
        raise ImproperlyConfigured(str(error)) from None
    assert settings.celery_broker_url is not None
    assert settings.result_backend is not None
    return worker_configuration(settings.celery_broker_url, settings.result_backend)


# Celery itself stores the errors only: the end of an attempt is stored in one step with the check of its claim.
@app.task(bind=True, name=ATTEMPT_TASK, ignore_result=True, store_errors_even_if_ignored=True)
def attempt(self: Task, text: str) -> None:
    """Do one attempt. Its result in the backend is a `ResultMessage`.

    What this process can't do is left to others unless it has the claim on the job: the message goes back to the queue.
    """
    job_id, loop, future = self.request.id, None, None
    try:
        loop = _loop()
        future = loop.execute(job_id, text, self.request.hostname)
        is_stored = future.result()
    except SoftTimeLimitExceeded:  # the step has not ended itself when its time was over
        claimed = loop is not None and loop.has_claim(job_id)
        if future is not None:
            future.cancel()
        if not claimed:  # it has waited for the claim of another worker, which may have died
            raise Reject("another worker has the job", requeue=True) from None
        message = f"timed out after {self.request.timelimit[1]:g} s"
        end = encode(ResultMessage(error=ReportedError(message=message, retryable=True)))
        self.backend.store_result(job_id, end, SUCCESS, request=self.request)
        return
    except Exception as error:
        if future is not None:
            raise
        log.exception("celery.not_started", action="attempt", task_id=job_id)
        _close_loop()  # the next attempt tries again
        time.sleep(_START_AGAIN_S)  # another process may be faster
        raise Reject(f"the worker can't start: {type(error).__name__}", requeue=True) from None
    if not is_stored:
        raise Ignore  # the result in the backend stays as it is


@app.task(name=PROBE_TASK)
def probe() -> None:
    """Do nothing. Its end shows that the messages before it have been delivered."""


def _loop() -> WorkerLoop:
    if (loop := _loops.get(os.getpid())) is None:
        loop = _loops[os.getpid()] = WorkerLoop(worker_settings())
    return loop


@worker_process_shutdown.connect
def _close_loop(**_: object) -> None:
    if (loop := _loops.pop(os.getpid(), None)) is not None:
        loop.close()
