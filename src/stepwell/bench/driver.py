"""Drives a load: runs its workflows, a fixed number of them at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.engine.service import Services
from stepwell.runtime.offloop import off_loop

_ACTOR = "stepwell bench"

RunOne = Callable[[dict[str, Any]], Awaitable[None]]


async def drive(bodies: Iterator[dict[str, Any]], run_one: RunOne, concurrency: int) -> None:
    """Call *run_one* with each of *bodies*, *concurrency* at a time."""

    async def work() -> None:
        for body in bodies:
            await run_one(body)

    async with asyncio.TaskGroup() as group:
        for number in range(concurrency):
            group.create_task(work(), name=f"load {number}")


def in_process(service: Services) -> RunOne:
    """Return a function that creates a workflow by calling *service* directly, and waits for its end."""

    async def run_one(body: dict[str, Any]) -> None:
        validate = partial(validate_workflow, body, service.catalog)
        workflow = await off_loop(validate, steps=len(body["steps"]))
        await asyncio.sleep(0)  # as between two requests
        record = await service.workflows.create(EVERY_TENANT, _ACTOR, workflow, tenant=None, start=True)
        await service.workflows.until_idle(record.state.id)

    return run_one
