"""The event loop of a worker process, in a thread of its own. Celery's own thread waits for one attempt at a time."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack

from stepwell.executors.attempt_executor import AttemptExecutor
from stepwell.executors.worker_resources import SharedResources, open_records
from stepwell.settings import Settings

_START_S = 60.0
_END_ATTEMPTS_S = 3.0  # a cancel waits for it, though the step may block the loop
_JOIN_S = 5.0


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
        """See `AttemptExecutor.has_claim`."""
        return self._started.done() and self._started.result()[1].has_claim(job_id)

    def close(self) -> None:
        """Cancel the attempts, close the resources, and wait until the thread has ended."""
        self._started.add_done_callback(_stop)
        self._thread.join(_JOIN_S)

    async def _execute(self, executor: AttemptExecutor, job_id: str, text: object, worker: str) -> bool:
        task = asyncio.current_task()
        assert task is not None
        self._attempts.add(task)
        task.add_done_callback(self._attempts.discard)
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
