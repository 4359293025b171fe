"""Each reason why a step at a remote provider isn't moving, over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from stepwell.basics.errors import AttemptError
from stepwell.basics.setting_values import ModelLimits
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.ports.providers import Attempt, AttemptIO, Request
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.shared.credentials import Credentials
from stepwell.testing import MemoryDatabase
from support.emulators.base import Fault
from support.providers.emulated import World
from support.providers.scripted import eventually, scripted_step
from support.service.explain_requests import explain, reason_of, wait_for_code, wait_for_reason
from support.service.live_service import Service, running_service

AT_ONCE = {"retry": {"base_s": 0}}


@pytest.fixture
async def service(world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory_in_real_time, tmp_path / "data", **world.settings))


async def task_of(service: Service, workflow_id: str) -> dict[str, Any]:
    (task,) = (await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")).json()["tasks"]
    found: dict[str, Any] = task
    return found


async def test_a_running_job_is_reported_with_its_state_and_poll_error(world: World, service: Service) -> None:
    world.hold()
    created = await service.create(world.step())
    reason = await wait_for_reason(service, created["id"], "draw", lambda each: each.get("state") is not None)
    (job_id, _, _), task = world.emulator.ledger.jobs()[0], await task_of(service, created["id"])
    assert (reason["code"], reason["provider"], reason["remote_id"]) == ("remote_job", "CUSTOM", job_id)
    assert (reason["state"], reason["attempt"], reason["progress"], reason["trouble"]) == ("running", 1, None, None)
    assert task["sent_at"] <= reason["since"]
    assert reason["detail"] == f"Job {job_id} at CUSTOM is 'running' for {reason['seconds']:.0f} s."
    polls = world.emulator.count("poll")
    await eventually(lambda: world.emulator.count("poll") > polls + 1)
    later = await reason_of(service, created["id"], "draw")
    # It counts since the state changed, not since the last poll.
    assert (later["since"], later["state"]) == (reason["since"], "running")
    assert later["seconds"] > reason["seconds"]

    world.emulator.always("poll", Fault.UNAVAILABLE)
    reason = await wait_for_reason(service, created["id"], "draw", lambda each: each["trouble"] is not None)
    assert (reason["code"], reason["state"], reason["since"]) == ("remote_job", "running", later["since"])
    assert reason["trouble"] in reason["detail"]
    world.emulator.always("poll", None)
    await wait_for_reason(service, created["id"], "draw", lambda each: each["trouble"] is None)
    world.hold(held=False)
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_another_process_reports_what_is_stored_of_a_job_if_its_own_process_does_not_respond(
    world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    shared: dict[str, Any] = {"exclusive": False, "lease_s": 600}
    async with (
        running_service(memory_in_real_time, tmp_path / "1", **world.settings, **shared) as one,
        running_service(memory_in_real_time, tmp_path / "2", **world.settings, **shared) as two,
    ):
        created = await one.create(world.step())
        await wait_for_reason(one, created["id"], "draw", lambda each: each.get("state") == "running")
        assert (await reason_of(two, created["id"], "draw"))["state"] == "running"
        await two.app.services.commands.stop(0)  # from now on it asks nobody
        explanation, task = await explain(two, created["id"]), await task_of(two, created["id"])
        assert explanation["reason"]["code"] == "other_process"
        job = explanation["steps"]["draw"]["reason"]
        assert (job["code"], job["remote_id"], job["state"]) == ("remote_job", task["remote_id"], None)
        assert job["since"] == task["sent_at"]
        owner = explanation["reason"]["owner"]
        sent = f"Job {task['remote_id']} at CUSTOM was sent {job['seconds']:.0f} s ago"
        assert job["detail"] == f"{sent}; only process {owner}, which runs the workflow, knows how it stands."
        processes = memory_in_real_time.tables.processes
        processes[UUID(owner)] -= timedelta(hours=1)
        job = await reason_of(two, created["id"], "draw")
        ended = f"process {owner}, which looked at it, has ended; another takes the workflow over."
        assert (job["code"], job["detail"].partition("; ")[2]) == ("remote_job", ended)
        processes[UUID(owner)] += timedelta(hours=1)
        world.hold(held=False)
        await one.until_ended(created["id"])


async def test_a_request_is_sending_and_then_of_unknown_outcome(
    world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    settings = world.settings | {"reconcile_s": 600.0, "provider_timeout_s": 600.0}
    async with running_service(memory_in_real_time, tmp_path / "data", **settings) as service:
        world.emulator.plan("submit", Fault.HANG_AFTER)
        world.emulator.hide_from_listing = True
        created = await service.create(world.step())
        await eventually(lambda: world.emulator.count("submit") == 1)  # only then is sent_at stored
        reason = await wait_for_code(service, created["id"], "draw", "sending")
        sent_at = (await task_of(service, created["id"]))["sent_at"]
        assert reason | {"detail": ""} == {
            "code": "sending",
            "detail": "",
            "attempt": 1,
            "provider": "CUSTOM",
            "since": sent_at,
        }
        await eventually(lambda: world.emulator.count("submit") == 1)
        await world.cut()
        reason = await wait_for_code(service, created["id"], "draw", "outcome_unknown")
        assert (reason["since"], reason["attempt"], reason["provider"]) == (sent_at, 1, "CUSTOM")
        assert "its job is looked for" in reason["detail"]
        world.emulator.hide_from_listing = False
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


class SlowToPrepare(CustomProvider):
    """A remote provider whose `prepare` waits for `released`, and then fails."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        super().__init__(client, Credentials({}), url="http://127.0.0.1:1")
        self.released = asyncio.Event()

    async def prepare(self, _attempt: Attempt, _io: AttemptIO) -> Request:
        await self.released.wait()
        raise AttemptError("enough", retryable=False)


