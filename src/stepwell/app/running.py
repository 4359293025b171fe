"""The engine's tasks, their end in order, and what is measured of them."""

import asyncio
import contextlib
from functools import partial

import structlog

from stepwell.artifacts.storage import Storage
from stepwell.domain.errors import Unavailable
from stepwell.domain.records import EVERY_TENANT
from stepwell.engine.admission import Admission
from stepwell.engine.recovery import Recovery
from stepwell.engine.repeats import Repeats
from stepwell.engine.scheduler import Scheduler
from stepwell.engine.streams import Streams
from stepwell.engine.webhooks import Dispatcher
from stepwell.engine.write_monitor import WriteMonitor
from stepwell.persistence.store import PostgresStore
from stepwell.telemetry import Metrics

log = structlog.get_logger()

_LAST_WRITES_S = 2.0


class Statements:
    """How many statements have been sent to the database."""

    def __init__(self) -> None:
        self.sent = 0

    def add(self) -> None:
        self.sent += 1


def measured(
    scheduler: Scheduler,
    admission: Admission,
    dispatcher: Dispatcher,
    streams: Streams,
    statements: Statements,
    writes: WriteMonitor,
) -> Metrics:
    metrics, checkpointer = Metrics(), scheduler.checkpointer
    metrics.watch("stepwell_workflows_in_memory", "Workflows that run here.", lambda: len(scheduler.handles))
    metrics.watch("stepwell_steps_running", "Steps that have a slot.", lambda: admission.used)
    metrics.watch("stepwell_steps_waiting", "Steps that are ready and wait for a slot.", lambda: admission.waiting)
    metrics.count("stepwell_checkpoint_batches", "Batches written.", lambda: checkpointer.batches)
    metrics.count("stepwell_checkpoint_events", "Transitions written.", lambda: checkpointer.rows)
    metrics.count("stepwell_database_statements", "Statements sent to the database.", lambda: statements.sent)
    metrics.watch("stepwell_database_away", "1 while transitions can't be written.", lambda: checkpointer.outage)
    metrics.watch(
        "stepwell_disk_full", "1 while a disk has no room for what is to be stored.", lambda: writes.disk_full
    )
    metrics.watch("stepwell_event_streams", "Streams of events that are open.", lambda: streams.open)
    dispatcher.measure(metrics)
    return metrics


async def run_engine(
    scheduler: Scheduler,
    recovery: Recovery,
    dispatcher: Dispatcher,
    streams: Streams,
    repeats: Repeats,
    storage: Storage,
    store: PostgresStore,
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
    running: asyncio.Task[None], scheduler: Scheduler, recovery: Recovery, dispatcher: Dispatcher, grace_s: float
) -> None:
    if not running.done():
        rest_s = max(grace_s - _LAST_WRITES_S - 1, grace_s / 4)
        async with asyncio.TaskGroup() as group:
            group.create_task(scheduler.stop(rest_s), name="stop scheduler")
            group.create_task(dispatcher.stop(rest_s), name="stop webhooks")
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WRITES_S):
                await scheduler.written()
                await recovery.release()
    running.cancel()
    await asyncio.wait({running}, timeout=_LAST_WRITES_S)
    if not running.done():
        log.error("engine.stuck", action="stop")  # in an attempt that heeds no cancellation; it ends with the process
    elif not running.cancelled() and (error := running.exception()) is not None:
        log.error("engine.broke", action="stop", exc_info=error)
        raise error
