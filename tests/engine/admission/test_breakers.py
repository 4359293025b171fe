"""Circuit breakers over a live service and a provider on real sockets that fails when told to."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.domain.errors import AttemptError
from stepwell.providers.local.provider import LocalProvider
from stepwell.settings import ModelLimits
from stepwell.testing import ManualClock, MemoryDatabase
from support.emulators.base import Fault
from support.providers.emulated import World, world_of
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

ATTEMPTS = 4  # max_retries 3, the default
FAILURES = 3  # breaker_failures, the default
SOON = {"retry": {"base_s": 0}}
TO_LOCAL = {"fallback_provider_type": "LOCAL"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(world_of(ProviderType.CUSTOM, tmp_path / "emulator"))


@pytest.fixture
async def service(world: World, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))


async def ended(service: Service, step: dict[str, Any]) -> dict[str, Any]:
    created = await service.create(step, config=SOON)
    return await service.until_ended(created["id"])


async def model_status(service: Service, **as_tenant: Any) -> dict[str, Any]:
    """Of the one model of CUSTOM that was asked for; {} if none is shown."""
    async with service.as_tenant(**as_tenant) as client:
        answer = await client.get("/api/v1/providers")
    assert answer.status_code == 200, answer.text
    (custom,) = [found for found in answer.json()["providers"] if found["provider_type"] == "CUSTOM"]
    models: list[dict[str, Any]] = custom["models"]
    assert len(models) <= 1
    return models[0] if models else {}


async def open_it(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    for _ in range(FAILURES):
        await ended(service, world.step())
    assert (await model_status(service, every=True))["breaker"]["state"] == "open"


async def test_every_step_has_its_own_retries_before_and_none_after(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    for number in range(1, FAILURES + 1):
        done = await ended(service, world.step(**TO_LOCAL))
        assert (done["status"], world.emulator.count("submit")) == ("COMPLETED", number * ATTEMPTS)
    done = await ended(service, world.step(**TO_LOCAL))
    assert (done["status"], done["steps"][0]["retry_count"]) == ("COMPLETED", 0)
    assert world.emulator.count("submit") == FAILURES * ATTEMPTS
    (told,) = [event for event in await service.events(done["id"]) if event["type"] == "step.diverted"]
    status = await model_status(service, every=True)
    assert told["data"] == {"from": "CUSTOM", "model": status["model"], "to": "LOCAL", "reason": "breaker_open"}
    assert (status["attempts"], status["error_rate"]) == (FAILURES * ATTEMPTS, 1.0)
    assert (status["breaker"]["failures"], status["breaker"]["open_until"] is not None) == (FAILURES, True)


async def test_many_steps_at_once_have_their_own_retries_each(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    created = await service.create(*(world.step(f"s{number}", **TO_LOCAL) for number in range(FAILURES)), config=SOON)
    await service.until_ended(created["id"])
    assert world.emulator.count("submit") == FAILURES * ATTEMPTS


async def test_one_step_alone_opens_nothing(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    done = await ended(service, world.step(max_retries=20))
    assert done["status"] == "FAILED"
    status = await model_status(service, every=True)
    assert (status["breaker"]["state"], status["attempts"]) == ("closed", 21)


async def test_what_is_the_requests_fault_opens_nothing(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.REFUSED)
    for _ in range(FAILURES + 1):
        assert (await ended(service, world.step()))["status"] == "FAILED"
    status = await model_status(service, every=True)
    assert (status["breaker"]["state"], status["attempts"], status["error_rate"]) == ("closed", 0, None)


@pytest.mark.parametrize(
    ("kind", "emulated", "config", "opens"),
    [
        (ProviderType.REPLICATE, {"outcome": "aborted"}, {"cancel_after_s": 5}, False),
        (ProviderType.REPLICATE, {"outcome": "aborted"}, {}, True),
        (ProviderType.COMFYUI, {"failure": ("RuntimeError", "The size of tensor a must match b")}, {}, False),
        (ProviderType.COMFYUI, {"failure": ("torch.cuda.OutOfMemoryError", "Allocation failed")}, {}, True),
    ],
)
async def test_what_a_job_says_of_its_own_request_opens_nothing(
    kind: ProviderType,
    emulated: dict[str, Any],
    config: dict[str, Any],
    opens: bool,  # noqa: FBT001 - a column
    memory: MemoryDatabase,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(kind, tmp_path / "emulator"))
        for name, value in emulated.items():
            setattr(world.emulator, name, value)
        service = await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))
        for _ in range(FAILURES):
            assert (await ended(service, world.step(max_retries=0, provider_config=config)))["status"] == "FAILED"
        providers = (await service.client.get("/api/v1/providers")).json()["providers"]
        (status,) = [model for found in providers for model in found["models"]]
        assert status["breaker"]["state"] == ("open" if opens else "closed")


async def test_without_a_fallback_steps_wait_and_one_goes_ahead_to_see(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_it(world, service)
        tried = world.emulator.count("submit")
        created = await service.create(*(world.step(f"s{number}", max_retries=0) for number in range(5)))
        assert (await model_status(service, every=True))["waiting"] == 5
        clock.advance(30)
        # The first to be let through fails, the others wait on; then it does well again.
        failed = await service.until(created["id"], lambda found: "FAILED" in {s["status"] for s in found["steps"]})
        assert world.emulator.count("submit") == tried + 1
        assert [step["status"] for step in failed["steps"]].count("PENDING") == 4
        world.emulator.always("submit", None)
        again = await service.verb(created["id"], "resume")
        assert again.status_code == 200, again.text
        clock.advance(60)
        done = await service.until_ended(created["id"])
        assert done["status"] == "COMPLETED", done["errors"]
        assert (await model_status(service, every=True))["breaker"] == {
            "state": "closed",
            "failures": 0,
            "open_until": None,
        }


async def test_where_the_fallback_is_down_too_the_step_waits(world: World, service: Service) -> None:
    await open_it(world, service)
    tried = world.emulator.count("submit")
    created = await service.create(world.step(fallback_provider_type="CUSTOM"), config=SOON)
    assert (await model_status(service, every=True))["waiting"] == 1
    found = await service.get(created["id"])
    assert (found["steps"][0]["status"], world.emulator.count("submit")) == ("PENDING", tried)


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_what_is_held_back_can_be_stopped(world: World, service: Service, verb: str) -> None:
    await open_it(world, service)
    created = await service.create(world.step())
    assert (await model_status(service, every=True))["waiting"] == 1
    answer = await service.verb(created["id"], verb)
    assert answer.json()["status"] == {"cancel": "CANCELLED", "pause": "PAUSED"}[verb]
    assert (await model_status(service, every=True))["waiting"] == 0
    if verb == "pause":
        await service.verb(created["id"], "resume")
        assert (await model_status(service, every=True))["waiting"] == 1


async def test_models_show_to_tenants_that_asked_for_them(world: World, service: Service, clock: ManualClock) -> None:
    world.hold()
    created = await service.create(world.step(), origin_tenant_id="acme")
    await eventually(lambda: len(world.emulator.ledger.jobs()) == 1, "it is taken")
    assert (await model_status(service, tenant="acme"))["in_flight"] == 1
    assert await model_status(service, tenant="other") == {}
    clock.advance(1.5)
    world.hold(held=False)
    await service.until_ended(created["id"])
    status = await model_status(service, tenant="acme")
    assert (status["in_flight"], status["attempts"], status["error_rate"]) == (0, 1, 0.0)
    assert status["latency_s"]["p50"] == status["latency_s"]["p99"] == 1.5


async def test_those_who_wait_go_on_when_the_first_to_be_let_through_fails(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    """Each in a workflow of its own, so that nothing but the breaker's next time moves them."""
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_it(world, service)
        first, *others = [await service.create(world.step(max_retries=0)) for _ in range(4)]
        clock.advance(30)
        assert (await service.until_ended(first["id"]))["status"] == "FAILED"
        world.emulator.always("submit", None)
        clock.advance(60)
        assert [(await service.until_ended(one["id"]))["status"] for one in others] == ["COMPLETED"] * 3


