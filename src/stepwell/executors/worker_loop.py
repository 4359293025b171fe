"""The event loop of a worker process, in a thread of its own. Celery's own thread waits for one attempt at a time."""

import asyncio
import threading
from concurrent.futures import Future
from contextlib import AsyncExitStack

from stepwell.executors.attempt_executor import AttemptExecutor
from stepwell.executors.worker_resources import open_resources
from stepwell.settings import Settings

_START_S = 60.0


class WorkerLoop:
    """Runs attempts in the event loop of this process. It is made after the fork, because threads don't survive one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._started: Future[tuple[asyncio.AbstractEventLoop, AttemptExecutor]] = Future()
        threading.Thread(target=self._run, name="stepwell", daemon=True).start()

    def execute(self, job_id: str, text: object, worker: str) -> "Future[str | None]":
        """Begin an attempt. See `AttemptExecutor.execute`. Raises `StorageRefused` and OSError if the start failed."""
        loop, executor = self._started.result(_START_S)
        return asyncio.run_coroutine_threadsafe(executor.execute(job_id, text, worker), loop)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised by `execute`
            if not self._started.done():
                self._started.set_exception(error)

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            resources = await open_resources(self._settings, stack)
            self._started.set_result((asyncio.get_running_loop(), AttemptExecutor(resources)))
            await asyncio.Event().wait()
