"""The engine's tasks, and their end in order."""

import asyncio
import contextlib
from functools import partial

import structlog

from stepwell.artifacts.store_setup import Storage
from stepwell.domain.errors import Unavailable
from stepwell.domain.tenancy import EVERY_TENANT
from stepwell.engine.events.subscriptions import EventSubscriptions
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.recovery import Recovery
from stepwell.engine.execution.scheduler import Scheduler
from stepwell.engine.idempotency import IdempotentRequests
from stepwell.engine.monitoring.write_monitor import WriteMonitor
from stepwell.engine.webhooks.deliverer import WebhookDeliverer
from stepwell.ports.storage import WorkflowReader

log = structlog.get_logger()

_LAST_WRITES_S = 2.0


async def run_engine(
    scheduler: Scheduler,
    recovery: Recovery,
    dispatcher: WebhookDeliverer,
    streams: EventSubscriptions,
    repeats: IdempotentRequests,
    storage: Storage,
    store: WorkflowReader,
    writes: WriteMonitor,
) -> None:
    async with asyncio.TaskGroup() as group:
        if storage.moving is not None:
            group.create_task(storage.moving.copy_all(partial(store.stored_outputs, EVERY_TENANT)), name="copying")
        group.create_task(scheduler.run(), name="scheduler")
        group.create_task(recovery.run(), name="recovery")
        group.create_task(recovery.watch(), name="other processes")
        group.create_task(dispatcher.run(), name="webhooks")
        group.create_task(streams.run(), name="streams")
        group.create_task(repeats.run(), name="keys")
        group.create_task(writes.run(), name="write probes")


async def stop_engine(
    running: asyncio.Task[None], scheduler: Scheduler, lease: Lease, dispatcher: WebhookDeliverer, grace_s: float
) -> None:
    if not running.done():
        rest_s = max(grace_s - _LAST_WRITES_S - 1, grace_s / 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.stop(rest_s), name="stop scheduler")
            group.create_task(dispatcher.stop(rest_s), name="stop webhooks")
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WRITES_S):
                await scheduler.written()
                await lease.release()
    running.cancel()
    await asyncio.wait({running}, timeout=_LAST_WRITES_S)
    if not running.done():
        log.error("engine.stuck", action="stop")  # in an attempt that heeds no cancellation; it ends with the process
    elif not running.cancelled() and (error := running.exception()) is not None:
        log.error("engine.broke", action="stop", exc_info=error)
        raise error
