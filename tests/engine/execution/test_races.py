"""Two things happen to a workflow at once, in every pair and from every state: it is as if one came before the other.

`support.workflows.races` lists the pairs and their legal ends. Many workflows race side by side in one service.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from uuid import UUID

import pytest
from msgspec.structs import replace

from stepwell.basics.errors import InvalidTransition
from stepwell.basics.tenancy import EVERY_TENANT
from stepwell.contract.definition import WorkflowUpdate
from stepwell.contract.enums import StepStatus
from stepwell.definition.validation.workflow import validate_workflow
from stepwell.lifecycle.model import HistoryEvent
from stepwell.lifecycle.records import WorkflowRecord
from stepwell.testing import MemoryDatabase
from support.database.failing_store import nothing_left, scheduler_of, use_failing_store
from support.providers.scripted import Fail, Hang, ScriptedProvider, eventually, scripted_step
from support.service.event_replay import fold
from support.service.live_service import Service, running_service
from support.workflows.definitions import body
from support.workflows.races import End, legal_ends, races

_AT_ONCE = 10  # with many more, a busy machine doesn't write each command within the time that a caller waits

BAD = Hang(then=Fail("broken", retryable=False))


class Race:
    """One workflow of the service, with the same steps under names of its own."""

    def __init__(self, service: Service, provider: ScriptedProvider, number: int, rng: random.Random) -> None:
        self.service, self.provider, self.rng = service, provider, rng
        self.engine = service.app.services
        self.steps = [f"s{position}@{number}" for position in range(3)]
        self.workflow_id = UUID(int=0)
        self.record: WorkflowRecord | None = None

    async def run(self, state: str, first: str, second: str) -> End:
        await self.bring_to(state, failing="failure" in (first, second))
        codes = await asyncio.gather(self.fire(first), self.fire(second))
        await self.wait_until_idle()
        await self.end(2, 0, 1)
        record = await self.engine.reads.find(EVERY_TENANT, self.workflow_id)
        assert isinstance(record, WorkflowRecord)
        self.record = record
        statuses = tuple(step.state.status.value for step in self.record.steps or ())
        return (*codes, self.record.state.status.value, statuses, self.record.state.deleted_at is not None)

    async def bring_to(self, state: str, *, failing: bool) -> None:
        s0, s1, s2 = self.steps
        before = {"FAILED": [BAD], "PAUSED, idle": [Hang()], "COMPLETED": [Hang()], "CANCELLED": [Hang()]}
        self.provider.plan(s2, *before.get(state, []), *[BAD] * failing)
        definition = body(
            scripted_step(s0), scripted_step(s1, s0), scripted_step(s2, max_retries=0), config={"retry": {"base_s": 0}}
        )
        validated = validate_workflow(definition, self.engine.catalog)
        created = await self.engine.workflows.create(
            EVERY_TENANT, "alice", validated, tenant=None, start=state != "PENDING"
        )
        self.workflow_id = created.state.id
        await self.wait_until_idle()
        match state:
            case "PAUSED":
                await self.verb("pause")
            case "PAUSED, idle":
                await self.verb("pause")
                await self.end(2, 0)
            case "FAILED":
                await self.end(2, 0)
            case "COMPLETED":
                await self.end(2, 0, 1)
            case "CANCELLED":
                await self.verb("cancel")
        await self.wait_until_idle()
        self.provider.hold(*self.steps)

    async def fire(self, command: str) -> int | None:
        for _ in range(self.rng.choice([0, 0, 1, 3, 10])):
            await asyncio.sleep(0)
        if command in ("completion", "failure"):
            self.provider.release(self.steps[0 if command == "completion" else 2])
            return None
        return await self.verb(command)

    async def verb(self, verb: str) -> int:
        engine, arguments = self.engine, (EVERY_TENANT, "alice", self.workflow_id)
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "start": lambda: engine.workflows.perform(*arguments, "start"),
            "pause": lambda: engine.workflows.perform(*arguments, "pause"),
            "resume": lambda: engine.workflows.perform(*arguments, "resume"),
            "cancel": lambda: engine.workflows.perform(*arguments, "cancel"),
            "update": lambda: engine.workflows.update(*arguments, WorkflowUpdate(name="m")),
            "cleanup": lambda: engine.workflows.cleanup(*arguments, cleanup_tasks=self.rng.random() < 0.5),
        }
        try:
            await calls[verb]()
        except InvalidTransition:
            return 409
        return 200

    async def end(self, *positions: int) -> None:
        for position in positions:
            self.provider.release(self.steps[position])
            await self.wait_until_idle()

    async def wait_until_idle(self) -> None:
        """Until nothing goes on but attempts that hang."""
        scheduler = scheduler_of(self.service)

        def still() -> bool:
            hanging = {
                call.task_id for call in self.provider.calls_of(self.workflow_id) if self.provider.hangs(call.step_id)
            }
            live = scheduler.leaving.attempts_of(self.workflow_id)
            return not scheduler.checkpointer.holds(self.workflow_id) and live.keys() <= hanging

        await eventually(still, f"{self.workflow_id} stands still")

    async def check_history(self) -> None:
        assert self.record is not None
        events = [
            _plain(e) for e in await self.engine.reads.events(EVERY_TENANT, self.workflow_id, after=0, limit=1000)
        ]
        assert [event.id for event in events] == list(range(1, self.record.state.last_event + 1))
        found = [StepStatus(step.state.status) for step in self.record.steps or ()]
        assert fold(events, ["s0", "s1", "s2"]) == (self.record.state.status, found)
        started = [event.task_id for event in events if event.type == "step.started"]
        assert len(started) == len(set(started))
        called = [call.task_id for call in self.provider.calls_of(self.workflow_id)]
        assert len(called) == len(set(called))
        assert set(called) <= set(started)


def _plain(event: HistoryEvent) -> HistoryEvent:
    """The event with the model's names of the steps."""
    data = dict(event.data)
    if isinstance(data.get("held_back"), list):
        data["held_back"] = [step_id.partition("@")[0] for step_id in data["held_back"]]
    step_id = None if event.step_id is None else event.step_id.partition("@")[0]
    return replace(event, step_id=step_id, data=data)


