"""Circuit breakers of several processes on one database."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from stepwell.engine.dispatch.model_health import ModelHealth, ModelKey
from stepwell.persistence.clock import DatabaseClock
from support.emulators.base import Fault
from support.providers.emulated import World
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

FAILURES = 3  # breaker_failures, the default
SOON = {"retry": {"base_s": 0}}
SUBSCRIPTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %messages%'"
)


class Processes:
    """Processes on one database, in one event loop."""

    def __init__(self, dsn: str, folder: Path, world: World, sql: asyncpg.Connection, stack: AsyncExitStack) -> None:
        self._dsn, self._folder, self._world, self._sql, self._stack = dsn, folder, world, sql, stack
        self._number = 0

    async def start(self, **settings: Any) -> Service:
        """Start one more. It receives messages when this returns."""
        self._number += 1
        shared = {"exclusive": False, "grace_s": 1} | self._world.settings | settings
        started = await self._stack.enter_async_context(running_service(self._dsn, self._folder, **shared))
        await eventually_subscribed(self._sql, self._number)
        return started

    async def open_breaker(self, service: Service) -> None:
        self._world.emulator.always("submit", Fault.BROKEN)
        for _ in range(FAILURES):
            created = await service.create(self._world.step(max_retries=0), config=SOON)
            await service.until_ended(created["id"])
        assert health(service).open_breakers()


async def eventually_subscribed(sql: asyncpg.Connection, number: int) -> None:
    count = 0
    while count < number:
        count = await sql.fetchval(SUBSCRIPTIONS)


def health(service: Service) -> ModelHealth:
    return service.app.engine.health


def is_open(service: Service) -> bool:
    return bool(health(service).open_breakers())


@pytest.fixture
async def processes(dsn: str, world: World, tmp_path: Path, sql: asyncpg.Connection) -> AsyncIterator[Processes]:
    async with AsyncExitStack() as stack:
        yield Processes(dsn, tmp_path / "data", world, sql, stack)


async def test_a_breaker_that_opens_in_one_process_opens_in_all(processes: Processes, world: World) -> None:
    first, second = await processes.start(), await processes.start()
    await processes.open_breaker(first)
    await eventually(lambda: is_open(second), "the other process has opened its breaker")
    assert health(second).open_breakers() == health(first).open_breakers()
    sent = world.emulator.count("submit")
    created = await second.create(world.step(fallback_provider_type="LOCAL"))
    assert (await second.until_ended(created["id"]))["status"] == "COMPLETED"
    assert world.emulator.count("submit") == sent, "the step was diverted at once"


async def test_a_process_that_comes_to_life_learns_which_breakers_are_open(processes: Processes) -> None:
    first = await processes.start()
    await processes.open_breaker(first)
    second = await processes.start()
    await eventually(lambda: is_open(second), "the new process has opened its breaker")


async def test_many_breakers_of_models_with_long_names_open_in_all_processes(
    processes: Processes, world: World
) -> None:
    first, second = await processes.start(), await processes.start()
    # The clock of the first process may be ahead of the other one's.
    until = first.app.process.clock.now() + timedelta(seconds=health(first).longest_open_s + 1)
    keys = {ModelKey(world.kind, f"{number:02}{'🎨' * 250}") for number in range(40)}
    for key in keys:
        health(first).report_change(key, until)
    await eventually(lambda: {key for key, _ in health(second).open_breakers()} == keys, "all are open")
    assert not first.app.running.done()


async def test_a_probe_that_succeeds_in_one_process_closes_the_breaker_of_all(
    processes: Processes, world: World
) -> None:
    first, second = await processes.start(), await processes.start()
    await processes.open_breaker(first)
    await eventually(lambda: health(second).any_open, "the other process has opened its breaker")
    for each in (first, second):
        clock = each.app.process.clock
        assert isinstance(clock, DatabaseClock)
        clock.observe(clock.now() + timedelta(seconds=health(each).longest_open_s))
    world.emulator.always("submit", None)
    created = await second.create(world.step())
    assert (await second.until_ended(created["id"]))["status"] == "COMPLETED"
    assert not health(second).any_open
    await eventually(lambda: not health(first).any_open, "the first process has closed its breaker")


async def test_messages_that_no_process_would_send_change_nothing(
    processes: Processes, sql: asyncpg.Connection
) -> None:
    first = await processes.start()
    now = first.app.process.clock.now()
    soon, late = now + timedelta(seconds=60), now + timedelta(days=1)
    notice = {"provider": "FAL", "model": "m", "at": now.isoformat(), "until": soon.isoformat()}
    bodies = [
        "",
        "{",
        "[1]",
        json.dumps([notice | {"provider": 5}]),
        json.dumps([notice | {"model": "m" * 256}]),
        json.dumps([notice | {"until": late.isoformat()}]),
        json.dumps([notice | {"until": "tomorrow"}]),
        json.dumps([notice | {"provider": "LOCAL"}]),
    ]
    for body in [*bodies, json.dumps([notice])]:
        await sql.execute("SELECT pg_notify('stepwell_process_messages', $1)", f"somebody breakers {body}")
    await eventually(lambda: health(first).any_open, "the last one is valid")
    [(key, until)] = health(first).open_breakers()
    assert (key.provider, key.model, until) == ("FAL", "m", soon)
