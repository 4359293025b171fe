"""Sub-workflows and their parents in two processes on PostgreSQL, one of which may die.

What must hold, besides what `test_flow_races` lists:
- Two events that two processes are asked for come one after the other, also while one of them is being written.
- No two statements wait for each other.
- A parent goes on exactly once after the end of its sub-workflow, in whichever process each of them is, whether the
  parent is in memory or parked, and whichever process dies meanwhile.
- The last statement of a dead process may be carried out late, or never. Neither loses the end, nor counts it twice.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import timedelta
from enum import StrEnum
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from stepwell.app import PostgresSource
from stepwell.engine.execution.timers import PARK_AFTER_S
from stepwell.lifecycle import parking
from support.database.failing_store import use_failing_store
from support.database.killable import KillableProcess
from support.database.postgres import connected
from support.providers.held_jobs import HeldJobs, paid_for
from support.providers.scripted import scripted_step
from support.service.live_service import ENDED, Service, running_service
from support.workflows.delays import in_memory
from support.workflows.flow_races import (
    DEATH,
    PAIRS,
    UNTOUCHED,
    WORKFLOWS,
    Moment,
    Outcome,
    Target,
    check_completed,
    check_history,
    legal,
    one_race_of_each_pair,
    outcome_of,
    request_for,
    steps_for,
    swapped,
)

LEASE_S = 2.0
LIMIT_S = 2.0  # of approvals that end by time-out, whenever that is
WAIT_S = 120.0
Json = dict[str, Any]


_DECISIONS = "SELECT FROM waits WHERE workflow_id = $1 AND kind = 'decision'"


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    try:
        async with asyncio.timeout(WAIT_S):
            while not await holds():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_S} s: {what}") from None


class Process:
    """A process that a test can kill."""

    def __init__(self, killable: KillableProcess, service: Service) -> None:
        self._killable, self.service = killable, service

    @contextmanager
    def killed(self) -> Iterator[None]:
        """Kill it. After the context it goes on, and so do the requests that it had no response to."""
        self._killable.kill()
        try:
            yield
        finally:
            self._killable.go_on()

    def runs(self, workflows: Collection[UUID]) -> bool:
        return {str(each) for each in workflows} <= in_memory(self.service)


class Processes:
    """Processes on one database, and a connection to it beside them. Their jobs outlive them."""

    def __init__(self, dsn: str, sql: asyncpg.Connection, folder: Path, stack: AsyncExitStack) -> None:
        self._dsn, self.sql, self._folder, self._stack = dsn, sql, folder, stack
        self.jobs, self._asking = HeldJobs(), asyncio.Lock()

    async def start(self, *, lease_s: float = LEASE_S, **settings: Any) -> Process:
        killable = KillableProcess(PostgresSource(self._dsn, durable=False))
        serving = running_service(
            killable,
            self._folder,
            providers=[self.jobs],
            exclusive=False,
            wait_for_claims=False,
            grace_s=1,
            lease_s=lease_s,
            **settings,
        )
        service = await self._stack.enter_async_context(serving)
        return Process(killable, service)

    async def end_lease(self, dead: Process, *living: Process) -> None:
        """Let the lease of a killed process be over at once."""
        owner = dead.service.app.engine.lease.owner
        await self.fetch("UPDATE processes SET lease_until = clock_timestamp() WHERE id = $1", owner)
        for process in living:
            process.service.app.engine.ownership.claims.request()

    async def fetch(self, query: str, *values: Any) -> list[asyncpg.Record]:
        async with self._asking:
            return list(await self.sql.fetch(query, *values))

    async def child_of(self, parent: UUID) -> UUID:
        """Return the only sub-workflow of the parent, once it exists."""
        found: list[UUID] = []

        async def exists() -> bool:
            rows = await self.fetch("SELECT id FROM workflows WHERE parent_id = $1", parent)
            found[:] = [row["id"] for row in rows]
            return bool(found)

        await until(exists, "the sub-workflow exists")
        (child,) = found
        return child

    async def statuses(self, workflows: Collection[UUID]) -> dict[UUID, str]:
        rows = await self.fetch("SELECT id, status FROM workflows WHERE id = ANY($1)", list(workflows))
        return {row["id"]: row["status"] for row in rows}

    async def until_jobs(self, step_id: str, number: int) -> None:
        async def accepted() -> bool:
            return sum(job.step_id == step_id for job in self.jobs.jobs.values()) == number

        await until(accepted, f"{number} jobs of {step_id}")

    def end_jobs(self, workflows: Collection[UUID], *step_ids: str) -> None:
        """End the jobs of these workflows; of all steps, or of those with these ids."""
        for job in self.jobs.of(*workflows):
            if not step_ids or job.step_id in step_ids:
                self.jobs.end(job)


@pytest.fixture
async def processes(dsn: str, tmp_path: Path) -> AsyncIterator[Processes]:
    async with connected(dsn) as sql, AsyncExitStack() as stack:
        yield Processes(dsn, sql, tmp_path, stack)


# Two events, one of which is the death of the process


class Race:
    """A parent and its sub-workflow, to which both events happen."""

    def __init__(
        self, processes: Processes, pair: tuple[str, str], target: Target, moment: Moment = Moment.AFTER
    ) -> None:
        self.processes, self.pair, self.target, self.moment = processes, pair, target, moment
        self.codes: list[int | None] = [None, None]
        self.keys = [str(uuid4()), str(uuid4())]

    async def begin(self, process: Process) -> None:
        limit_s = LIMIT_S if "timeout" in self.pair else None
        self.parent = UUID((await process.service.create(*steps_for(self.target, limit_s)))["id"])
        self.child = await self.processes.child_of(self.parent)
        self.id = self.parent if self.target is Target.PARENT else self.child
        await until(self._has_begun, "both wait")

    async def _has_begun(self) -> bool:
        """Return true once both approvals wait, or have waited: the time of one may be over soon."""
        began = "SELECT FROM events WHERE workflow_id = ANY($1) AND type = 'step.waiting' AND step_id = 'ask'"
        found = await self.processes.fetch(began, [self.parent, self.child])
        return len(found) == 2 and len(self.processes.jobs.of(self.parent)) == 3

    async def is_parked(self, process: Process) -> bool:
        """Return true once the sub-workflow has left memory, or goes on because the time of its approval is over."""
        waits = await self.processes.fetch(_DECISIONS, self.child)
        return not waits or str(self.child) not in in_memory(process.service)

    async def do(self, process: Process, place: int) -> None:
        """Let the event in this place of the pair happen. A request is repeated until another response than 503."""
        if (event := self.pair[place]) in (DEATH, "timeout"):
            return
        method, path, body = request_for(event, self.parent, self.id)
        headers = {"Idempotency-Key": self.keys[place]}
        while True:
            response = await process.service.client.request(method, path, json=body, headers=headers)
            if response.status_code != 503:
                self.codes[place] = response.status_code
                return
            await asyncio.sleep(0.1)

    async def has_arrived(self, place: int) -> bool:
        """Return true once the request has claimed its key or has its response, or the time-out is due."""
        if self.pair[place] == "timeout":
            later = f"{_DECISIONS} AND until > clock_timestamp()"
            return not await self.processes.fetch(later, self.id)
        claimed = await self.processes.fetch("SELECT FROM idempotency_keys WHERE key = $1", self.keys[place])
        return bool(claimed) or self.codes[place] is not None

    async def check(self, process: Process) -> None:
        """Check the outcome, bring the parent to its end, and check that."""
        await until(self.is_settled, f"{self.pair} of {self.target} has settled")
        service = process.service
        outcome = outcome_of(self.codes, await service.get(str(self.parent)), await service.get(str(self.id)))
        assert outcome in self._legal(), (self.pair, self.target)
        if outcome.status == "PAUSED":
            await self._send(process, f"{WORKFLOWS}{self.parent}/resume")
        if outcome.status in ("PAUSED", "RUNNING"):
            for each in (self.parent, self.child):
                path = f"{WORKFLOWS}{each}"
                await self._send(process, f"{path}/steps/ask/decision", {"choice": "approve"})
                await self._send(process, f"{path}/signals/word")
        await until(self._has_ended, f"{self.pair} of {self.target} has ended")
        parent, child = [await service.get(str(each)) for each in (self.parent, self.child)]
        jobs = self.processes.jobs.of(self.parent, self.child)
        if parent["status"] == "COMPLETED":
            check_completed(parent, child, jobs)
        assert max(paid_for(jobs).values()) == 1
        for shown in (parent, child):
            check_history(shown, await service.events(shown["id"]))

    def _legal(self) -> set[Outcome]:
        ends = legal(self.pair, self.target, self.moment)
        if DEATH not in self.pair and (self.moment is not Moment.AFTER or self.pair[1] == "timeout"):
            ends.add(swapped(self.pair))
        if self.pair[1] == DEATH and self.codes[0] is None and self.pair[0] != "timeout":
            return {UNTOUCHED, *(end._replace(first=None) for end in ends)}
        return ends

    async def is_settled(self) -> bool:
        statuses = await self.processes.statuses([self.parent, self.child])
        parent, child = statuses[self.parent], statuses[self.child]
        waits = await self.processes.fetch(_DECISIONS, self.id)
        return (child in ENDED if parent in ENDED else child == parent) and not (waits and "timeout" in self.pair)

    async def _has_ended(self) -> bool:
        self.processes.end_jobs([self.parent, self.child])
        statuses = await self.processes.statuses([self.parent, self.child])
        return set(statuses.values()) <= ENDED

    async def _send(self, process: Process, path: str, body: Json | None = None) -> None:
        async def has_response() -> bool:
            response = await process.service.client.post(path, json=body)
            return response.status_code != 503

        await until(has_response, f"a response about {self.pair}")


@pytest.mark.parametrize("responded", [pytest.param(True, marks=pytest.mark.extended), False])
async def test_an_event_and_the_death_of_its_process_have_one_legal_outcome(
    processes: Processes, *, responded: bool
) -> None:
    """All pairs at once: the process dies only once. Without a response, the first event is under way then."""
    pairs = [pair for pair in PAIRS if pair.count(DEATH) == 1 and (responded or pair[0] != DEATH)]
    races = [Race(processes, pair, target) for pair, target in product(pairs, (Target.PARENT, Target.CHILD))]
    first = await processes.start()
    await asyncio.gather(*(race.begin(first) for race in races))
    async with asyncio.TaskGroup() as group:
        doing = [group.create_task(race.do(first, 0), name=race.pair[0]) for race in races]

        async def is_time() -> bool:
            return (all if responded else any)(each.done() for each in doing)

        await until(is_time, "responses")
        with first.killed():
            await processes.end_lease(first)
            second = await processes.start()
            await asyncio.gather(*(race.do(second, 1) for race in races))
            await asyncio.gather(*(race.check(second) for race in races))
        for each in doing:
            each.cancel()


# Two events in two processes

_AT_ONCE = 12
_ALIVE = [pair for pair in PAIRS if DEATH not in pair]


@pytest.mark.parametrize(
    "moment",
    [
        Moment.UNCOMMITTED,
        pytest.param(Moment.AFTER, marks=pytest.mark.extended),
        pytest.param(Moment.UNKNOWN, marks=pytest.mark.extended),
    ],
)
async def test_two_events_in_two_processes_have_one_legal_outcome(
    processes: Processes, monkeypatch: pytest.MonkeyPatch, moment: Moment
) -> None:
    """The process of the workflows is asked for the first event, another one for the second."""
    monkeypatch.setattr(parking, "PARKED_FROM", timedelta(0))  # also before a time-out within `LIMIT_S`
    one, other = [await processes.start(lease_s=WAIT_S) for _ in range(2)]
    races = [Race(processes, *race) for race in one_race_of_each_pair(_ALIVE) if race.moment is moment]
    races.sort(key=lambda race: "timeout" in race.pair)  # these wait together
    for begin in range(0, len(races), _AT_ONCE):
        part = races[begin : begin + _AT_ONCE]
        await begin_all(one, part)
        await do_both(one, other, part, moment)
        await asyncio.gather(*(race.check(other) for race in part))
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await processes.sql.fetchval(deadlocks) == 0


async def begin_all(process: Process, races: Sequence[Race]) -> None:
    """Begin all races, those with a parked sub-workflow last: it leaves memory at once."""
    timers = process.service.app.engine.scheduler.timers
    await asyncio.gather(*(race.begin(process) for race in races if race.target is not Target.PARKED))
    to_park = [race for race in races if race.target is Target.PARKED]
    timers.park_after_s = 0.0
    await asyncio.gather(*(race.begin(process) for race in to_park))
    for race in to_park:
        await until(partial(race.is_parked, process), "the sub-workflow is parked")
    timers.park_after_s = PARK_AFTER_S


async def do_both(one: Process, other: Process, races: Sequence[Race], moment: Moment) -> None:
    """Let both events happen. Unless the moment is AFTER, no checkpoint of the first is over before the second."""
    if moment is Moment.AFTER:
        await asyncio.gather(*(race.do(one, 0) for race in races))
        await asyncio.gather(*(until(race.is_settled, "it is settled") for race in races))
        await asyncio.gather(*(race.do(other, 1) for race in races))
        return
    held_up = rows_locked(races) if moment is Moment.UNCOMMITTED else responses_held_up(one)
    async with asyncio.TaskGroup() as group, held_up:
        for place, process in enumerate((one, other)):
            for race in races:
                group.create_task(race.do(process, place), name=race.pair[place])
            for race in races:
                await until(partial(race.has_arrived, place), f"{race.pair[place]} arrives")


@asynccontextmanager
async def rows_locked(races: Sequence[Race]) -> AsyncIterator[None]:
    """Lock the rows of all workflows within the context."""
    sql = races[0].processes.sql
    async with sql.transaction():
        ids = [each for race in races for each in (race.parent, race.child)]
        await sql.execute("SELECT FROM workflows WHERE id = ANY($1) ORDER BY depth DESC, id FOR UPDATE", ids)
        yield


@asynccontextmanager
async def responses_held_up(process: Process) -> AsyncIterator[None]:
    """Let the process wait for the responses to its checkpoints within the context."""
    store = use_failing_store(process.service)
    store.responses.clear()
    try:
        yield
    finally:
        store.responses.set()


# The end of a sub-workflow in another process

_ROOM = 4  # workflows of a tenant in a process: half of all


class Dies(StrEnum):
    """The process that dies while the ends of sub-workflows are being written. The statement that writes one of them is
    carried out LATE or is LOST.
    """

    NOBODY = "nobody"
    CHILDS_LATE = "that of the sub-workflows, late"
    CHILDS_LOST = "that of the sub-workflows, lost"
    PARENTS = "that of the parents"


@pytest.mark.parametrize(
    "dies",
    [
        pytest.param(Dies.NOBODY, marks=pytest.mark.extended),
        pytest.param(Dies.CHILDS_LATE, marks=pytest.mark.extended),
        Dies.CHILDS_LOST,
        Dies.PARENTS,
    ],
)
async def test_a_parent_goes_on_once_after_an_end_in_another_process(processes: Processes, dies: Dies) -> None:
    one = await processes.start(max_active_workflows=2 * _ROOM)
    sub = {
        "id": "sub",
        "task_type": "SUBWORKFLOW",
        "config": {"workflow": {"name": "c", "steps": [scripted_step("deep")]}},
    }
    steps = scripted_step("own"), sub, scripted_step("after", "sub")
    parents = [UUID((await one.service.create(*steps))["id"]) for _ in range(_ROOM)]
    await processes.until_jobs("own", _ROOM)
    children = [await processes.child_of(parent) for parent in parents]
    other = await processes.start(max_active_workflows=2 * _ROOM)
    await processes.until_jobs("deep", _ROOM)
    assert one.runs(parents)
    assert other.runs(children), "the process of the parents has no room"
    one.service.app.engine.scheduler.timers.park_after_s = 0.0
    processes.end_jobs(parents[2:], "own")
    await until(partial(are_parked, processes, parents[2:]), "two of the parents are parked")

    survivor = other if dies is Dies.PARENTS else one
    async with AsyncExitStack() as death:
        if dies is Dies.NOBODY:
            processes.end_jobs(children)
        elif dies is Dies.PARENTS:
            async with ends_held_up(processes, parents, children[1:3]):
                death.enter_context(one.killed())
            await processes.end_lease(one, other)
            processes.end_jobs(children)
        else:
            async with ends_held_up(processes, parents, children):
                death.enter_context(other.killed())
                if dies is Dies.CHILDS_LOST:
                    await processes.sql.execute(f"SELECT pg_terminate_backend(pid) FROM ({BLOCKED}) AS b")
            await processes.end_lease(other, one)
        await until(partial(have_ended, processes, parents, children), "all parents go on")
    for workflow in (*parents, *children):
        check_history(await survivor.service.get(str(workflow)), await survivor.service.events(str(workflow)))
    for parent, child in zip(parents, children, strict=True):
        assert paid_for(processes.jobs.of(parent, child)) == {("own", None): 1, ("deep", None): 1, ("after", None): 1}
    counted = await processes.sql.fetch("SELECT child_ended_count FROM workflows WHERE id = ANY($1)", parents)
    assert [row["child_ended_count"] for row in counted] == [1] * _ROOM


async def have_ended(processes: Processes, parents: Collection[UUID], children: Collection[UUID]) -> bool:
    processes.end_jobs(parents)
    return set((await processes.statuses([*parents, *children])).values()) == {"COMPLETED"}


async def are_parked(processes: Processes, workflows: Collection[UUID]) -> bool:
    parked = "SELECT FROM workflows WHERE id = ANY($1) AND owner IS NULL AND wake_at IS NOT NULL"
    return len(await processes.fetch(parked, list(workflows))) == len(workflows)


BLOCKED = "SELECT DISTINCT pid FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid()"


@asynccontextmanager
async def ends_held_up(
    processes: Processes, parents: Collection[UUID], children: Collection[UUID]
) -> AsyncIterator[None]:
    """End the sub-workflows. Within the context, the statements that write the ends wait for their parents' rows."""
    async with processes.sql.transaction():
        await processes.sql.execute("SELECT FROM workflows WHERE id = ANY($1) FOR UPDATE", list(parents))
        processes.end_jobs(children)

        async def is_blocked() -> bool:
            return bool(await processes.sql.fetch(BLOCKED))

        await until(is_blocked, "an end waits for its parent")
        yield
