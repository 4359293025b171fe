"""Every change of what GET returns for a workflow changes its ETag. The tests compare after every commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from stepwell.basics.setting_values import Prices
from stepwell.contract.enums import EventType, ProviderType
from stepwell.lifecycle.decision import Decision
from stepwell.ports.storage import WorkflowStore
from stepwell.testing import MemoryDatabase
from support.database.failing_store import FailingStore, nothing_left, use_failing_store
from support.emulators.base import Fault
from support.providers.emulated import World, world_of
from support.providers.scripted import (
    Fail,
    Hang,
    Outcome,
    ScriptedProvider,
    Succeed,
    eventually,
    passthrough_step,
    scripted_step,
)
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"


class RequestingStore(FailingStore):
    """A store that requests the workflows of each batch after it is written. `bodies`: the body of each ETag."""

    def __init__(self, inner: WorkflowStore, service: Service) -> None:
        super().__init__(inner)
        self.service = service
        self.bodies: dict[tuple[str, str], bytes] = {}
        self.kinds: set[EventType] = set()

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        lost = await super().write(batch)
        for decision in batch:
            self.kinds |= {event.type for event in decision.events}
            await self.request(str(decision.workflow.id))
        return lost

    async def request(self, workflow_id: str) -> None:
        for steps in (True, False):
            response = await self.service.client.get(WORKFLOWS + workflow_id, params={"include_steps": steps})
            tag = response.headers["etag"]
            assert self.bodies.setdefault((workflow_id, tag), response.content) == response.content, tag
            conditional = await self.service.client.get(
                WORKFLOWS + workflow_id, params={"include_steps": steps}, headers={"If-None-Match": tag}
            )
            # Nothing is written in between, because this store does all writes.
            assert (conditional.status_code, conditional.headers["etag"]) == (304, tag)


def observe(service: Service) -> RequestingStore:
    """Request the workflows of each batch that *service* writes from now on."""
    below = use_failing_store(service)
    below.inner = workflow_store = RequestingStore(below.inner, service)
    return workflow_store


async def wait_until_quiet(service: Service, workflow_store: RequestingStore, *workflow_ids: str) -> None:
    await eventually(lambda: nothing_left(service), "nothing is left to do")
    for workflow_id in workflow_ids:
        await workflow_store.request(workflow_id)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(ProviderType.CUSTOM, tmp_path / "emulator") as made:
        yield made


async def test_etags_change_with_steps_of_this_process_and_all_verbs(memory: MemoryDatabase, tmp_path: Path) -> None:
    script: dict[str, list[Outcome]] = {
        "a": [Fail("once", before=2), Succeed({"x": 1})],
        "b": [Hang()],
        "c": [Fail("no", retryable=False)] * 2,
        "d": [Hang(then=Fail("later"))],
    }
    provider = ScriptedProvider(script=script)
    async with asyncio.timeout(60), running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        workflow_store = observe(service)
        config = {"retry": {"base_s": 0}, "on_failure": "continue"}
        steps = (
            scripted_step("a"),
            scripted_step("b", "a"),
            scripted_step("c", max_retries=0),
            scripted_step("e", "c"),
            passthrough_step("f"),
        )
        failed = (await service.create(*steps, config=config))["id"]
        await provider.until_called("b")
        path = WORKFLOWS + failed
        for body in ({"name": "m"}, {"description": "d"}, {"description": None}, {}):
            assert (await service.client.patch(path, json=body)).status_code == 200
        assert (await service.verb(failed, "pause")).status_code == 200
        assert (await service.verb(failed, "resume")).status_code == 200
        provider.release("b")
        assert (await service.until_ended(failed))["status"] == "FAILED"
        retried = await service.create(scripted_step("d"), passthrough_step("g", "d"), start=False)
        assert (await service.verb(retried["id"], "start")).status_code == 200
        await provider.until_called("d")
        assert (await service.verb(retried["id"], "cancel")).status_code == 200
        for workflow_id in (failed, retried["id"]):
            assert (await service.verb(workflow_id, "cleanup", cleanup_tasks=True)).status_code == 200
        provider.release("d")
        await wait_until_quiet(service, workflow_store, failed, retried["id"])
    assert workflow_store.kinds >= {
        EventType(kind)
        for kind in (
            *("workflow.started", "workflow.paused", "workflow.resumed", "workflow.updated", "workflow.failed"),
            *("workflow.cancelled", "workflow.cleaned", "step.started", "step.retrying", "step.completed"),
            *("step.failed", "step.skipped", "step.cancelled"),
        )
    }


async def test_etags_change_with_remote_jobs_and_their_costs(
    memory: MemoryDatabase, tmp_path: Path, world: World
) -> None:
    prices = Prices({ProviderType.CUSTOM: {"*": 0.5}})
    async with (
        asyncio.timeout(60),
        running_service(memory, tmp_path / "data", prices=prices, grace_s=1, **world.settings) as service,
    ):
        workflow_store = observe(service)
        done = (await service.create(world.step("a"), world.step("b", depends_on=["a"])))["id"]
        assert (await service.until_ended(done))["cost"]["amounts"] == [{"amount": 1.0, "currency": "USD"}]
        # The job continues after the cancel. Its end and its cost become known after the workflow's end.
        world.hold()
        world.emulator.ignore_cancel = True
        polls = world.emulator.count("poll")
        too_late = (await service.create(world.step("c")))["id"]
        await eventually(lambda: world.emulator.count("poll") > polls, "it is polled")
        assert (await service.verb(too_late, "cancel")).json()["cost"]["unknown_attempts"] == 1
        await eventually(lambda: world.emulator.count("cancel") > 0, "it is cancelled")
        world.hold(held=False)
        await wait_until_quiet(service, workflow_store, too_late)
        world.emulator.ignore_cancel = False
        world.emulator.plan("submit", Fault.LOSE_AFTER)
        lost = (await service.create(world.step("d")))["id"]
        await service.until_ended(lost)
        world.hold()
        timed_out = (await service.create(world.step("e", config={"timeout_s": 0.3}, max_retries=0)))["id"]
        assert (await service.until_ended(timed_out))["status"] == "FAILED"
        await wait_until_quiet(service, workflow_store, done, lost, timed_out)
    assert workflow_store.kinds >= {
        EventType.STEP_SUBMITTED,
        EventType.STEP_OUTCOME_UNKNOWN,
        EventType.STEP_CANCEL_SETTLED,
        EventType.WORKFLOW_COMPLETED,
    }
    # Some writes have no event and change the answer all the same. They count as versions too.
    assert len(workflow_store.bodies) > 2 * len(workflow_store.kinds)
