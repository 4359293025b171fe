"""kill -9 at every SQL statement that changes budgets: reservations, settlements, and what a later process gives back.

What must hold after each death:
- What is spent and reserved fits into the budget, and so do the jobs that the provider has accepted.
- What is reserved is the sum of the reservations of tasks.

Once a later process has used up the budget, nothing is reserved, and what is spent is what the provider has accepted.
A request that a killed process may have sent counts, too, if no job of it was found.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import ProviderType
from support.database.postgres import TestServer, connected, database, fresh_folder
from support.processes.forks import call_in_fork
from support.processes.killed_spending import (
    ATTEMPTS,
    FITTING,
    PRICE,
    WORKFLOWS,
    begin_and_die,
    spend_and_die,
    tasks_of_providers,
    tree,
    until_paused,
)
from support.providers.emulated import World, world_of
from support.service.live_service import Service, running_service

Run = Callable[[str, Path, dict[str, Any], int], None]
IN_THE_MIDDLE = 5
AT_ONCE = 3
RECOVERY = 6  # points of the second process: those of what it gives back, and its first reservations
LIMITS = {
    "provider_timeout_s": 1.0,  # so long is a call waited for that was cut off
    "max_steps_per_provider": 2,
    "breaker_failures": 0,
}
RESERVED = "SELECT unit, sum(amount) FROM budget_reservations GROUP BY 1 ORDER BY 1"
RESERVED_BY_ENDED = """
SELECT count(*) FROM budget_reservations AS r JOIN tasks AS t ON t.id = r.task_id
WHERE t.status <> 'RUNNING' AND t.follow_up_until IS NULL
"""


class Spending:
    """The workflow of `killed_spending`, on a database of its own and with a provider of its own."""

    def __init__(self, dsn: str, folder: Path, world: World, sql: asyncpg.Connection) -> None:
        self._dsn, self._folder, self._world, self._sql = dsn, folder, world, sql
        prices = Prices({ProviderType.CUSTOM: {"*": PRICE}})
        self._settings: dict[str, Any] = {"prices": prices, **LIMITS, **world.settings}

    async def dies(self, at: int, run: Run = spend_and_die) -> bool:
        """Run the workflow in a process that dies at the point *at*. Return False if it has no such point."""
        code = await call_in_fork(run, self._dsn, self._folder, self._settings, at)
        assert code in {0, -signal.SIGKILL}, at
        assert self._jobs <= FITTING, at
        await self._check_sums()
        return code != 0

    async def check_end(self) -> None:
        """Let another process use up the budget, and raise it: the workflow goes on to its end."""
        async with running_service(self._dsn, self._folder, **self._settings) as service:
            assert await self._sql.fetchval(RESERVED_BY_ENDED) == 0
            await self._check_sums()
            await until_paused(service)
            assert await self._check_use(service) == FITTING
            root = (await tree(service))[-1]["id"]
            raised = {"config": {"budget": {"max_cost": {"USD": "1.00"}}}}
            assert (await service.client.patch(f"{WORKFLOWS}{root}", json=raised)).status_code == 200
            assert (await service.verb(root, "resume")).status_code == 200
            assert (await service.until_ended(root))["status"] == "COMPLETED"
            await self._check_use(service)
            assert self._jobs == ATTEMPTS

    @property
    def _jobs(self) -> int:
        return len(self._world.emulator.ledger.jobs())

    async def _check_sums(self) -> None:
        async with self._sql.transaction(isolation="repeatable_read"):  # the service may change both meanwhile
            rows = await self._sql.fetch("SELECT unit, spent, reserved FROM budgets ORDER BY unit")
            reservations = dict(map(tuple, await self._sql.fetch(RESERVED)))
        fitting = Decimal(str(PRICE)) * FITTING
        assert all(row["spent"] + row["reserved"] <= fitting for row in rows if row["unit"])
        reserved = {row["unit"]: row["reserved"] for row in rows if row["reserved"]}
        assert reserved == reservations

    async def _check_use(self, service: Service) -> int:
        """Check what is spent, and return the number of attempts that the provider may have charged."""
        tasks = await tasks_of_providers(service)
        charged = [task for task in tasks if task["remote_id"] or task["outcome_unknown"]]
        assert sorted(self._world.emulator.ledger.keys().values()) == [1] * self._jobs
        assert self._jobs == sum(task["remote_id"] is not None for task in tasks)
        root = (await tree(service))[-1]["id"]
        used = (await service.client.get(f"{WORKFLOWS}{root}/explain")).json()["budget"]
        cost, attempts = used["costs"]["USD"], used["attempts"]
        assert (cost["spent"], cost["reserved"]) == (pytest.approx(len(charged) * PRICE), 0)
        assert (attempts["spent"], attempts["reserved"]) == (len(charged), 0)
        return len(charged)


@asynccontextmanager
async def spending(server: TestServer, template: str) -> AsyncIterator[Spending]:
    async with database(server, template) as dsn, connected(dsn) as sql:
        with fresh_folder() as folder:
            async with world_of(ProviderType.CUSTOM, folder / "provider") as world:
                yield Spending(dsn, folder / "data", world, sql)


async def test_the_budget_holds_if_a_process_dies_amid_its_reservations(server: TestServer, template: str) -> None:
    async with spending(server, template) as trial:
        assert await trial.dies(IN_THE_MIDDLE, begin_and_die)
        await trial.check_end()


@pytest.mark.extended
async def test_the_budget_holds_at_whichever_statement_about_it_a_process_dies(
    server: TestServer, template: str
) -> None:
    points, deaths = count(), list[int]()

    async def run() -> None:
        for point in points:
            async with spending(server, template) as trial:
                if not await trial.dies(point, begin_and_die):
                    return
                deaths.append(point)
                await trial.dies(point % RECOVERY)
                await trial.check_end()

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(run())
    assert len(deaths) > 12