@pytest.mark.parametrize(("seed", "delay_s"), [pytest.param(1, 0.0, marks=pytest.mark.extended), (2, 0.004)])
async def test_every_pair_from_every_state_ends_in_one_of_its_two_orders(
    memory: MemoryDatabase, tmp_path: Path, seed: int, delay_s: float
) -> None:
    rng = random.Random(seed)
    provider = ScriptedProvider(default=Hang())
    serving = partial(running_service, max_steps_per_provider=100_000, max_running_steps=100_000)
    async with serving(memory, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_store = use_failing_store(service)
        if delay_s:
            workflow_store.delays.extend(rng.uniform(0, delay_s) for _ in range(100_000))
        wrong = []
        every = list(races())
        rng.shuffle(every)
        for at in range(0, len(every), 50):
            part = every[at : at + 50]
            running = [Race(service, provider, at + number, rng) for number in range(len(part))]
            ends = await asyncio.gather(*(race.run(*what) for race, what in zip(running, part, strict=True)))
            for race, what, end in zip(running, part, ends, strict=True):
                if end not in legal_ends(*what):
                    wrong.append((what, end, legal_ends(*what)))
                await race.check_history()
        assert not wrong
        await eventually(lambda: nothing_left(service), "the engine is empty")
        assert provider.running == 0
        assert not provider.repeated()


def test_the_model_knows_two_ends_where_the_order_matters() -> None:
    assert legal_ends("RUNNING", "completion", "cancel") == {
        (None, 200, "CANCELLED", ("COMPLETED", "CANCELLED", "CANCELLED"), False),
        (None, 200, "CANCELLED", ("CANCELLED", "CANCELLED", "CANCELLED"), False),
    }
    assert legal_ends("PENDING", "start", "cancel") == {
        (200, 200, "CANCELLED", ("CANCELLED",) * 3, False),
        (409, 200, "CANCELLED", ("CANCELLED",) * 3, False),
    }
    assert sum(len(legal_ends(*what)) == 2 for what in races()) == 63
