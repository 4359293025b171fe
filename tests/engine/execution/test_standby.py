"""A process that has nothing to do, beside another: it takes over, however the other ends, and asks for little.

The tests run on PostgreSQL, because its leases, notifications and statements are the subject.
"""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from stepwell.engine.execution.claim_requests import RENEWED_AFTER, ClaimRequests
from stepwell.engine.execution.lease import Lease
from stepwell.engine.execution.ownership import Ownership, next_pause_s
from stepwell.ports.processes import OtherProcesses
from stepwell.testing import ManualClock
from support.database.failing_store import nothing_left
from support.database.statement_recorder import statements_sent
from support.emulators.webhook_receiver import response_of, running_sink
from support.providers.scripted import Hang, ScriptedProvider, eventually, scripted_step
from support.service.live_service import Service, running_service

LONG_S = 3_600.0  # no lease of this length ends during a test
LISTENERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %process%'"
LIVE = "SELECT count(*) FROM processes WHERE lease_until > clock_timestamp()"


class Pair:
    """*idle* was there first, and had nothing to do when *busy* was started; in *busy* all steps hang."""

    def __init__(self, dsn: str, folder: Path, sql: asyncpg.Connection, stack: AsyncExitStack) -> None:
        self._dsn, self._folder, self.sql, self._stack = dsn, folder, sql, stack
        self.hanging, self.ending = ScriptedProvider(default=Hang()), ScriptedProvider()
        self.idle: Service
        self.busy: Service
        self._busy_stack = AsyncExitStack()

    async def start(self, lease_s: float) -> None:
        shared: dict[str, Any] = {"exclusive": False, "lease_s": lease_s, "grace_s": 0.1}
        idle = running_service(self._dsn, self._folder, providers=[self.ending], **shared)
        self.idle = await self._stack.enter_async_context(idle)
        await self.until(LISTENERS, 1)
        await self.until_it_waits_for_nothing()
        await self._stack.enter_async_context(self._busy_stack)
        busy = running_service(self._dsn, self._folder, providers=[self.hanging], **shared)
        self.busy = await self._busy_stack.enter_async_context(busy)

    @property
    def ownership(self) -> Ownership:
        return self.idle.app.engine.ownership

    @property
    def busy_ownership(self) -> Ownership:
        return self.busy.app.engine.ownership

    async def until_it_waits_for_nothing(self) -> None:
        await eventually(lambda: self.ownership.resting and self.ownership.claims.pause_s == math.inf)

    async def until(self, statement: str, wanted: int) -> None:
        async with asyncio.timeout(30):
            while await self.sql.fetchval(statement) != wanted:
                await asyncio.sleep(0.005)

    async def begun(self) -> str:
        """Begin a workflow in *busy*. If that stands still for longer than its lease, *idle* has the workflow."""
        created = await self.busy.create(scripted_step("a"))
        await eventually(lambda: self.hanging.count("a") + self.ending.count("a") > 0, "the step has begun")
        workflow_id: str = created["id"]
        return workflow_id

    async def leave(self) -> None:
        """*busy* ends in order."""
        await self._busy_stack.aclose()

    async def die(self) -> None:
        """*busy* ends as one that is killed."""
        self.busy.app.running.cancel()
        await asyncio.wait({self.busy.app.running})


@pytest.fixture
async def pair(dsn: str, tmp_path: Path) -> AsyncIterator[Pair]:
    sql = await asyncpg.connect(dsn)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(sql.close)
        yield Pair(dsn, tmp_path, sql, stack)


