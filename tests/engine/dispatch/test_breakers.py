"""Circuit breakers of a live service with a provider on real sockets whose faults the tests choose."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from stepwell.basics.errors import AttemptError
from stepwell.basics.setting_values import ModelLimits
from stepwell.contract.enums import ProviderType
from stepwell.contract.providers import ModelLimit
from stepwell.providers.local.provider import LocalProvider
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.failing_store import nothing_left
from support.emulators.base import Fault
from support.providers.emulated import World, world_of
from support.providers.scripted import eventually
from support.service.live_service import Service, running_service

ATTEMPTS = 4  # max_retries 3, the default
FAILURES = 3  # breaker_failures, the default
SOON = {"retry": {"base_s": 0}}
TO_LOCAL = {"fallback_provider_type": "LOCAL"}


@pytest.fixture
async def service(world: World, memory: MemoryDatabase, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        yield await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))


async def run_step(service: Service, step: dict[str, Any]) -> dict[str, Any]:
    """Run a workflow of one step to its end, and return it."""
    created = await service.create(step, config=SOON)
    return await service.until_ended(created["id"])


async def model_status(service: Service, **as_tenant: Any) -> dict[str, Any]:
    """Return the status of the only model of CUSTOM that was used; {} if the tenant sees none."""
    async with service.as_tenant(**as_tenant) as client:
        response = await client.get("/api/v1/providers")
    assert response.status_code == 200, response.text
    (custom,) = [found for found in response.json()["providers"] if found["provider_type"] == "CUSTOM"]
    models: list[dict[str, Any]] = custom["models"]
    assert len(models) <= 1
    return models[0] if models else {}


async def open_breaker(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    for _ in range(FAILURES):
        await run_step(service, world.step())
    assert (await model_status(service, every=True))["breaker"]["state"] == "open"


async def test_an_open_breaker_diverts_steps_without_an_attempt(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    for number in range(1, FAILURES + 1):
        done = await run_step(service, world.step(**TO_LOCAL))
        assert (done["status"], world.emulator.count("submit")) == ("COMPLETED", number * ATTEMPTS)
    done = await run_step(service, world.step(**TO_LOCAL))
    assert (done["status"], done["steps"][0]["retry_count"]) == ("COMPLETED", 0)
    assert world.emulator.count("submit") == FAILURES * ATTEMPTS
    (diverted,) = [event for event in await service.events(done["id"]) if event["type"] == "step.diverted"]
    status = await model_status(service, every=True)
    assert diverted["data"] == {"from": "CUSTOM", "model": status["model"], "to": "LOCAL", "reason": "breaker_open"}
    assert (status["attempts"], status["error_rate"]) == (FAILURES * ATTEMPTS, 1.0)
    assert (status["breaker"]["failures"], status["breaker"]["open_until"] is not None) == (FAILURES, True)
    await eventually(lambda: nothing_left(service), "the diverted step has left no slot")


async def test_concurrent_steps_each_have_all_their_retries(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    created = await service.create(*(world.step(f"s{number}", **TO_LOCAL) for number in range(FAILURES)), config=SOON)
    await service.until_ended(created["id"])
    assert world.emulator.count("submit") == FAILURES * ATTEMPTS


async def test_one_failing_step_alone_does_not_open_the_breaker(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.BROKEN)
    done = await run_step(service, world.step(max_retries=20))
    assert done["status"] == "FAILED"
    status = await model_status(service, every=True)
    assert (status["breaker"]["state"], status["attempts"]) == ("closed", 21)


async def test_refused_requests_do_not_open_the_breaker(world: World, service: Service) -> None:
    world.emulator.always("submit", Fault.REFUSED)
    for _ in range(FAILURES + 1):
        assert (await run_step(service, world.step()))["status"] == "FAILED"
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
async def test_only_failed_jobs_that_are_the_providers_fault_open_the_breaker(
    kind: ProviderType,
    emulated: dict[str, Any],
    config: dict[str, Any],
    opens: bool,  # noqa: FBT001 - a parameter of the test
    memory: MemoryDatabase,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(world_of(kind, tmp_path / "emulator"))
        for name, value in emulated.items():
            setattr(world.emulator, name, value)
        service = await stack.enter_async_context(running_service(memory, tmp_path / "data", **world.settings))
        for _ in range(FAILURES):
            assert (await run_step(service, world.step(max_retries=0, provider_config=config)))["status"] == "FAILED"
        providers = (await service.client.get("/api/v1/providers")).json()["providers"]
        (status,) = [model for found in providers for model in found["models"]]
        assert status["breaker"]["state"] == ("open" if opens else "closed")


async def test_steps_without_a_fallback_wait_while_one_tests_the_provider(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_breaker(world, service)
        tried = world.emulator.count("submit")
        created = await service.create(*(world.step(f"s{number}", max_retries=0) for number in range(5)))
        assert (await model_status(service, every=True))["waiting"] == 5
        clock.advance(30)
        # The one that is let through fails, and the others keep waiting. Then the provider works again.
        failed = await service.until(
            created["id"], lambda workflow: "FAILED" in {s["status"] for s in workflow["steps"]}
        )
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


async def test_a_step_waits_if_the_breaker_of_its_fallback_is_open_too(world: World, service: Service) -> None:
    await open_breaker(world, service)
    tried = world.emulator.count("submit")
    created = await service.create(world.step(fallback_provider_type="CUSTOM"), config=SOON)
    assert (await model_status(service, every=True))["waiting"] == 1
    workflow = await service.get(created["id"])
    assert (workflow["steps"][0]["status"], world.emulator.count("submit")) == ("PENDING", tried)


@pytest.mark.parametrize("verb", ["cancel", "pause"])
async def test_a_step_that_a_breaker_holds_back_can_be_cancelled_and_paused(
    world: World, service: Service, verb: str
) -> None:
    await open_breaker(world, service)
    created = await service.create(world.step())
    assert (await model_status(service, every=True))["waiting"] == 1
    response = await service.verb(created["id"], verb)
    assert response.json()["status"] == {"cancel": "CANCELLED", "pause": "PAUSED"}[verb]
    assert (await model_status(service, every=True))["waiting"] == 0
    if verb == "pause":
        await service.verb(created["id"], "resume")
        assert (await model_status(service, every=True))["waiting"] == 1


async def test_tenants_see_only_the_models_that_they_used(world: World, service: Service, clock: ManualClock) -> None:
    world.hold()
    created = await service.create(world.step(), origin_tenant_id="acme")
    await eventually(lambda: len(world.emulator.ledger.jobs()) == 1, "it is submitted")
    assert (await model_status(service, tenant="acme"))["in_flight"] == 1
    assert await model_status(service, tenant="other") == {}
    clock.advance(1.5)
    world.hold(held=False)
    await service.until_ended(created["id"])
    status = await model_status(service, tenant="acme")
    assert (status["in_flight"], status["attempts"], status["error_rate"]) == (0, 1, 0.0)
    assert status["latency_s"]["p50"] == status["latency_s"]["p99"] == 1.5


async def test_steps_that_wait_continue_after_the_first_test_fails(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    """Each step is in a workflow of its own, so that only the breaker's timer moves it."""
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_breaker(world, service)
        first, *others = [await service.create(world.step(max_retries=0)) for _ in range(4)]
        clock.advance(30)
        assert (await service.until_ended(first["id"]))["status"] == "FAILED"
        world.emulator.always("submit", None)
        clock.advance(60)
        assert [(await service.until_ended(one["id"]))["status"] for one in others] == ["COMPLETED"] * 3


