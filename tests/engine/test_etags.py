"""Whatever changes what GET shows of a workflow changes its ETag: looked at after every single commit."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import UUID

import pytest

from stepwell.contract.enums import EventType, ProviderType
from stepwell.domain.lifecycle.decision import Decision
from stepwell.ports.storage import WorkflowStore
from stepwell.settings import Prices
from stepwell.testing import MemoryDatabase
from support.database.failing_store import FaultyJournal, faulty, nothing_left
from support.emulators.base import Fault
from support.providers.emulated import World, world_of
from support.providers.scripted import Fail, Hang, Outcome, Scripted, Succeed, eventually, passthrough, scripted
from support.service.live_service import Service, running_service

WORKFLOWS = "/api/v1/workflows/"


class Witness(FaultyJournal):
    """Looks at the workflows of each batch once it is written. `shown`: what there was under each ETag."""

    def __init__(self, inner: WorkflowStore, service: Service) -> None:
        super().__init__(inner)
        self.service = service
        self.shown: dict[tuple[str, str], bytes] = {}
        self.kinds: set[EventType] = set()

    async def write(self, batch: Sequence[Decision]) -> set[UUID]:
        lost = await super().write(batch)
        for decision in batch:
            self.kinds |= {event.type for event in decision.events}
            await self.look(str(decision.workflow.id))
        return lost

    async def look(self, workflow_id: str) -> None:
        for steps in (True, False):
            answer = await self.service.client.get(WORKFLOWS + workflow_id, params={"include_steps": steps})
            tag = answer.headers["etag"]
            assert self.shown.setdefault((workflow_id, tag), answer.content) == answer.content, tag
            known = await self.service.client.get(
                WORKFLOWS + workflow_id, params={"include_steps": steps}, headers={"If-None-Match": tag}
            )
            # Nothing has been written meanwhile: only the witness writes.
            assert (known.status_code, known.headers["etag"]) == (304, tag)


def witnessed(service: Service) -> Witness:
    journal = faulty(service)
    journal.inner = witness = Witness(journal.inner, service)
    return witness


async def quiet(service: Service, witness: Witness, *workflow_ids: str) -> None:
    await eventually(lambda: nothing_left(service), "all is over")
    for workflow_id in workflow_ids:
        await witness.look(workflow_id)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with world_of(ProviderType.CUSTOM, tmp_path / "emulator") as made:
        yield made


async def test_what_runs_here(memory: MemoryDatabase, tmp_path: Path) -> None:
    script: dict[str, list[Outcome]] = {
        "a": [Fail("once", before=2), Succeed({"x": 1})],
        "b": [Hang()],
        "c": [Fail("no", retryable=False)] * 2,
        "d": [Hang(then=Fail("later"))],
    }
    provider = Scripted(script=script)
    async with asyncio.timeout(60), running_service(memory, tmp_path, providers=[provider], grace_s=1) as service:
        witness = witnessed(service)
        goes_on = {"retry": {"base_s": 0}, "on_failure": "continue"}
        steps = (scripted("a"), scripted("b", "a"), scripted("c", max_retries=0), scripted("e", "c"), passthrough("f"))
        failed = (await service.create(*steps, config=goes_on))["id"]
        await provider.until_called("b")
        path = WORKFLOWS + failed
        for body in ({"name": "m"}, {"description": "d"}, {"description": None}, {}):
            assert (await service.client.patch(path, json=body)).status_code == 200
        assert (await service.verb(failed, "pause")).status_code == 200
        assert (await service.verb(failed, "resume")).status_code == 200
        provider.release("b")
        assert (await service.until_ended(failed))["status"] == "FAILED"
        retried = await service.create(scripted("d"), passthrough("g", "d"), start=False)
        assert (await service.verb(retried["id"], "start")).status_code == 200
        await provider.until_called("d")
        assert (await service.verb(retried["id"], "cancel")).status_code == 200
        for workflow_id in (failed, retried["id"]):
            assert (await service.verb(workflow_id, "cleanup", cleanup_tasks=True)).status_code == 200
        provider.release("d")
        await quiet(service, witness, failed, retried["id"])
    assert witness.kinds >= {
        EventType(f"{of}")
        for of in (
            *("workflow.started", "workflow.paused", "workflow.resumed", "workflow.updated", "workflow.failed"),
            *("workflow.cancelled", "workflow.cleaned", "step.started", "step.retrying", "step.completed"),
            *("step.failed", "step.skipped", "step.cancelled"),
        )
    }


async def test_what_runs_elsewhere_and_what_it_costs(memory: MemoryDatabase, tmp_path: Path, world: World) -> None:
    prices = Prices({ProviderType.CUSTOM: {"*": 0.5}})
    async with (
        asyncio.timeout(60),
        running_service(memory, tmp_path / "data", prices=prices, grace_s=1, **world.settings) as service,
    ):
        witness = witnessed(service)
        done = (await service.create(world.step("a"), world.step("b", depends_on=["a"])))["id"]
        assert (await service.until_ended(done))["cost"]["amounts"] == [{"amount": 1.0, "currency": "USD"}]
        # Given up while it goes on there: what becomes of it, and what it costs, is found out after the end.
        world.hold()
        world.emulator.ignore_cancel = True
        polls = world.emulator.count("poll")
        too_late = (await service.create(world.step("c")))["id"]
        await eventually(lambda: world.emulator.count("poll") > polls, "it is asked about")
        assert (await service.verb(too_late, "cancel")).json()["cost"]["unknown_attempts"] == 1
        await eventually(lambda: world.emulator.count("cancel") > 0, "it is cancelled")
        world.hold(held=False)
        await quiet(service, witness, too_late)
        world.emulator.ignore_cancel = False
        world.emulator.plan("submit", Fault.LOSE_AFTER)
        lost = (await service.create(world.step("d")))["id"]
        await service.until_ended(lost)
        world.hold()
        timed_out = (await service.create(world.step("e", config={"timeout_s": 0.3}, max_retries=0)))["id"]
        assert (await service.until_ended(timed_out))["status"] == "FAILED"
        await quiet(service, witness, done, lost, timed_out)
    assert witness.kinds >= {
        EventType.STEP_SUBMITTED,
        EventType.STEP_OUTCOME_UNKNOWN,
        EventType.STEP_CANCEL_SETTLED,
        EventType.WORKFLOW_COMPLETED,
    }
    # There are writes that are no event, and change what is shown: versions count them.
    assert len(witness.shown) > 2 * len(witness.kinds)
