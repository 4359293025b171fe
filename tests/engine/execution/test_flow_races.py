"""All ordered pairs of what can happen to a workflow that waits, and to its sub-workflow: each has one legal outcome.

`support.workflows.flow_races` has the workflow and the table of outcomes. Each pair is tried with the approval and the
signal of the parent, of its sub-workflow, and of a sub-workflow that is parked. The second event comes after the first
one, or while the checkpoint of the first is under way: before its commit, or between its commit and its response. The
core suite tries each pair once.

What must hold for each pair:
- The outcome is the one of the table. It names the responses to both, and the state that the workflow is in.
- A response of 200 means that its effect is stored, and survives the death of the process. Without a response, the
  effect is stored as a whole or not at all.
- A decision is taken once. The second one gets a 409 that says who decided.
- The events have no gap, and tell the statuses of all steps. None follows the end of the workflow, and none of a step
  that of the step, except by resume.
- The workflow can be brought to its end from there: it completes, with each step as its condition, its dependencies and
  the decision say. If it was cancelled, so is its sub-workflow, and no job goes on.
- Each attempt has at most one job, and no step or item has two: none is paid twice. Each step has one sub-workflow.
- A process that was thought dead changes nothing when it goes on.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import pytest_asyncio

from stepwell.contract.enums import TaskPhase, TaskStatus, WaitKind
from stepwell.engine.execution.timers import PARK_AFTER_S
from stepwell.testing import ManualClock, MemoryDatabase
from stepwell.testing.memory_tables import WorkflowRow
from support.database.failing_store import FailingStore, nothing_left, scheduler_of, use_failing_store
from support.database.killable import KillableProcess
from support.providers.held_jobs import HeldJobs, paid_for
from support.providers.scripted import eventually
from support.service.live_service import ENDED, running_service
from support.workflows.delays import in_memory
from support.workflows.flow_races import (
    DEATH,
    LIMIT_S,
    PAIRS,
    TABLE,
    WORKFLOWS,
    Moment,
    Outcome,
    Target,
    check_completed,
    check_history,
    differing_races,
    legal,
    one_race_of_each_pair,
    outcome_of,
    request_for,
    steps_for,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
extended = pytest.mark.extended

_PASSES = 100  # of the event loop, within which a request has reached the run of its workflow


def tries(*, with_death: bool) -> list[Any]:
    """Return what the tests try: pairs, targets and moments."""
    core = one_race_of_each_pair(PAIRS)
    return [
        pytest.param(*race, id="-".join((*race.pair, race.target, race.moment)), marks=[] if race in core else extended)
        for race in differing_races()
        if (DEATH in race.pair) is with_death
    ]


class Stage:
    """The processes of a test, one after the other, on one database."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.clock, self.jobs, self._folder, self._stack = ManualClock(), HeldJobs(), folder, stack
        self.memory = MemoryDatabase(self.clock)

    async def start(self, *, wait_for_claims: bool = True) -> None:
        """Start a process, which takes over what the one before it has left."""
        self.process = KillableProcess(self.memory)
        serving = running_service(
            self.process, self._folder, providers=[self.jobs], grace_s=1, wait_for_claims=wait_for_claims
        )
        self.service = await self._stack.enter_async_context(serving)
        self.store = use_failing_store(self.service)
        self._stack.callback(self._go_on, self.process, self.store)

    @staticmethod
    def _go_on(process: KillableProcess, store: FailingStore) -> None:
        process.go_on()
        store.gate.set()
        store.responses.set()

    async def kill(self, *, wait_for_claims: bool) -> None:
        """Kill the process, and start the next one."""
        self.process.kill()
        await self.start(wait_for_claims=wait_for_claims)

    def row(self, workflow_id: UUID) -> WorkflowRow:
        return self.memory.tables.workflows[workflow_id]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """The process of all pairs without a death."""
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path_factory.mktemp("races"), stack)
        await stage.start()
        yield stage


