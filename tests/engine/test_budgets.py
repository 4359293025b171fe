"""Budgets of workflows: what their attempts reserve and spend, and what happens before one that doesn't fit."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from stepwell.app import DatabaseSource
from stepwell.basics.setting_values import Prices, TenantBudgets
from stepwell.contract.enums import ProviderType
from stepwell.contract.tasks import Cost
from stepwell.engine.attempts.budget_keeper import BudgetKeeper, BudgetOwner
from stepwell.testing import ManualClock, MemoryDatabase
from support.database.manual_time import ManualSource, advance, let_time_stand_still
from support.database.postgres import connected
from support.emulators.base import Fault
from support.providers.emulated import World
from support.service.live_service import Service, running_service, statuses_of

AT_ONCE = {"retry": {"base_s": 0}}
PRICES = Prices.read(
    '{"CUSTOM": {"*": 0.04, "dear": 0.5, "by-image": {"amount": "0.10", "currency": "EUR", "per": "image"},'
    ' "by-second": {"amount": 9, "per": "second"}}}'
)


def budget_of(max_cost: str | None = None, max_attempts: int | None = None, **members: Any) -> dict[str, Any]:
    """Return the config of a workflow with a budget."""
    budget: dict[str, Any] = {} if max_cost is None else {"max_cost": {"USD": max_cost}}
    return AT_ONCE | {"budget": budget | ({} if max_attempts is None else {"max_attempts": max_attempts}) | members}


def part(maximum: float | None, spent: float, reserved: float = 0) -> dict[str, Any]:
    return {"maximum": maximum, "spent": spent, "reserved": reserved}


@pytest.fixture(params=["memory", pytest.param("postgres", marks=pytest.mark.extended)])
def database(request: pytest.FixtureRequest) -> str | DatabaseSource:
    if request.param == "memory":
        memory: MemoryDatabase = request.getfixturevalue("memory")
        return memory
    dsn: str = request.getfixturevalue("dsn")
    return dsn


@pytest.fixture
async def service(database: str | DatabaseSource, world: World, tmp_path: Path) -> AsyncIterator[Service]:
    async with AsyncExitStack() as stack:
        running = running_service(database, tmp_path / "data", prices=PRICES, **world.settings)
        yield await stack.enter_async_context(running)


async def budget(service: Service, workflow_id: str) -> Any:
    response = await service.client.get(f"/api/v1/workflows/{workflow_id}/explain")
    assert response.status_code == 200, response.text
    return response.json()["budget"]


async def until_paused(service: Service, workflow_id: str) -> dict[str, Any]:
    """Return the workflow once it is PAUSED and nothing of it runs."""
    return await service.until(
        workflow_id, lambda each: each["status"] == "PAUSED" and "RUNNING" not in statuses_of(each).values()
    )


async def raise_budget(service: Service, workflow_id: str, budget: dict[str, Any]) -> None:
    response = await service.client.patch(f"/api/v1/workflows/{workflow_id}", json={"config": {"budget": budget}})
    assert response.status_code == 200, response.text
    assert (
        response.json()["config"]["budget"] == {"on_exceeded": "pause", "max_attempts": None, "max_cost": {}} | budget
    )


async def test_a_workflow_within_its_budget_completes_and_shows_what_it_spent(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), world.step("b"), config=budget_of("1.00", 5))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert await budget(service, created["id"]) == {
        "workflow_id": created["id"],
        "on_exceeded": "pause",
        "costs": {"USD": part(1, 0.08)},
        "attempts": part(5, 2),
    }


@pytest.mark.parametrize("limit", [budget_of("0.10"), budget_of(max_attempts=2)])
async def test_an_attempt_that_does_not_fit_pauses_the_workflow(
    service: Service, world: World, limit: dict[str, Any]
) -> None:
    created = await service.create(*(world.step(name) for name in "abcd"), config=limit)
    workflow = await until_paused(service, created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "COMPLETED", "PENDING", "PENDING"]
    assert (workflow["pause_reason"], len(world.emulator.ledger.jobs())) == ("budget", 2)
    paused = [event for event in await service.events(created["id"]) if event["type"] == "workflow.paused"]
    assert [(event["actor"], event["data"]["reason"]) for event in paused] == [("stepwell", "budget")]


async def test_a_raised_budget_lets_resume_continue(service: Service, world: World) -> None:
    created = await service.create(*(world.step(name) for name in "abcd"), config=budget_of("0.10"))
    await until_paused(service, created["id"])
    await raise_budget(service, created["id"], {"max_cost": {"USD": "0.16"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], workflow["pause_reason"]) == ("COMPLETED", None)
    assert all(step["retry_count"] == 0 for step in workflow["steps"])
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.16, 0.16)}
    assert len(world.emulator.ledger.jobs()) == 4


async def test_resume_without_a_raise_pauses_again(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), config=budget_of("0.01"))
    await until_paused(service, created["id"])
    assert (await service.verb(created["id"], "resume")).status_code == 200
    await until_paused(service, created["id"])
    paused = [event for event in await service.events(created["id"]) if event["type"] == "workflow.paused"]
    assert (len(paused), world.emulator.ledger.jobs()) == (2, [])


async def test_the_workflow_fails_if_its_budget_says_so(service: Service, world: World) -> None:
    created = await service.create(*(world.step(name) for name in "abc"), config=budget_of("0.10", on_exceeded="fail"))
    workflow = await service.until_ended(created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "COMPLETED", "PENDING"]
    assert workflow["status"] == "FAILED"
    why = "The budget of the workflow has 0.02 USD left, and the attempt is expected to cost 0.04"
    assert workflow["errors"] == [f"budget: {why}"]
    assert len(world.emulator.ledger.jobs()) == 2
    await raise_budget(service, created["id"], {"max_cost": {"USD": "1"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_local_work_needs_no_room(service: Service, world: World) -> None:
    local = world.step("local", provider_config={"provider_type": ProviderType.LOCAL})
    created = await service.create(local, config=budget_of("0", 0))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


async def test_a_workflow_without_a_budget_cannot_get_one(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), start=False)
    path, body = f"/api/v1/workflows/{created['id']}", {"config": {"budget": {"max_attempts": 3}}}
    response = await service.client.patch(path, json=body)
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", "config", "budget"])
    assert await budget(service, created["id"]) is None


# Items, sub-workflows, retries, fallbacks


def jobs(world: World) -> int:
    return len(world.emulator.ledger.jobs())


def below(step: dict[str, Any], depth: int) -> dict[str, Any]:
    """Return a step that runs *step* in a sub-workflow, so many levels down."""
    for level in range(depth):
        step = {
            "id": f"level-{level}",
            "task_type": "SUBWORKFLOW",
            "config": {"workflow": {"name": "b", "steps": [step]}},
        }
    return step


def each(step: dict[str, Any], count: int, **members: Any) -> dict[str, Any]:
    return step | {"for_each": {"count": count, "max_concurrency": 100} | members}


async def tree(service: Service) -> list[dict[str, Any]]:
    """Return all workflows, those at the top last."""
    params = {"include_children": True, "limit": 1_000}
    response = await service.client.get("/api/v1/workflows/", params=params)
    found: list[dict[str, Any]] = response.json()["workflows"]
    return found


async def until_tree_is_paused(service: Service) -> None:
    async with asyncio.timeout(60):
        while {each["status"] for each in await tree(service)} - {"PAUSED", "COMPLETED"}:
            await asyncio.sleep(0.02)


async def test_of_a_hundred_items_at_once_exactly_those_run_that_fit(service: Service, world: World) -> None:
    created = await service.create(each(world.step("a"), 100), config=budget_of("1.30"))
    workflow = await until_paused(service, created["id"])
    assert workflow["steps"][0]["items"] | {"running": 0} == workflow["steps"][0]["items"]
    assert (workflow["steps"][0]["items"]["completed"], jobs(world)) == (32, 32)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(1.3, 1.28)}
    await raise_budget(service, created["id"], {"max_cost": {"USD": "4.00"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["attempts"]) == (100, part(None, 100))


async def test_sub_workflows_at_three_levels_use_the_budget_at_the_top(service: Service, world: World) -> None:
    step = each(below(each(below(each(world.step("a"), 3), 1), 2), 1), 2)  # 12 attempts
    created = await service.create(step, config=budget_of("0.30"))
    await until_tree_is_paused(service)
    paused = await service.get(created["id"])
    assert (paused["status"], paused["pause_reason"], jobs(world)) == ("PAUSED", "budget", 7)
    await raise_budget(service, created["id"], {"max_cost": {"USD": "0.40"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED" and jobs(world) == 10)
    await until_tree_is_paused(service)
    await raise_budget(service, created["id"], {"max_cost": {"USD": "1"}})
    assert (await service.verb(created["id"], "resume")).status_code == 200
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["costs"]) == (12, {"USD": part(1, 0.48)})
    child = next(each for each in await tree(service) if each["parent"] is not None)
    assert (await budget(service, child["id"]))["workflow_id"] == created["id"]


async def test_a_budget_that_fails_ends_the_sub_workflows_too(service: Service, world: World) -> None:
    step = below(each(world.step("a"), 3), 2)
    created = await service.create(step | {"optional": True}, config=budget_of("0.05", on_exceeded="fail"))
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], jobs(world)) == ("FAILED", 1)
    assert workflow["errors"][0].startswith("budget: The budget of the workflow has 0.01 USD left")
    assert {each["status"] for each in await tree(service)} == {"FAILED"}


async def test_an_attempt_whose_job_failed_counts_with_its_expected_price(service: Service, world: World) -> None:
    world.emulator.outcome, world.emulator.retryable = "failed", True
    created = await service.create(world.step("a", max_retries=5), config=budget_of("0.10"))
    workflow = await until_paused(service, created["id"])
    assert (statuses_of(workflow), jobs(world)) == ({"a": "PENDING"}, 2)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.1, 0.08)}


async def test_an_attempt_whose_request_was_refused_gives_its_price_back(service: Service, world: World) -> None:
    world.emulator.plan("submit", *[Fault.UNAVAILABLE] * 3)
    created = await service.create(world.step("a"), config=budget_of("0.05"))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (jobs(world), (await budget(service, created["id"]))["costs"]) == (1, {"USD": part(0.05, 0.04)})


async def test_a_cost_that_the_provider_reports_replaces_the_price(service: Service, world: World) -> None:
    world.emulator.cost = {"amount": 0.07, "currency": "EUR"}
    steps = world.step("a"), world.step("b") | {"depends_on": ["a"]}
    created = await service.create(*steps, config=budget_of("0.05"))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    costs = (await budget(service, created["id"]))["costs"]
    assert costs == {"EUR": part(None, 0.14), "USD": part(0.05, 0)}


async def test_an_attempt_under_way_keeps_its_reservation(service: Service, world: World) -> None:
    world.hold()
    created = await service.create(world.step("a"), world.step("b"), config=budget_of("0.05"))
    await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED" and jobs(world) == 1)
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.05, 0, 0.04)}
    world.hold(held=False)
    workflow = await until_paused(service, created["id"])
    assert sorted(statuses_of(workflow).values()) == ["COMPLETED", "PENDING"]
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.05, 0.04)}


async def test_an_attempt_that_ends_before_its_request_is_sent_has_nothing_reserved_any_more(
    service: Service, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, released, reserve = asyncio.Event(), asyncio.Event(), BudgetKeeper.reserve

    async def reserve_and_wait(keeper: BudgetKeeper, owner: BudgetOwner, task_id: UUID, price: Cost | None) -> bool:
        reserved = await reserve(keeper, owner, task_id, price)
        reached.set()
        await released.wait()
        return reserved

    monkeypatch.setattr(BudgetKeeper, "reserve", reserve_and_wait)
    created = await service.create(world.step("a"), config=budget_of("0.05"))
    async with asyncio.timeout(30):
        await reached.wait()
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.05, 0, 0.04)}
    assert (await service.client.delete(f"/api/v1/workflows/{created['id']}")).status_code == 200
    released.set()
    await service.until_ended(created["id"])
    used = await budget(service, created["id"])
    assert (used["costs"], used["attempts"]) == ({"USD": part(0.05, 0)}, part(None, 0))
    assert jobs(world) == 0


async def test_a_webhook_reports_a_pause_for_a_budget(service: Service, world: World) -> None:
    created = await service.create(world.step("a"), config=budget_of("0.01"), webhook_url="http://127.0.0.1:9/hook")
    await until_paused(service, created["id"])
    response = await service.client.get(f"/api/v1/workflows/{created['id']}/deliveries")
    assert [delivery["type"] for delivery in response.json()["deliveries"]] == ["workflow.paused"]


# Prices


async def test_a_price_for_an_image_depends_on_the_inputs(service: Service, world: World) -> None:
    step = world.step("a", config={"num_images": 3}, provider_config={"model": "by-image"})
    created = await service.create(step, world.step("b", provider_config={"model": "by-image"}), config=budget_of("1"))
    workflow = await service.until_ended(created["id"])
    assert workflow["cost"] == {"amounts": [{"amount": 0.4, "currency": "EUR"}], "unknown_attempts": 0}
    assert (await budget(service, created["id"]))["costs"] == {"EUR": part(None, 0.4), "USD": part(1, 0)}


async def test_each_currency_has_its_own_limit(service: Service, world: World) -> None:
    euros = [world.step(name, provider_config={"model": "by-image"}) for name in "abc"]
    limit = AT_ONCE | {"budget": {"max_cost": {"USD": "0.04", "EUR": "0.25"}}}
    created = await service.create(world.step("usd"), *euros, config=limit)
    workflow = await until_paused(service, created["id"])
    assert (sorted(statuses_of(workflow).values()), jobs(world)) == (["COMPLETED"] * 3 + ["PENDING"], 3)
    costs = (await budget(service, created["id"]))["costs"]
    assert costs == {"EUR": part(0.25, 0.2), "USD": part(0.04, 0.04)}


async def test_an_unknown_price_needs_room_for_an_attempt_only(service: Service, world: World) -> None:
    step = world.step("a", provider_config={"model": "by-second"})
    created = await service.create(step, config=budget_of("0", 1))
    workflow = await service.until_ended(created["id"])
    assert (workflow["status"], workflow["cost"]["unknown_attempts"]) == ("COMPLETED", 1)
    assert (await budget(service, created["id"]))["attempts"] == part(1, 1)


async def test_a_fallback_reserves_its_own_price(service: Service, world: World) -> None:
    step = world.step("a", max_retries=0, provider_config={"model": "dear"})
    step |= {"fallback_provider_type": "CUSTOM", "fallback_provider_config": {"model": "cheap"}}
    world.emulator.plan("submit", Fault.UNAVAILABLE)
    created = await service.create(step, config=budget_of("0.50"))
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
    assert (await budget(service, created["id"]))["costs"] == {"USD": part(0.5, 0.04)}


@pytest.mark.parametrize(("max_cost", "fits"), [("1.20", True), ("1.19", False)])
async def test_a_plan_says_whether_the_worst_case_fits(
    service: Service, world: World, max_cost: str, *, fits: bool
) -> None:
    retried = each(world.step("a", max_retries=1), 10)
    other = world.step("b", max_retries=9) | {"repeat": {"until": "seed == `1`", "max": 1}}
    unknown = world.step("c", max_retries=0, provider_config={"model": "by-second"})
    body = {"name": "x", "origin_instance": "tests", "steps": [retried, other, unknown], "config": budget_of(max_cost)}
    response = await service.client.post("/api/v1/workflows/plan", json=body)
    worst = [{"amount": 1.2, "currency": "USD"}]
    assert response.json()["budget"] == {"fits": fits, "worst_case": worst, "attempts": 31, "unknown_steps": 1}


async def test_a_currency_without_a_price_is_refused(service: Service, world: World) -> None:
    config = {"budget": {"max_cost": {"CHF": "1", "USD": 2, "usd": "1"}}}
    body = {"name": "x", "origin_instance": "tests", "steps": [world.step("a")], "config": config}
    response = await service.client.post("/api/v1/workflows/plan", json=body)
    faults = {tuple(fault["loc"]): fault["type"] for fault in response.json()["detail"]}
    assert response.status_code == 422
    assert faults[("body", "config", "budget", "max_cost", "CHF")] == "unpriced_currency"
    assert ("body", "config", "budget", "max_cost", "usd") in faults


async def test_a_budget_below_the_top_is_ignored_with_a_warning(service: Service, world: World) -> None:
    nested = {"name": "b", "config": budget_of("0"), "steps": [world.step("a")]}
    created = await service.create({"id": "sub", "task_type": "SUBWORKFLOW", "config": {"workflow": nested}})
    assert [warning["type"] for warning in created["warnings"]] == ["ignored_member"]
    assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"


# Tenants' days


async def spent(client: httpx.AsyncClient) -> float:
    """Return what the tenant of *client* has spent on this day."""
    cost: dict[str, float] = (await client.get("/api/v1/limits")).json()["budget"]["costs"]["USD"]
    return cost["spent"]


WAITING = """
SELECT count(*) FROM (SELECT next_attempt_at FROM steps UNION ALL SELECT next_attempt_at FROM step_items) AS units
WHERE next_attempt_at IS NOT NULL
"""


async def test_a_step_that_the_day_of_its_tenant_has_no_room_for_waits_until_the_next_one(
    memory: MemoryDatabase, clock: ManualClock, world: World, tmp_path: Path
) -> None:
    budgets = TenantBudgets.read('{"acme": {"USD": "0.10"}, "*": {"USD": "1"}}')
    running = running_service(memory, tmp_path / "data", prices=PRICES, tenant_budgets=budgets, **world.settings)
    async with running as service, service.as_tenant("acme") as client:
        body = {"name": "x", "origin_instance": "tests", "steps": [world.step(name) for name in "abcd"]}
        created = (await client.post("/api/v1/workflows/", json=body)).json()
        await service.until(created["id"], lambda workflow: workflow["completed_steps"] == 2)
        waiting = await service.until(
            created["id"], lambda workflow: sum(step["next_attempt_at"] is not None for step in workflow["steps"]) == 2
        )
        midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        ends = {step["next_attempt_at"] for step in waiting["steps"]} - {None}
        assert {datetime.fromisoformat(end) for end in ends} == {midnight}
        explained = (await client.get(f"/api/v1/workflows/{created['id']}/explain")).json()["steps"]
        assert [step["reason"]["code"] for step in explained] == ["waits_for_budget"] * 2
        assert (await client.get("/api/v1/limits")).json()["budget"] == {
            "costs": {"USD": part(0.1, 0.08)},
            "attempts": part(None, 2),
        }
        other = await service.create(world.step("other"))
        assert (await service.until_ended(other["id"]))["status"] == "COMPLETED"
        clock.advance((midnight - clock.now()).total_seconds() + 1)
        workflow = await service.until_ended(created["id"])
        assert (workflow["status"], jobs(world)) == ("COMPLETED", 5)
        assert all(step["retry_count"] == 0 and step["error_message"] is None for step in workflow["steps"])
        assert (await client.get("/api/v1/limits")).json()["budget"]["costs"] == {"USD": part(0.1, 0.08)}


async def test_steps_that_wait_for_the_next_day_ask_again_when_the_service_starts_with_another_budget(
    database: str | DatabaseSource, world: World, tmp_path: Path
) -> None:
    def service_with(usd: str) -> AbstractAsyncContextManager[Service]:
        budgets = TenantBudgets.read(f'{{"acme": {{"USD": "{usd}"}}}}')
        settings = {"prices": PRICES, "tenant_budgets": budgets, **world.settings}
        return running_service(database, tmp_path / "data", **settings)

    async with service_with("0.10") as service, service.as_tenant("acme") as client:
        service.app.engine.scheduler.timers.park_after_s = 0
        ids = []
        for steps in ([each(world.step("items"), 3)], [world.step("a"), world.step("b")]):
            body = {"name": "x", "origin_instance": "tests", "steps": steps}
            ids.append((await client.post("/api/v1/workflows/", json=body)).json()["id"])
        async with asyncio.timeout(60):
            while await spent(client) < 0.08 or not service.app.engine.workflow_queue.parked:
                await asyncio.sleep(0.02)
    async with service_with("1") as service:
        for workflow_id in ids:
            assert (await service.until_ended(workflow_id))["status"] == "COMPLETED"
    assert jobs(world) == 5


async def test_two_processes_share_the_day_of_a_tenant_and_go_on_at_midnight(
    dsn: str, clock: ManualClock, world: World, tmp_path: Path
) -> None:
    await let_time_stand_still(dsn, clock)
    budgets = TenantBudgets.read('{"acme": {"USD": "0.10"}}')
    shared: dict[str, Any] = {"prices": PRICES, "tenant_budgets": budgets, "exclusive": False, **world.settings}
    async with (
        running_service(ManualSource(dsn, clock), tmp_path / "data", **shared) as service,
        running_service(ManualSource(dsn, clock), tmp_path / "data", **shared) as other,
        service.as_tenant("acme") as client,
        other.as_tenant("acme") as second,
        connected(dsn) as sql,
    ):
        steps = [each(world.step("items"), 3), world.step("a"), world.step("b")]
        body = {"name": "x", "origin_instance": "tests", "steps": steps}
        ids = [(await one.post("/api/v1/workflows/", json=body)).json()["id"] for one in (client, second)]
        for day in range(1, 6):  # ten attempts, two of them on each day
            async with asyncio.timeout(60):
                while await sql.fetchval(WAITING) < 10 - 2 * day or await spent(client) < 0.08:
                    await advance(sql, clock, 0.1)
                    await asyncio.sleep(0.02)
            assert (jobs(world), await spent(second)) == (2 * day, 0.08)
            midnight = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
            await advance(sql, clock, (midnight - clock.now()).total_seconds() + 1)
        for each_id in ids:
            assert (await service.until_ended(each_id))["status"] == "COMPLETED"


# Several processes


async def test_two_processes_share_the_budget_of_one_run(dsn: str, world: World, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"prices": PRICES, "exclusive": False, "max_active_workflows": 6, **world.settings}
    async with (
        running_service(dsn, tmp_path / "data", **shared) as service,
        running_service(dsn, tmp_path / "data", **shared) as other,
    ):
        created = await service.create(each(below(world.step("a"), 1), 30), config=budget_of("0.50"))
        await until_tree_is_paused(other)
        await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED")
        assert jobs(world) == 12
        await raise_budget(other, created["id"], {"max_cost": {"USD": "1.20"}})
        assert (await other.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        assert (await budget(other, created["id"]))["costs"] == {"USD": part(1.2, 1.2)}
    assert jobs(world) == 30


@pytest.mark.extended
async def test_everything_at_once_stays_within_the_budget(dsn: str, world: World, tmp_path: Path) -> None:
    shared: dict[str, Any] = {"prices": PRICES, "exclusive": False, "breaker_failures": 0, **world.settings}
    step = world.step("a", max_retries=1, provider_config={"model": "by-image"})
    step |= {"fallback_provider_type": "CUSTOM", "fallback_provider_config": {"model": "cheap"}}
    step = each(below(each(below(each(step, 5), 1), 4), 1), 5)  # 100 items below the third level
    unknown = each(world.step("unknown", provider_config={"model": "by-second"}), 5)
    world.emulator.plan("submit", *[Fault.UNAVAILABLE] * 30)  # some are retried, and others go to their fallback
    async with (
        running_service(dsn, tmp_path / "data", **shared) as service,
        running_service(dsn, tmp_path / "data", **shared) as other,
    ):
        limit = {"max_cost": {"USD": "0.10", "EUR": "3"}, "max_attempts": 90}
        created = await service.create(step, unknown, config=AT_ONCE | {"budget": limit})
        await service.until(created["id"], lambda workflow: workflow["status"] == "PAUSED")
        await until_tree_is_paused(other)
        costs = await spent_as_charged(service, created["id"], world)
        assert costs.get("USD", 0) <= 0.1
        assert costs.get("EUR", 0) <= 3
        await raise_budget(other, created["id"], {"max_cost": {"USD": "99", "EUR": "99"}})
        assert (await other.verb(created["id"], "resume")).status_code == 200
        assert (await service.until_ended(created["id"]))["status"] == "COMPLETED"
        await spent_as_charged(service, created["id"], world)
        assert jobs(world) == 105


async def spent_as_charged(service: Service, root_id: str, world: World) -> dict[str, float]:
    """Check that nothing is reserved, and that what is spent is the cost of the provider's jobs. Return it."""
    tasks = [task for each in await tree(service) for task in await service.tasks(each["id"])]
    charged = [task for task in tasks if task["remote_id"] is not None and task["provider"] is not None]
    assert len(charged) == jobs(world)
    costs: dict[str, float] = {}
    for cost in (task["cost"] for task in charged if task["cost"] is not None):
        costs[cost["currency"]] = round(costs.get(cost["currency"], 0) + cost["amount"], 9)
    used = await budget(service, root_id)
    assert {unit: cost["spent"] for unit, cost in used["costs"].items() if cost["spent"]} == costs
    sent = [task for task in tasks if task["provider"] is not None and task["sent_at"] is not None]
    assert used["attempts"] == part(used["attempts"]["maximum"], len(sent))  # refused ones count, and cost nothing
    assert all(cost["reserved"] == 0 for cost in used["costs"].values())
    return costs