async def test_a_timer_that_is_a_little_early_loses_nobody(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_it(world, service)
        world.emulator.always("submit", None)
        made = [await service.create(world.step(max_retries=0)) for _ in range(2)]
        # A checkpoint whose answer took longer than the one before sets the clock back by as much.
        clock.set_back(0.02)
        clock.advance(30)
        assert (await model_status(service, every=True))["waiting"] == 2
        clock.advance(0.02)
        assert [(await service.until_ended(one["id"]))["status"] for one in made] == ["COMPLETED"] * 2


async def test_an_open_breaker_sends_to_the_fallback_whatever_the_models_own_rate(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    limits = ModelLimits({ProviderType.CUSTOM: {"*": ModelLimit(per_minute=0.5)}})
    settings = world.settings | {"breaker_failures": 1, "limits": limits}
    async with running_service(memory, tmp_path / "data", **settings) as service:
        world.emulator.always("submit", Fault.BROKEN)
        first = world.step("first", max_retries=0, **TO_LOCAL)
        waiting = [world.step(f"s{number}", max_retries=0, **TO_LOCAL) for number in range(3)]
        both = [await service.create(first), await service.create(*waiting)]
        # The second starts a minute after the first otherwise.
        later = await service.create(*waiting)
        for one in (*both, later):
            assert (await service.until_ended(one["id"], 20))["status"] == "COMPLETED"
    assert world.emulator.count("submit") == 1


async def test_any_number_of_models_may_fail(world: World, service: Service) -> None:
    """Names of models are the callers'; no more than a thousand are remembered."""
    world.emulator.always("submit", Fault.BROKEN)
    steps = [
        world.step(f"s{number}", max_retries=0, provider_config={"model": f"m{number}"}) for number in range(1_010)
    ]
    created = await service.create(*steps, config={"on_failure": "continue"})
    assert (await service.until_ended(created["id"], 240))["status"] == "FAILED"
    answer = await service.client.get("/api/v1/providers")
    (custom,) = [found for found in answer.json()["providers"] if found["provider_type"] == "CUSTOM"]
    assert len(custom["models"]) == 1_000


async def test_local_work_has_figures_by_type_of_task_and_no_breaker(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(memory_in_real_time, tmp_path) as service:
        await _check_figures_of_local_work(service, monkeypatch)


async def _check_figures_of_local_work(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"prompt": "a", "width": 32, "height": 32}
    step = {"id": "draw", "task_type": "GENERATION", "config": config, "max_retries": 0}
    definition = {"name": "n", "origin_instance": "o", "steps": [step]}

    async def broken(*_: Any) -> dict[str, Any]:
        raise AttemptError("a worker is gone", retryable=True)

    async def told(**as_tenant: Any) -> tuple[dict[str, Any], Any]:
        async with service.as_tenant(**as_tenant) as client:
            providers = (await client.get("/api/v1/providers")).json()["providers"]
            plan = (await client.post("/api/v1/workflows/plan", json=definition)).json()
        (local,) = [found for found in providers if found["provider_type"] == "LOCAL"]
        return {model["model"]: model for model in local["models"]}, plan

    with monkeypatch.context() as patch:
        patch.setattr(LocalProvider, "run", broken)
        for _ in range(FAILURES + 1):
            assert (await ended(service, step))["status"] == "FAILED"
    closed = {"state": "closed", "failures": 0, "open_until": None}
    models, plan = await told(every=True)
    found = models.pop("GENERATION")
    assert (found["attempts"], found["error_rate"], found["latency_s"]["p50"]) == (FAILURES + 1, 1.0, None)
    assert (found["breaker"], found["in_flight"], plan["critical_path_by"], models) == (closed, 0, "steps", {})

    assert (await ended(service, step))["status"] == "COMPLETED"
    models, plan = await told(every=True)
    found = models["GENERATION"]
    assert (found["attempts"], found["error_rate"], found["breaker"]) == (FAILURES + 2, 0.8, closed)
    took = found["latency_s"]["p50"]
    assert took > 0
    assert plan["steps"][0]["expected_s"] == took
    assert (plan["critical_path_by"], plan["critical_path_s"]) == ("expected_s", took)
    models, plan = await told(tenant="other")
    assert (models, plan["steps"][0]["expected_s"]) == ({}, None)


async def test_times_of_a_steps_own_that_are_too_short_open_nothing(world: World, service: Service) -> None:
    world.hold()
    for _ in range(FAILURES):
        done = await ended(service, world.step(max_retries=0, config={"timeout_s": 0.1}))
        assert done["error_message"] == "draw: timed out after 0.1 s"
    status = await model_status(service, every=True)
    assert (status["breaker"]["state"], status["breaker"]["failures"]) == ("closed", 0)
