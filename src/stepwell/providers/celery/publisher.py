"""Sends messages to Celery's broker, and revokes tasks.

Celery's client blocks. So each call runs in a thread, with a deadline.
"""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from anyio import CapacityLimiter, fail_after, to_thread
from celery import Celery

from stepwell.providers.celery.configuration import publisher_configuration
from stepwell.providers.celery.messages import ATTEMPT_TASK, PROBE_TASK

_THREADS = 4
_CALL_S = 15.0
_SOFT_LIMIT_S, _HARD_LIMIT_S = 1.0, 10.0  # after the time of the step, in which it ends itself


class BrokerAway(Exception):
    """The broker didn't take the message, or its answer was lost. The text may be shown to users."""


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
        """Send a probe through a queue."""
        await self._call(partial(self._app.send_task, PROBE_TASK, task_id=job_id, queue=queue, retry=True))

    async def revoke(self, job_id: str) -> None:
        """Tell all workers to end the task, or not to begin it."""
        await self._call(partial(self._app.control.revoke, job_id, terminate=True, signal="SIGTERM"))

    async def close(self) -> None:
        """Close the connections."""
        await to_thread.run_sync(self._app.close, abandon_on_cancel=True)

    async def _call(self, function: Callable[[], object]) -> None:
        try:
            with fail_after(_CALL_S):
                await to_thread.run_sync(function, abandon_on_cancel=True, limiter=self._threads)
        except Exception as error:  # transports raise many types; a text may contain the URL
            raise BrokerAway(f"the broker can't be reached: {type(error).__name__}") from error