async def test_a_timer_that_fires_a_little_early_loses_no_step(
    world: World, memory: MemoryDatabase, clock: ManualClock, tmp_path: Path
) -> None:
    async with running_service(memory, tmp_path / "data", breaker_reset_s=30, **world.settings) as service:
        await open_breaker(world, service)
        world.emulator.always("submit", None)
        made = [await service.create(world.step(max_retries=0)) for _ in range(2)]
        # A checkpoint whose answer took longer than the one before sets the clock back by as much.
        clock.set_back(0.02)
        clock.advance(30)
        assert (await model_status(service, every=True))["waiting"] == 2
        clock.advance(0.02)
        assert [(await service.until_ended(one["id"]))["status"] for one in made] == ["COMPLETED"] * 2


async def test_an_open_breaker_diverts_at_once_whatever_the_models_rate_limit(
    world: World, memory: MemoryDatabase, tmp_path: Path
) -> None:
    limits = ModelLimits({ProviderType.CUSTOM: {"*": ModelLimit(per_minute=0.1)}})
    settings = world.settings | {"breaker_failures": 1, "limits": limits}
    async with running_service(memory, tmp_path / "data", **settings) as service:
        world.emulator.always("submit", Fault.BROKEN)
        first = world.step("first", max_retries=0, **TO_LOCAL)
        waiting = [world.step(f"s{number}", max_retries=0, **TO_LOCAL) for number in range(3)]
        both = [await service.create(first), await service.create(*waiting)]
        # The second starts ten minutes after the first otherwise.
        later = await service.create(*waiting)
        for one in (*both, later):
            assert (await service.until_ended(one["id"]))["status"] == "COMPLETED"
    assert world.emulator.count("submit") == 1


