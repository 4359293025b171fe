"""The engine's tasks: `run_engine` starts them together, and `stop_engine` stops them in order."""

import asyncio
import contextlib
import math

import structlog

from stepwell.api.auth.token_keys import TokenKeys
from stepwell.app.construction import Engine, Stores, Webhooks
from stepwell.basics.errors import Unavailable
from stepwell.engine.service import Services
from stepwell.runtime.freed_memory import return_freed_memory

log = structlog.get_logger()

_LAST_WRITES_S = 2.0
_HAND_OVER_S = 0.1


async def run_engine(stores: Stores, engine: Engine, webhooks: Webhooks, services: Services, keys: TokenKeys) -> None:
    """Run all tasks of the engine, and the one that fetches *keys*.

    If one fails, or this call is cancelled, all are cancelled.
    """
    async with asyncio.TaskGroup() as group:
        group.create_task(engine.scheduler.run(), name="scheduler")
        if engine.workers is not None:
            group.create_task(engine.workers.run(), name="workers")
        group.create_task(webhooks.recovery.run(), name="recovery")
        group.create_task(webhooks.recovery.watch(), name="other processes")
        group.create_task(engine.limits.run(), name="limits")
        group.create_task(engine.breakers.run(), name="breakers")
        group.create_task(webhooks.admission.run(), name="admission")
        group.create_task(webhooks.admission.announce(), name="announcements")
        group.create_task(webhooks.deliverer.run(), name="webhooks")
        group.create_task(services.cleanups.run(), name="cleanups")
        group.create_task(services.due_waits.run(), name="due waits")
        group.create_task(services.retention.run(), name="retention")
        group.create_task(services.cost_retention.run(), name="retention of costs")
        group.create_task(services.upload_sweeper.run(), name="upload expiry")
        group.create_task(services.subscriptions.run(), name="streams")
        group.create_task(services.idempotency.run(), name="keys")
        group.create_task(services.commands.run(), name="commands to peers")
        group.create_task(services.command_receiver.run(), name="commands of peers")
        group.create_task(stores.writes.run(), name="write probes")
        group.create_task(keys.run(), name="key set")
        group.create_task(return_freed_memory(engine.memory.large_release), name="freed memory")


async def stop_engine(
    running: asyncio.Task[None],
    stores: Stores,
    engine: Engine,
    webhooks: Webhooks,
    services: Services,
    grace_s: float,
) -> None:
    """Stop *running*, the task of `run_engine`, within about *grace_s* seconds.

    Running attempts get most of the time to end. Meanwhile, commands of other processes are carried out, and workflows
    without an attempt are handed over to other processes. Then the last transitions are written, and the lease is
    released.
    Raises the error of *running* if one of the engine's tasks failed.
    """
    if engine.workers is not None:
        engine.workers.stop()
    if not running.done():
        attempts_s = max(grace_s - _LAST_WRITES_S - 1, grace_s / 4)
        engine.limits.begin_stop()
        async with asyncio.TaskGroup() as group:
            handing_over = group.create_task(_hand_over(stores, engine), name="hand over workflows")
            async with asyncio.TaskGroup() as stopping:
                stopping.create_task(services.commands.stop(attempts_s), name="stop commands")
                stopping.create_task(engine.scheduler.stop(attempts_s), name="stop scheduler")
                stopping.create_task(webhooks.deliverer.stop(attempts_s), name="stop webhooks")
                stopping.create_task(services.cleanups.stop(attempts_s), name="stop cleanups")
            handing_over.cancel()
        services.command_receiver.close()
        with contextlib.suppress(TimeoutError, Unavailable):
            async with asyncio.timeout(_LAST_WRITES_S):
                await engine.scheduler.wait_until_written()
                await engine.limits.leave()
                await engine.lease.release()
    running.cancel()
    await asyncio.wait({running}, timeout=_LAST_WRITES_S)
    if not running.done():
        # An attempt doesn't react to its cancellation. It ends with the process.
        log.error("engine.stuck", action="stop")
    elif not running.cancelled() and (error := running.exception()) is not None:
        log.error("engine.broke", action="stop", exc_info=error)
        raise error


async def _hand_over(stores: Stores, engine: Engine) -> None:
    """Hand over each workflow that has no attempt left, so that it doesn't wait for the attempts of others.

    Runs until cancelled. What it doesn't hand over is released with the lease.
    """
    scheduler, lease = engine.scheduler, engine.lease
    if math.isinf(lease.seconds):
        return  # there is no other process
    while True:
        await asyncio.sleep(_HAND_OVER_S)
        if not scheduler.stopping:
            continue
        quiet = [
            workflow_id
            for workflow_id, each in scheduler.workflows.items()
            if not (each.attempts or each.pins or scheduler.checkpointer.holds(workflow_id))
        ]
        for workflow_id in quiet:
            scheduler.drop(workflow_id)
        if quiet:
            with contextlib.suppress(Unavailable):
                await stores.database.workflow_store.hand_over(lease.owner, quiet)
