"""Decisions about parked workflows: they go on here at once if there is room, and otherwise in their turn.

What must hold:
- A decision, a signal or a verb that comes while a workflow is parked isn't lost (F6).
- It changes only what it must: a workflow that still only waits stays parked (F18).
- A decision is late from the end of its wait on, whether that is recorded or not (F12).
"""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from stepwell.lifecycle.model import NEVER
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import nothing_left
from support.providers.scripted import Hang, ScriptedProvider, Succeed, eventually, scripted_step
from support.service.live_service import Service, serving, statuses_of
from support.workflows.delays import HOUR, in_memory, parked, state_of

STEPS = "/api/v1/workflows/{}/steps/{}/decision"


def approval(step_id: str = "ask", **config: Any) -> dict[str, Any]:
    return {"id": step_id, "task_type": "APPROVAL", "config": config}


async def decide(service: Service, workflow_id: str, step_id: str = "ask", choice: str = "approve") -> httpx.Response:
    return await service.client.post(STEPS.format(workflow_id, step_id), json={"choice": choice})


@pytest.fixture
def provider() -> ScriptedProvider:
    return ScriptedProvider()


@pytest.fixture
async def service(memory: MemoryDatabase, tmp_path: Path, provider: ScriptedProvider) -> AsyncIterator[Service]:
    async with serving(memory, tmp_path, provider, max_active_workflows=1) as service:
        yield service


async def test_a_decision_takes_a_parked_workflow_at_once(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    workflow_id = await parked(service, clock, approval(), scripted_step("after", "ask"))
    before = state_of(service, workflow_id).epoch
    assert state_of(service, workflow_id).wake_at == NEVER
    assert (await decide(service, workflow_id)).status_code == 200
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert state_of(service, workflow_id).epoch == before + 1  # it didn't wait for admission
    assert [call.step_id for call in provider.calls] == ["after"]


async def test_without_room_the_workflow_goes_on_in_its_turn(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    workflow_id = await parked(service, clock, approval(), scripted_step("after", "ask"))
    provider.default = Hang()
    busy = await service.create(scripted_step("busy"))
    await provider.until_called("busy")
    assert (await decide(service, workflow_id)).status_code == 200
    await eventually(lambda: in_memory(service) == {busy["id"]}, "it has left memory again")
    assert state_of(service, workflow_id).waits_for_admission
    assert statuses_of(await service.get(workflow_id)) == {"ask": "COMPLETED", "after": "PENDING"}
    provider.default = Succeed()
    provider.release("busy")
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"


async def test_a_workflow_that_still_only_waits_stays_parked(service: Service, clock: ManualClock) -> None:
    two = approval("one"), approval("two", timeout_s=2 * HOUR)
    workflow_id = await parked(service, clock, *two)
    before = state_of(service, workflow_id)
    until = before.wake_at
    assert (await decide(service, workflow_id, "one")).status_code == 200
    await eventually(lambda: nothing_left(service))
    after = state_of(service, workflow_id)
    assert (after.owner, after.wake_at, after.epoch) == (None, until, before.epoch)
    assert (await decide(service, workflow_id, "two")).status_code == 200
    assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert state_of(service, workflow_id).wake_at is None


async def test_a_decision_after_its_time_is_late_though_the_workflow_waits_for_a_place(
    service: Service, clock: ManualClock, provider: ScriptedProvider
) -> None:
    workflow_id = await parked(service, clock, approval(timeout_s=HOUR))
    provider.default = Hang()
    await service.create(scripted_step("busy"))
    await provider.until_called("busy")
    clock.advance(HOUR)
    await eventually(lambda: state_of(service, workflow_id).waits_for_admission, "it waits for a place")
    assert (await decide(service, workflow_id)).status_code == 409
    provider.release("busy")
    failed = await service.until_ended(workflow_id)
    assert (failed["status"], statuses_of(failed)) == ("FAILED", {"ask": "FAILED"})


async def test_a_refused_decision_leaves_the_workflow_parked(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock, approval())
    assert (await decide(service, workflow_id, choice="unknown")).status_code in {409, 422}
    await eventually(lambda: in_memory(service) == set())
    assert state_of(service, workflow_id).wake_at == NEVER


async def test_a_paused_workflow_that_was_parked_is_decided_and_deleted(service: Service, clock: ManualClock) -> None:
    workflow_id = await parked(service, clock, approval(), approval("other"), scripted_step("after", "ask"))
    assert (await service.verb(workflow_id, "pause")).status_code == 200
    assert (await decide(service, workflow_id)).status_code == 200
    paused = await service.get(workflow_id)
    assert (paused["status"], statuses_of(paused)["ask"]) == ("PAUSED", "COMPLETED")
    assert state_of(service, workflow_id).wake_at == NEVER
    assert (await service.verb(workflow_id, "cleanup")).status_code == 200
    assert state_of(service, workflow_id).wake_at is None
    await eventually(lambda: nothing_left(service))