async def test_what_is_released_is_taken_over_at_once(pair: Pair) -> None:
    await pair.start(lease_s=LONG_S)
    workflow_id = await pair.begun()
    await pair.leave()
    assert (await pair.idle.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_webhooks_that_are_released_are_taken_over_at_once(pair: Pair) -> None:
    await pair.start(lease_s=LONG_S)
    pair.hanging.release("a")
    pair.busy.app.services.webhooks.deliverer.delays_s = [0.0, 0.3]
    async with running_sink(responses=[response_of(500)]) as sink:
        created = await pair.busy.create(scripted_step("a"), webhook_url=sink.url())
        await sink.until(1)
        await pair.until("SELECT least(tries, 1) FROM deliveries", 1)  # on a slow machine, *busy* may try it again
        await pair.leave()
        first, second = await sink.until(2)
        assert (first.id, first.body) == (second.id, second.body)
        assert second.payload["data"]["id"] == created["id"]


@pytest.mark.parametrize("rested", [False, True])
async def test_what_the_dead_leave_is_taken_over_after_the_lease(pair: Pair, *, rested: bool) -> None:
    await pair.start(lease_s=0.4)
    if rested:  # both have been idle for so long that neither waits for the other
        await pair.until(LIVE, 0)
        await pair.until_it_waits_for_nothing()
    workflow_id = await pair.begun()
    await pair.die()
    assert (await pair.idle.until_ended(workflow_id))["status"] == "COMPLETED"


@pytest.mark.parametrize("way", ["create", "create with a key", "start"])
async def test_an_idle_process_keeps_what_it_begins(pair: Pair, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    await pair.start(lease_s=LONG_S)
    pending = await pair.busy.create(scripted_step("a"), start=False)
    await eventually(lambda: nothing_left(pair.busy))
    pair.busy_ownership.claims.request()
    await eventually(lambda: pair.busy_ownership.claims.idle)
    lease = pair.busy.app.engine.lease
    await pair.sql.execute("UPDATE processes SET lease_until = clock_timestamp() WHERE id = $1", lease.owner)
    monkeypatch.setattr(lease, "_renewed_at", -math.inf)
    headers = {"Idempotency-Key": "k"} if way.endswith("key") else {}
    if way == "start":
        response = await pair.busy.verb(pending["id"], "start")
    else:
        body = {"name": "x", "origin_instance": "tests", "steps": [scripted_step("a")]}
        response = await pair.busy.client.post("/api/v1/workflows/", json=body, headers=headers)
    await pair.hanging.until_called("a")
    await eventually(lambda: pair.ownership.resting)
    pair.ownership.claims.request()
    await more_rounds(pair.ownership, 1)
    owned = "SELECT owner, epoch FROM workflows WHERE id = $1"
    assert tuple(await pair.sql.fetchrow(owned, response.json()["id"])) == (lease.owner, 1)
    assert not pair.idle.app.engine.scheduler.workflows
    await eventually(
        lambda: pair.busy_ownership.resting and pair.busy_ownership.claims.pause_s <= LONG_S * RENEWED_AFTER,
        "it will renew its lease in time",
    )


async def test_a_listener_that_was_cut_off_looks_for_itself(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stepwell.engine.execution.ownership.OUTAGE_RETRY_S", 0.01)
    await pair.start(lease_s=LONG_S)
    rounds = pair.ownership.rounds
    cut = LISTENERS.replace("count(*)", "pg_terminate_backend(pid)")
    await pair.sql.fetch(cut)
    await eventually(lambda: pair.ownership.rounds > rounds)
    await pair.until(LISTENERS, 2)
    workflow_id = await pair.begun()
    await pair.leave()
    assert (await pair.idle.until_ended(workflow_id))["status"] == "COMPLETED"


async def more_rounds(ownership: Ownership, number: int) -> None:
    end = ownership.rounds + number
    await eventually(lambda: ownership.rounds >= end and ownership.resting)


async def test_beside_a_live_one_it_asks_one_question_at_a_time_and_holds_no_lease(pair: Pair) -> None:
    await pair.start(lease_s=LONG_S)
    await pair.begun()
    ownership, owner = pair.ownership, pair.idle.app.engine.lease.owner
    lease = await pair.sql.fetchval("SELECT lease_until FROM processes WHERE id = $1", owner)
    # Another task of the process asks something now and then, so there may be more statements for a while.
    asked, rounds = math.inf, 0
    async with asyncio.timeout(120):
        while asked != rounds:
            await eventually(lambda: ownership.resting)
            before, asked_before = ownership.rounds, statements_sent(pair.idle)
            for _ in range(3):
                ownership.claims.wake_if_idle()
                await more_rounds(ownership, 1)
            asked, rounds = statements_sent(pair.idle) - asked_before, ownership.rounds - before
    assert ownership.claims.pause_s > LONG_S * RENEWED_AFTER
    assert await pair.sql.fetchval("SELECT lease_until FROM processes WHERE id = $1", owner) == lease
    pair.hanging.release("a")


def test_an_idle_process_waits_for_the_end_of_a_lease_and_not_for_its_next_renewal() -> None:
    waits = {expiry: next_pause_s(10, expiry, busy=False) for expiry in (0.0, 5.0, 7.0, 7.3, 10.0, 60.0, math.inf)}
    assert waits == {0.0: 0.05, 5.0: 5.0, 7.0: 7.0, 7.3: 10.0, 10.0: 10.0, 60.0: 60.0, math.inf: math.inf}


def test_a_busy_process_renews_its_lease_before_a_third_of_it_has_passed() -> None:
    assert [next_pause_s(10, expiry, busy=True) for expiry in (math.inf, 0.0, 5.0)] == pytest.approx([2.8, 0.05, 2.8])


class SlowRenewals:
    """Coordination whose renewals take *seconds* each, of which nobody knows when the database counted from."""

    owner, lease_s, poll_s = UUID(int=1), 10.0, math.inf

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    async def renew_lease(self) -> None:
        self._clock.advance(self._seconds)

    async def release_lease(self) -> None:
        pass

    async def next_expiry_s(self) -> float:
        return math.inf

    async def other_processes(self) -> OtherProcesses:
        raise AssertionError("a lease needs to know of no other process")


async def test_a_lease_counts_from_before_its_renewal_is_sent(clock: ManualClock) -> None:
    """The others may count from any moment of the renewal. This process must not hold it for longer than they do."""
    lease = Lease(SlowRenewals(clock, 4), clock, ClaimRequests(clock, SlowRenewals.lease_s))
    for renew in (lease.acquire, lease.ensure):
        await renew()
        clock.advance(5)
        assert lease.holds, "nine seconds of ten have passed"
        clock.advance(1)
        assert not lease.holds