async def test_no_more_models_than_the_bound_are_remembered(
    world: World, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stepwell.engine.dispatch.model_health._MOST_MODELS", 20)  # a thousand would take long
    world.emulator.always("submit", Fault.BROKEN)
    for start in range(0, 33, 11):  # models in use stay
        models = [{"model": f"m{number}"} for number in range(start, start + 11)]
        steps = [world.step(each["model"], max_retries=0, provider_config=each) for each in models]
        created = await service.create(*steps, config={"on_failure": "continue"})
        assert (await service.until_ended(created["id"]))["status"] == "FAILED"
    response = await service.client.get("/api/v1/providers")
    (custom,) = [found for found in response.json()["providers"] if found["provider_type"] == "CUSTOM"]
    assert len(custom["models"]) == 20


async def test_local_work_has_statistics_by_type_of_task_and_no_breaker(
    memory_in_real_time: MemoryDatabase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_service(memory_in_real_time, tmp_path) as service:
        await _check_figures_of_local_work(service, monkeypatch)


async def _check_figures_of_local_work(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    config = {"prompt": "a", "width": 32, "height": 32}
    step = {"id": "draw", "task_type": "GENERATION", "config": config, "max_retries": 0}
    definition = {"name": "n", "origin_instance": "o", "steps": [step]}

    async def broken(*_: Any) -> dict[str, Any]:
        raise AttemptError("a worker has died", retryable=True)

    async def models_and_plan(**as_tenant: Any) -> tuple[dict[str, Any], Any]:
        async with service.as_tenant(**as_tenant) as client:
            providers = (await client.get("/api/v1/providers")).json()["providers"]
            plan = (await client.post("/api/v1/workflows/plan", json=definition)).json()
        (local,) = [found for found in providers if found["provider_type"] == "LOCAL"]
        return {model["model"]: model for model in local["models"]}, plan

    with monkeypatch.context() as patch:
        patch.setattr(LocalProvider, "run", broken)
        for _ in range(FAILURES + 1):
            assert (await run_step(service, step))["status"] == "FAILED"
    closed = {"state": "closed", "failures": 0, "open_until": None}
    models, plan = await models_and_plan(every=True)
    found = models.pop("GENERATION")
    assert (found["attempts"], found["error_rate"], found["latency_s"]["p50"]) == (FAILURES + 1, 1.0, None)
    assert (found["breaker"], found["in_flight"], plan["critical_path_by"], models) == (closed, 0, "steps", {})

    assert (await run_step(service, step))["status"] == "COMPLETED"
    models, plan = await models_and_plan(every=True)
    found = models["GENERATION"]
    assert (found["attempts"], found["error_rate"], found["breaker"]) == (FAILURES + 2, 0.8, closed)
    took = found["latency_s"]["p50"]
    assert took > 0
    assert plan["steps"][0]["expected_s"] == took
    assert (plan["critical_path_by"], plan["critical_path_s"]) == ("expected_s", took)
    models, plan = await models_and_plan(tenant="other")
    assert (models, plan["steps"][0]["expected_s"]) == ({}, None)


async def test_timeouts_shorter_than_the_default_do_not_open_the_breaker(world: World, service: Service) -> None:
    world.hold()
    for _ in range(FAILURES):
        done = await run_step(service, world.step(max_retries=0, config={"timeout_s": 0.1}))
        assert done["error_message"] == "draw: timed out after 0.1 s"
    status = await model_status(service, every=True)
    assert (status["breaker"]["state"], status["breaker"]["failures"]) == ("closed", 0)
