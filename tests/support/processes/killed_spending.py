"""A process that runs a workflow under a budget, and kills itself at an SQL statement that changes budgets."""

import asyncio
from pathlib import Path
from typing import Any

import asyncpg

from stepwell.contract.enums import ProviderType
from stepwell.persistence.statements.budget_statements import FORGET_ENDED, OPEN_BUDGETS, RESERVE
from stepwell.persistence.statements.engine_statements import (
    CHECKPOINT_AND_BUDGETS,
    CHECKPOINT_AND_CHILD_ENDED_AND_BUDGETS,
)
from support.processes.death_points import DeathPoints
from support.providers.emulated import remote_step
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"
PRICE, FITTING, ATTEMPTS = 0.1, 2, 3
_CHANGE_BUDGETS = frozenset(
    {RESERVE, OPEN_BUDGETS, FORGET_ENDED, CHECKPOINT_AND_BUDGETS, CHECKPOINT_AND_CHILD_ENDED_AND_BUDGETS}
)


def begin_and_die(dsn: str, folder: Path, settings: dict[str, Any], at: int) -> None:
    """Create the workflow, and run it as `spend_and_die` does. The points begin with the workflow."""
    points = _points(at)
    points.counting = False
    asyncio.run(_spend(dsn, folder, settings, points))


def spend_and_die(dsn: str, folder: Path, settings: dict[str, Any], at: int) -> None:
    """Run the workflow until its budget is used up, in a process that dies at point *at*, or exits with 0 without such
    a point. There is a point before and after each statement.
    """
    asyncio.run(_spend(dsn, folder, settings, _points(at)))


def _points(at: int) -> DeathPoints:
    points = DeathPoints(at)
    for name in ("fetch", "execute"):
        method = points.around(
            getattr(asyncpg.Connection, name), lambda _, statement, *__: statement in _CHANGE_BUDGETS
        )
        setattr(asyncpg.Connection, name, method)
    return points


async def _spend(dsn: str, folder: Path, settings: dict[str, Any], points: DeathPoints) -> None:
    async with running_service(dsn, folder, **settings) as service:
        if not points.counting:
            points.counting = True
            await _create(service)
        await until_paused(service)


async def tree(service: Service) -> list[dict[str, Any]]:
    """Return the workflow and its sub-workflows, the one at the top last."""
    found: list[dict[str, Any]]
    found = (await service.client.get(WORKFLOWS, params={"include_children": True})).json()["workflows"]
    return sorted(found, key=lambda each: each["parent"] is None)


async def tasks_of_providers(service: Service) -> list[dict[str, Any]]:
    """Return the attempts at providers, of all workflows."""
    tasks = [task for each in await tree(service) for task in await service.tasks(each["id"])]
    return [task for task in tasks if task["provider"] is not None]


async def until_paused(service: Service) -> None:
    """Wait until the workflow and its sub-workflows are PAUSED, and no attempt is under way."""
    async with asyncio.timeout(60):
        while not await _is_paused(service):
            await asyncio.sleep(0.02)


async def _is_paused(service: Service) -> bool:
    if {each["status"] for each in await tree(service)} - {"PAUSED", "COMPLETED"}:
        return False
    return all(task["status"] != "RUNNING" for task in await tasks_of_providers(service))


async def _create(service: Service) -> None:
    again = {"on_unknown": "resubmit"}
    items = remote_step(ProviderType.CUSTOM, "items", provider_config=again) | {"for_each": {"count": ATTEMPTS - 1}}
    below = remote_step(ProviderType.CUSTOM, "below", provider_config=again)
    sub = {"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": {"name": "sub", "steps": [below]}}}
    budget = {"max_cost": {"USD": f"{FITTING * PRICE:.2f}"}}
    await service.create(sub, items, config={"budget": budget, "retry": {"base_s": 0}})
