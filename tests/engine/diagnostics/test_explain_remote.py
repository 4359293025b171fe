"""Each reason that a provider elsewhere may give a step not to move, over real sockets."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.domain.errors import AttemptError
from stepwell.ports.providers import Attempt, AttemptIO, Request
from stepwell.providers.custom.provider import CustomProvider
from stepwell.providers.shared.credentials import Credentials
from stepwell.settings import ModelLimits
from support.emulators.base import Fault
from support.providers.emulated import World, world_of
from support.providers.scripted import eventually, scripted
from support.service.explain_requests import explained, reason, until_code, until_told
from support.service.live_service import Service, running_service

AT_ONCE = {"retry": {"base_s": 0}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path / "emulator"))


@pytest.fixture
async def service(world: World, dsn: str, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(dsn, tmp_path / "data", **world.settings))


async def task_of(service: Service, workflow_id: str) -> dict[str, Any]:
    (task,) = (await service.client.get(f"/api/v1/workflows/{workflow_id}/tasks")).json()["tasks"]
    found: dict[str, Any] = task
    return found


async def test_a_job_that_goes_on(world: World, service: Service) -> None:
    world.hold()
    created = await service.create(world.step())
    told = await until_told(service, created["id"], "draw", lambda found: found.get("state") is not None)
    (job_id, _, _), task = world.emulator.ledger.jobs()[0], await task_of(service, created["id"])
    assert (told["code"], told["provider"], told["remote_id"]) == ("remote_job", "CUSTOM", job_id)
    assert (told["state"], told["attempt"], told["progress"], told["trouble"]) == ("running", 1, None, None)
    assert task["sent_at"] <= told["since"]
    assert told["detail"] == f"Job {job_id} at CUSTOM is 'running' for {told['seconds']:.0f} s."
    looks = world.emulator.count("poll")
    await eventually(lambda: world.emulator.count("poll") > looks + 1)
    later = await reason(service, created["id"], "draw")
    assert (later["since"], later["state"]) == (told["since"], "running")  # since it is, not since the last look
    assert later["seconds"] > told["seconds"]

    world.emulator.always("poll", Fault.UNAVAILABLE)
    told = await until_told(service, created["id"], "draw", lambda found: found["trouble"] is not None)
    assert (told["code"], told["state"], told["since"]) == ("remote_job", "running", later["since"])
    assert told["trouble"] in told["detail"]
    world.emulator.always("poll", None)
    await until_told(service, created["id"], "draw", lambda found: found["trouble"] is None)
    world.hold(held=False)
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_what_is_stored_of_a_job_is_told_by_a_process_that_does_not_run_it(
    world: World, dsn: str, tmp_path: Path
) -> None:
    world.hold()
    shared: dict[str, Any] = {"exclusive": False, "lease_s": 600}
    async with (
        running_service(dsn, tmp_path / "1", **world.settings, **shared) as one,
        running_service(dsn, tmp_path / "2", **world.settings, **shared) as two,
    ):
        created = await one.create(world.step())
        await until_code(one, created["id"], "draw", "remote_job")
        told, task = await explained(two, created["id"]), await task_of(two, created["id"])
        assert told["reason"]["code"] == "other_process"
        job = told["steps"]["draw"]["reason"]
        assert (job["code"], job["remote_id"], job["state"]) == ("remote_job", task["remote_id"], None)
        assert job["since"] == task["sent_at"]
        sent, owner = f"Job {task['remote_id']} at CUSTOM was sent {job['seconds']:.0f} s ago", told["reason"]["owner"]
        assert job["detail"] == f"{sent}; only process {owner}, which runs the workflow, knows how it stands."
        connection, lease = await asyncpg.connect(dsn), "UPDATE processes SET lease_until = clock_timestamp() "
        await connection.execute(lease + "- interval '1 s' WHERE id = $1", UUID(owner))
        job = await reason(two, created["id"], "draw")
        ended = f"process {owner}, which looked at it, has ended; another takes the workflow over."
        assert (job["code"], job["detail"].partition("; ")[2]) == ("remote_job", ended)
        await connection.execute(lease + "+ interval '1 minute'")
        await connection.close()
        world.hold(held=False)
        await one.until_ended(created["id"])


async def test_what_is_being_sent_and_what_nobody_has_heard_of_since(world: World, dsn: str, tmp_path: Path) -> None:
    settings = world.settings | {"reconcile_s": 600.0, "provider_timeout_s": 600.0}
    async with running_service(dsn, tmp_path / "data", **settings) as service:
        world.emulator.plan("submit", Fault.HANG_AFTER)
        world.emulator.hide_from_listing = True
        created = await service.create(world.step())
        told = await until_code(service, created["id"], "draw", "sending")
        sent_at = (await task_of(service, created["id"]))["sent_at"]
        assert told | {"detail": ""} == {
            "code": "sending",
            "detail": "",
            "attempt": 1,
            "provider": "CUSTOM",
            "since": sent_at,
        }
        await eventually(lambda: world.emulator.count("submit") == 1)
        await world.cut()
        told = await until_code(service, created["id"], "draw", "outcome_unknown")
        assert (told["since"], told["attempt"], told["provider"]) == (sent_at, 1, "CUSTOM")
        assert "its job is looked for" in told["detail"]
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


async def test_inputs_on_their_way(dsn: str, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        provider = SlowToPrepare(await stack.enter_async_context(httpx.AsyncClient()))
        service = await stack.enter_async_context(running_service(dsn, tmp_path / "data", providers=[provider]))
        created = await service.create(scripted("a"))
        told = await until_told(service, created["id"], "a", lambda found: found.get("doing") == "preparing")
        assert (told["code"], told["provider"], told["attempt"]) == ("running_locally", "CUSTOM", 1)
        provider.released.set()
        assert (await service.until_ended(created["id"]))["errors"] == ["a: enough"]


async def test_results_on_their_way(world: World, service: Service) -> None:
    world.emulator.always("file", Fault.HANG_AFTER)
    created = await service.create(world.step())
    told = await until_told(service, created["id"], "draw", lambda found: found.get("doing") == "fetching")
    assert (told["code"], told["provider"], told["attempt"]) == ("running_locally", "CUSTOM", 1)
    world.emulator.always("file", None)
    await eventually(lambda: world.emulator.count("file") == 1)
    world.emulator.let_go()
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


LIMITS = ModelLimits({ProviderType.CUSTOM: {"slow": ModelLimit(per_minute=2), "small": ModelLimit(concurrency=1)}})


async def test_limits_of_models(world: World, dsn: str, tmp_path: Path) -> None:
    world.hold()
    async with running_service(dsn, tmp_path / "data", limits=LIMITS, **world.settings) as service:
        of = {
            name: [world.step(f"{name}{n}", provider_config={"model": name}) for n in range(3)]
            for name in LIMITS[ProviderType.CUSTOM]
        }
        created = await service.create(*of["slow"], *of["small"])
        for name in of:
            await until_code(service, created["id"], f"{name}0", "remote_job")
        told = await explained(service, created["id"])
        small = [told["steps"][f"small{n}"]["reason"] for n in (1, 2)]
        assert [(wait["code"], wait["limit"], wait["position"]) for wait in small] == [
            ("waits_for_slot", "model", 1),
            ("waits_for_slot", "model", 2),
        ]
        assert {(wait["slots"], wait["used"], wait["provider"], wait["model"]) for wait in small} == {
            (1, 1, "CUSTOM", "small")
        }
        slow = [told["steps"][f"slow{n}"]["reason"] for n in (1, 2)]
        assert [(wait["code"], wait["position"], wait["per_minute"]) for wait in slow] == [
            ("rate_limited", 1, 2.0),
            ("rate_limited", 2, 2.0),
        ]
        first, second = (datetime.fromisoformat(wait["until"]) for wait in slow)
        started = datetime.fromisoformat(told["steps"]["slow0"]["reason"]["since"])
        assert (second - first).total_seconds() == pytest.approx(30, abs=0.01)
        assert 20 < (first - started).total_seconds() <= 30
        world.hold(held=False)


async def test_a_breaker_that_is_open_and_then_lets_one_through(world: World, dsn: str, tmp_path: Path) -> None:
    settings = world.settings | {"breaker_failures": 1, "breaker_reset_s": 0.5}
    async with running_service(dsn, tmp_path / "data", **settings) as service:
        world.emulator.always("submit", Fault.BROKEN)
        failed = await service.create(world.step(max_retries=0), config=AT_ONCE)
        assert (await service.until_ended(failed["id"]))["status"] == "FAILED"
        world.emulator.always("submit", None)
        world.hold()
        created = await service.create(world.step("a"), world.step("b"))
        told = await until_code(service, created["id"], "b", "breaker_open")
        assert (told["provider"], told["model"]) == ("CUSTOM", "GENERATION")
        assert told["probing"] or re.search(r"nothing is sent to it until 2\S+Z\.$", told["detail"])
        assert told["until"] is not None
        told = await until_told(service, created["id"], "b", lambda found: bool(found.get("probing")))
        assert told["detail"].endswith("and this step waits for its end.")
        assert (await until_code(service, created["id"], "a", "remote_job"))["attempt"] == 1
        world.hold(held=False)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_job_that_is_still_to_be_ended(world: World, service: Service) -> None:
    world.hold()
    world.emulator.ignore_cancel = True
    created = await service.create(world.step(), world.step("later", depends_on=["draw"]))
    told = await until_code(service, created["id"], "draw", "remote_job")
    assert (await service.verb(created["id"], "cancel")).status_code == 200
    answer = await explained(service, created["id"])
    assert (answer["status"], answer["reason"], set(answer["steps"])) == ("CANCELLED", None, {"draw"})
    step = answer["steps"]["draw"]
    assert (step["status"], step["reason"]["code"]) == ("CANCELLED", "following_up")
    assert (step["reason"]["provider"], step["reason"]["remote_id"]) == ("CUSTOM", told["remote_id"])
    assert step["reason"]["until"] > told["since"]
    world.hold(held=False)
    await service.app.service.until_idle(UUID(created["id"]))
    assert (await explained(service, created["id"]))["steps"] == {}


async def test_attempts_of_an_earlier_process_wait_for_slots_too(world: World, dsn: str, tmp_path: Path) -> None:
    world.hold()
    async with running_service(dsn, tmp_path / "data", **world.settings) as service:
        created = await service.create(world.step("a"), world.step("b"))
        for step in ("a", "b"):
            await until_code(service, created["id"], step, "remote_job")
    async with running_service(dsn, tmp_path / "data", max_steps_per_provider=1, **world.settings) as service:
        await until_told(service, created["id"], "a", lambda found: found.get("state") == "running")
        told = await reason(service, created["id"], "b")
        assert (told["code"], told["limit"], told["position"]) == ("waits_for_slot", "provider", 1)
        world.hold(held=False)
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert world.accepted() == [1, 1]