class Race:
    """A parent whose steps wait or have jobs, and its sub-workflow."""

    def __init__(self, stage: Stage, target: Target, parent: UUID, child: UUID) -> None:
        self.stage, self.target, self.parent, self.child = stage, target, parent, child
        self.id = parent if target is Target.PARENT else child

    @classmethod
    async def begin(cls, stage: Stage, target: Target) -> "Race":
        parent = UUID((await stage.service.create(*steps_for(target)))["id"])
        rows = stage.memory.tables.workflows

        def children() -> list[UUID]:
            return [each for each, row in rows.items() if row.record.state.parent_id == parent]

        def is_ready() -> bool:
            own = [parent, *children()]
            return len(own) == 2 and sum(len(rows[each].waits) for each in own) == 4 and len(stage.jobs.of(*own)) == 3

        await eventually(is_ready, "the workflows wait")
        await eventually(lambda: not scheduler_of(stage.service).checkpointer.held, "all is stored")
        race = cls(stage, target, parent, children()[0])
        if target is Target.PARKED:
            stage.clock.advance(PARK_AFTER_S)
            await eventually(lambda: in_memory(stage.service) == {str(parent)}, "the sub-workflow is parked")
        return race

    # What happens

    async def do(self, event: str) -> httpx.Response | None:
        """Let it happen. Return the response if it is a request."""
        if event == DEATH:
            await self.stage.kill(wait_for_claims=False)
            return None
        if event == "timeout":
            self.stage.clock.advance(LIMIT_S)
            return None
        method, path, body = request_for(event, self.parent, self.id)
        return await self.stage.service.client.request(method, path, json=body)

    async def both(self, first: str, second: str, moment: Moment) -> list[httpx.Response | None]:
        """Let both happen. Return their responses."""
        if first == DEATH:
            await self.stage.kill(wait_for_claims=moment is Moment.AFTER)
            return [None, await self.do(second)]
        if moment is Moment.AFTER or first == "cleanup":  # which is refused, so nothing is written
            response = await self.do(first)
            await self.until_settled(first)
            return [response, await self.do(second)]
        async with asyncio.TaskGroup() as group, self._held_up(first, moment) as is_under_way:
            doing = group.create_task(self.do(first), name="first")
            await eventually(is_under_way, "its checkpoint is under way")
            if second == DEATH:
                await self.do(second)
                doing.cancel()
                return [None, None]
            following = group.create_task(self.do(second), name="second")
            for _ in range(_PASSES):
                await asyncio.sleep(0)
            if moment is Moment.UNCOMMITTED:
                responses = [each.result() for each in (doing, following) if each.done()]
                assert 200 not in [each.status_code for each in responses if each is not None], "not before its commit"
        return [doing.result(), following.result()]

    @asynccontextmanager
    async def _held_up(self, event: str, moment: Moment) -> AsyncIterator[Callable[[], bool]]:
        """Hold up all checkpoints within the context. Yield what says whether one of *event* is under way."""
        store, changed = self.stage.store, {"timeout": {self.parent, self.child}}
        own = changed.get(event, {self.id if event in ("decision", "signal") else self.parent})
        tried, committed = len(store.batches), len(store.committed)
        held = store.gate if moment is Moment.UNCOMMITTED else store.responses

        def is_under_way() -> bool:
            batches = store.batches[tried:] if moment is Moment.UNCOMMITTED else [store.committed[committed:]]
            return any(own.intersection(batch) for batch in batches)

        held.clear()
        try:
            yield is_under_way
        finally:
            if self.stage.store is store:  # its process lives
                held.set()

    async def until_settled(self, event: str) -> None:
        """Wait until the sub-workflow is paused or resumed, and the time-out is recorded."""
        if event == "timeout":
            await eventually(lambda: not self._asks(), "the time-out is recorded")
        await eventually(self._child_has_same_status, "the sub-workflow is paused or resumed")
        await eventually(self._has_sent, "all jobs that may run are accepted")

    def _asks(self) -> bool:
        return any(each.wait.kind is WaitKind.DECISION for each in self.stage.row(self.id).waits.values())

    def _has_sent(self) -> bool:
        """Whether no request is under way. A job whose response a death cut off is looked for until the clock moves."""
        rows = [self.stage.row(each) for each in (self.parent, self.child)]
        tasks = [stored.task for row in rows for stored in row.tasks.values()]
        return not any((task.status, task.phase) == (TaskStatus.RUNNING, TaskPhase.INTENT) for task in tasks)

    def _child_has_same_status(self) -> bool:
        parent, child = (self.stage.row(each).record.state for each in (self.parent, self.child))
        status = parent.status
        return child.status in ENDED if status in ENDED else child.status == status

    # What came of it

    async def outcome(self, responses: list[httpx.Response | None]) -> Outcome:
        codes = [None if response is None else response.status_code for response in responses]
        return outcome_of(codes, await self._get(self.parent), await self._get(self.id))

    async def _get(self, workflow: UUID) -> dict[str, Any]:
        return await self.stage.service.get(str(workflow))

    async def finish(self) -> None:
        """Bring the parent to its end, and check everything."""
        service = self.stage.service
        if self.stage.row(self.parent).record.status == "PAUSED":
            assert (await service.verb(str(self.parent), "resume")).status_code == 200
            await self.until_settled("resume")
        if self.stage.row(self.parent).record.status == "RUNNING":
            for workflow in (self.parent, self.child):
                path = f"{WORKFLOWS}{workflow}"
                await service.client.post(f"{path}/steps/ask/decision", json={"choice": "approve"})
                await service.client.post(f"{path}/signals/word")
            await eventually(self._completes, "it completes")
            jobs = self.stage.jobs.of(self.parent, self.child)
            check_completed(await self._get(self.parent), await self._get(self.child), jobs)
        else:
            await eventually(self._child_has_same_status, "the sub-workflow is cancelled too")
        jobs = self.stage.jobs.of(self.parent, self.child)
        await eventually(lambda: all(job.ended.is_set() for job in jobs), "no job goes on")
        await eventually(lambda: nothing_left(service), "the engine is empty")
        for workflow in (self.parent, self.child):
            check_history(await self._get(workflow), await service.events(str(workflow)))
        assert max(paid_for(jobs).values()) == 1
        assert (
            len(
                [
                    row
                    for row in self.stage.memory.tables.workflows.values()
                    if row.record.state.parent_id == self.parent
                ]
            )
            == 1
        )

    def _completes(self) -> bool:
        for job in self.stage.jobs.of(self.parent, self.child):
            self.stage.jobs.end(job)
        return self.stage.row(self.parent).record.status in ENDED


async def check(race: Race, pair: tuple[str, str], moment: Moment) -> None:
    responses = await race.both(*pair, moment)
    await race.until_settled("timeout" if "timeout" in pair else "")
    assert await race.outcome(responses) in legal(pair, race.target, moment)
    if pair == ("decision", "decision"):
        assert responses[1] is not None
        assert "tester" in responses[1].json()["detail"]
    await race.finish()


@pytest.mark.parametrize(("pair", "target", "moment"), tries(with_death=False))
async def test_a_pair_of_events_has_one_legal_outcome(
    stage: Stage, pair: tuple[str, str], target: Target, moment: Moment
) -> None:
    await check(await Race.begin(stage, target), pair, moment)


@pytest.mark.parametrize(("pair", "target", "moment"), tries(with_death=True))
async def test_an_event_and_the_death_of_the_process_have_one_legal_outcome(
    tmp_path: Path, pair: tuple[str, str], target: Target, moment: Moment
) -> None:
    async with AsyncExitStack() as stack:
        stage = Stage(tmp_path, stack)
        await stage.start()
        await check(await Race.begin(stage, target), pair, moment)


async def test_the_table_has_every_ordered_pair() -> None:
    assert TABLE.keys() == set(PAIRS)