async def test_a_step_whose_request_is_prepared_is_preparing(
    memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        provider = SlowToPrepare(await stack.enter_async_context(httpx.AsyncClient()))
        service = await stack.enter_async_context(
            running_service(memory_in_real_time, tmp_path / "data", providers=[provider])
        )
        created = await service.create(scripted_step("a"))
        reason = await wait_for_reason(service, created["id"], "a", lambda each: each.get("doing") == "preparing")
        assert (reason["code"], reason["provider"], reason["attempt"]) == ("running_locally", "CUSTOM", 1)
        provider.released.set()
        assert (await service.until_ended(created["id"]))["errors"] == ["a: enough"]


async def test_a_step_whose_result_is_fetched_is_fetching(world: World, service: Service) -> None:
    world.emulator.always("file", Fault.HANG_AFTER)
    created = await service.create(world.step())
    reason = await wait_for_reason(service, created["id"], "draw", lambda each: each.get("doing") == "fetching")
    assert (reason["code"], reason["provider"], reason["attempt"]) == ("running_locally", "CUSTOM", 1)
    world.emulator.always("file", None)
    await eventually(lambda: world.emulator.count("file") == 1)
    world.emulator.let_go()
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


LIMITS = ModelLimits({ProviderType.CUSTOM: {"slow": ModelLimit(per_minute=2), "small": ModelLimit(concurrency=1)}})


async def test_steps_wait_for_the_slots_and_the_rate_of_their_model(
    world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    async with running_service(memory_in_real_time, tmp_path / "data", limits=LIMITS, **world.settings) as service:
        of = {
            name: [world.step(f"{name}{n}", provider_config={"model": name}) for n in range(3)]
            for name in LIMITS[ProviderType.CUSTOM]
        }
        created = await service.create(*of["slow"], *of["small"])
        for name in of:
            await wait_for_code(service, created["id"], f"{name}0", "remote_job")
        explanation = await explain(service, created["id"])
        small = [explanation["steps"][f"small{n}"]["reason"] for n in (1, 2)]
        assert [(wait["code"], wait["limit"], wait["position"]) for wait in small] == [
            ("waits_for_slot", "model", 1),
            ("waits_for_slot", "model", 2),
        ]
        assert {(wait["slots"], wait["used"], wait["provider"], wait["model"]) for wait in small} == {
            (1, 1, "CUSTOM", "small")
        }
        slow = [explanation["steps"][f"slow{n}"]["reason"] for n in (1, 2)]
        assert [(wait["code"], wait["position"], wait["per_minute"]) for wait in slow] == [
            ("rate_limited", 1, 2.0),
            ("rate_limited", 2, 2.0),
        ]
        first, second = (datetime.fromisoformat(wait["until"]) for wait in slow)
        started = datetime.fromisoformat(explanation["steps"]["slow0"]["reason"]["since"])
        assert (second - first).total_seconds() == pytest.approx(30, abs=0.01)
        assert 20 < (first - started).total_seconds() <= 30
        world.hold(held=False)


async def test_a_step_waits_for_an_open_breaker_and_then_for_its_probe(
    world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    settings = world.settings | {"breaker_failures": 1, "breaker_reset_s": 0.5}
    async with running_service(memory_in_real_time, tmp_path / "data", **settings) as service:
        world.emulator.always("submit", Fault.BROKEN)
        failed = await service.create(world.step(max_retries=0), config=AT_ONCE)
        assert (await service.until_ended(failed["id"]))["status"] == "FAILED"
        world.emulator.always("submit", None)
        world.hold()
        created = await service.create(world.step("a"), world.step("b"))
        reason = await wait_for_code(service, created["id"], "b", "breaker_open")
        assert (reason["provider"], reason["model"]) == ("CUSTOM", "GENERATION")
        assert reason["probing"] or re.search(r"nothing is sent to it until 2\S+Z\.$", reason["detail"])
        assert reason["until"] is not None
        reason = await wait_for_reason(service, created["id"], "b", lambda each: bool(each.get("probing")))
        assert reason["detail"].endswith("and this step waits for its end.")
        assert (await wait_for_code(service, created["id"], "a", "remote_job"))["attempt"] == 1
        world.hold(held=False)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_cancelled_step_is_following_up_until_its_job_has_ended(world: World, service: Service) -> None:
    world.hold()
    world.emulator.ignore_cancel = True
    created = await service.create(world.step(), world.step("later", depends_on=["draw"]))
    reason = await wait_for_code(service, created["id"], "draw", "remote_job")
    assert (await service.verb(created["id"], "cancel")).status_code == 200
    explanation = await explain(service, created["id"])
    assert (explanation["status"], explanation["reason"], set(explanation["steps"])) == ("CANCELLED", None, {"draw"})
    step = explanation["steps"]["draw"]
    assert (step["status"], step["reason"]["code"]) == ("CANCELLED", "following_up")
    assert (step["reason"]["provider"], step["reason"]["remote_id"]) == ("CUSTOM", reason["remote_id"])
    assert step["reason"]["until"] > reason["since"]
    world.hold(held=False)
    await service.app.services.workflows.until_idle(UUID(created["id"]))
    assert (await explain(service, created["id"]))["steps"] == {}


async def test_attempts_of_an_earlier_process_take_slots_at_once_and_new_steps_wait(
    world: World, memory_in_real_time: MemoryDatabase, tmp_path: Path
) -> None:
    world.hold()
    async with running_service(memory_in_real_time, tmp_path / "data", **world.settings) as service:
        created = await service.create(world.step("a"), world.step("b"))
        for step in ("a", "b"):
            await wait_for_code(service, created["id"], step, "remote_job")
    async with running_service(
        memory_in_real_time, tmp_path / "data", max_steps_per_provider=1, **world.settings
    ) as service:
        for step in ("a", "b"):
            await wait_for_reason(service, created["id"], step, lambda each: each.get("state") == "running")
        new = await service.create(world.step("c"))
        reason = await reason_of(service, new["id"], "c")
        assert (reason["code"], reason["limit"], reason["position"]) == ("waits_for_slot", "provider", 1)
        assert (reason["slots"], reason["used"]) == (1, 2)
        world.hold(held=False)
        for workflow in (created, new):
            assert (await service.until_ended(workflow["id"]))["status"] == "COMPLETED"
        assert world.accepted() == [1, 1, 1]
