"""The work that a tenant has in progress is bounded, and others don't wait for it."""

import asyncio
from contextlib import suppress

from stepwell.domain.tenancy import EVERY_TENANT, TenantScope
from stepwell.engine.admission.tenant_turns import TenantTurns
from support.providers.scripted import eventually

A, B = TenantScope("a"), TenantScope("b")


class Works:
    """Works that go on until `end` names them."""

    def __init__(self, most: int) -> None:
        self._turns = TenantTurns(most)
        self._ends: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    async def run(self, name: str, scope: TenantScope, weight: int) -> None:
        end = self._ends[name] = asyncio.Event()
        async with self._turns.turn(scope, weight):
            self.begun.append(name)
            await end.wait()

    def end(self, name: str) -> None:
        self._ends[name].set()


async def test_works_of_a_tenant_begin_in_order_while_they_fit_and_others_do_not_wait() -> None:
    works = Works(10)
    async with asyncio.TaskGroup() as group:
        for name, scope, weight in (("a1", A, 6), ("a2", A, 6), ("a3", A, 1), ("b1", B, 10), ("all", EVERY_TENANT, 99)):
            group.create_task(works.run(name, scope, weight))
        await eventually(lambda: works.begun == ["a1", "b1", "all"])
        works.end("a1")
        await eventually(lambda: works.begun == ["a1", "b1", "all", "a2", "a3"])
        for name in ("a2", "a3", "b1", "all"):
            works.end(name)


async def test_a_work_that_is_cancelled_while_it_waits_or_begins_holds_up_nobody() -> None:
    works = Works(10)
    async with asyncio.TaskGroup() as group:
        group.create_task(works.run("first", A, 10))
        waiting, begins, last = (group.create_task(works.run(name, A, 10)) for name in ("waits", "begins", "last"))
        await eventually(lambda: works.begun == ["first"])
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
        works.end("first")
        while works.begun == ["first"] and not begins.done():
            begins.cancel()
            await asyncio.sleep(0)
        await eventually(lambda: works.begun[-1] in ("begins", "last"))
        works.end("begins")
        await eventually(lambda: works.begun[-1] == "last")
        works.end("last")
        await last


async def test_works_without_weight_end_in_any_order() -> None:
    works = Works(10)
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for name in ("a", "b"):
            group.create_task(works.run(name, A, 0))
        await eventually(lambda: works.begun == ["a", "b"])
        works.end("a")
        works.end("b")
